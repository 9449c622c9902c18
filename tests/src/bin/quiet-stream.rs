//! A server of answers that begin and then stay quiet, as server-sent events do where nothing
//! happens, for tests of clients that vanish meanwhile.
//!
//! `GET /quiet` gives one event and never ends; `GET /live` tells how many of these there are.
//! Configured as any other.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use sidecore::{Config, Incoming, Request, Response, Server};

static LIVE: AtomicU64 = AtomicU64::new(0);

/// An answer; a quiet one counts as long as it is there.
enum Answer {
    Quiet { told: bool },
    Once(Option<Bytes>),
}

impl Answer {
    fn to(path: &str) -> Self {
        if path == "/quiet" {
            LIVE.fetch_add(1, Ordering::Relaxed);
            return Answer::Quiet { told: false };
        }
        Answer::Once(Some(LIVE.load(Ordering::Relaxed).to_string().into()))
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Answer::Quiet { .. } = self {
            LIVE.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Answer::Quiet { told: true } => Poll::Pending,
            Answer::Quiet { told } => {
                *told = true;
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"data: 1\n\n")))))
            }
            Answer::Once(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
        }
    }
}

fn main() -> sidecore::Result<()> {
    let report = Server::new(Config::load()?).serve(|_| {
        tower::service_fn(|request: Request<Incoming>| async move {
            Ok::<_, Infallible>(Response::new(Answer::to(request.uri().path())))
        })
    })?;
    eprintln!("ended: {report}");
    Ok(())
}
