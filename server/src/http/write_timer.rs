//! How long a peer may take too little of what waits for it.
//!
//! What the kernel takes shows little of a slow peer: a full socket has room again by steps, on TCP of
//! 60 to 200 KB (half of what may be unsent, and what the peer's window moves by), on a Unix socket of
//! three quarters of its buffer; and a peer may need longer for one than it may take. So when the time has passed, the kernel is asked how much the peer
//! has acknowledged since. That costs a system call, and so does the mark from which it counts: the
//! mark is made only after a first part of the time, which whoever reads never needs, and the time
//! runs from there. Who takes nothing is found that part later.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use sidecore_runtime::executor::Deadline;
use sidecore_runtime::net::Watch;

use crate::http::http1::sending::PIECE_MAX_BYTES;
use crate::http::transport::Transport;

/// The part of the time after which the mark is made.
const MARK_AFTER: u32 = 32;

/// Bytes that a peer has to acknowledge within the time.
const ENOUGH_BYTES: u64 = PIECE_MAX_BYTES as u64;

/// What is sent to a peer.
pub(crate) trait Sent {
    /// Bytes that the kernel has taken.
    fn taken(&self) -> u64;
    /// Those of them that the peer has not acknowledged; a system call.
    fn unacknowledged(&self) -> u64;
}

/// The time of a peer to take what waits for it.
pub(crate) struct WriteTimer {
    deadline: Deadline,
    /// What the kernel had taken when the time began; None while nothing waits.
    taken: Option<u64>,
    /// The mark: of that, what the peer had not acknowledged then.
    mark: Option<u64>,
}

impl WriteTimer {
    pub(crate) fn new() -> Self {
        WriteTimer { deadline: Deadline::unset(), taken: None, mark: None }
    }

    /// Nothing waits for the peer any more, or its time is to begin anew.
    pub(crate) fn stop(&mut self) {
        self.taken = None;
    }

    /// Ready when the peer has taken too little for as long as `limit`: the kernel took nothing for
    /// it, and it acknowledged less than 64 KiB.
    pub(crate) fn poll(
        &mut self,
        sent: &impl Sent,
        limit: Duration,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        self.poll_for(ENOUGH_BYTES, sent, limit, context)
    }

    /// The same of a peer that has only to show that it is there: by anything it acknowledged.
    pub(crate) fn poll_alive(
        &mut self,
        sent: &impl Sent,
        limit: Duration,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        self.poll_for(1, sent, limit, context)
    }

    fn poll_for(
        &mut self,
        enough_bytes: u64,
        sent: &impl Sent,
        limit: Duration,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        let taken = Some(sent.taken());
        if self.taken != taken {
            (self.taken, self.mark) = (taken, None);
            self.deadline.set(limit / MARK_AFTER);
        }
        loop {
            ready!(self.deadline.poll(context));
            let left = sent.unacknowledged();
            let mark = self.mark.replace(left);
            if mark.is_some_and(|mark| mark.saturating_sub(left) < enough_bytes) {
                self.stop();
                return Poll::Ready(());
            }
            self.deadline.set(limit);
        }
    }
}

impl Sent for Transport {
    fn taken(&self) -> u64 {
        Transport::taken(self)
    }

    fn unacknowledged(&self) -> u64 {
        Transport::unacknowledged(self)
    }
}

impl Sent for Watch {
    fn taken(&self) -> u64 {
        Watch::taken(self)
    }

    fn unacknowledged(&self) -> u64 {
        Watch::unacknowledged(self)
    }
}
