//! What a client still sends of a body that nobody reads: thrown away, with its window given back.
//!
//! A client that sends all of a body before it reads would wait for its window for ever, and one
//! that is told to stop (RST_STREAM after the answer, RFC 9113 §8.1) may take that for a failure and
//! lose the answer, as curl 7.88 does. So it is told only where it goes on for too long, as long as a
//! connection of HTTP/1.1 lingers. After an answer of success it is told at once: what it sends is
//! not needed, and curl 7.88 waits for that word.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Body;

use crate::http::http1::lingering::Lingering;
use crate::http::http1::timeouts::{Timeouts, WaitTimer, Waiting};

/// What is known of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    Not,
    /// With 2xx.
    WithSuccess,
    Otherwise,
}

/// The rest of a body.
pub(crate) struct Unread {
    body: hyper::body::Incoming,
    discarded: u64,
    lingering: Lingering,
    /// For more of it, once there is an answer.
    wait_timer: WaitTimer,
}

impl Unread {
    pub(crate) fn new(body: hyper::body::Incoming) -> Self {
        let (lingering, wait_timer) = (Lingering::default(), WaitTimer::new());
        Unread { body, discarded: 0, lingering, wait_timer }
    }

    /// Throws away what has come. Ready when nothing more is to be waited for: dropped then, its
    /// stream is reset unless it is over.
    pub(crate) fn poll(
        &mut self,
        answered: Answered,
        timeouts: &Timeouts,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        while let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            let Some(Ok(frame)) = frame else { return Poll::Ready(()) };
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            self.discarded += bytes as u64;
            if self.lingering.is_over(bytes, context) {
                return Poll::Ready(());
            }
        }
        let is_over = match answered {
            Answered::Not => false,
            Answered::WithSuccess => true,
            Answered::Otherwise => {
                let wait_timer = &mut self.wait_timer;
                wait_timer.poll(Waiting::Linger, self.discarded, timeouts, context).is_ready()
            }
        };
        let is_over = is_over || self.lingering.is_over(0, context);
        if is_over { Poll::Ready(()) } else { Poll::Pending }
    }
}
