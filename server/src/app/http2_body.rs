//! The body of a request, as it comes from hyper: limited, and watched by its exchange.
//!
//! A handler may read it on another thread; what its exchange has to know of that (whether the peer
//! is waited for, how much came, whether the body breaks a rule) is in a [`Watch`] that both share.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use crate::app::body::BodyError;
use crate::codec::head::has_outer_blanks;
use crate::codec::reject::Reject;
use crate::codec::trailers::sift_trailers;

/// A body that is read.
pub(crate) struct RequestBody {
    /// Taken out at the drop only.
    body: Option<hyper::body::Incoming>,
    watch: Watch,
    /// Bytes that may still come.
    left: u64,
    failed: Option<BodyError>,
}

/// What an exchange knows of its request's body. The lock is contended only where a handler reads
/// from another thread.
#[derive(Clone)]
pub(crate) struct Watch(Arc<Mutex<BodySeen>>);

#[derive(Default)]
struct BodySeen {
    /// The handler has asked for more than has come.
    awaited: bool,
    received: u64,
    refused: Option<Reject>,
    /// It is too late for that.
    answered: bool,
    /// The body, where it was dropped before its end.
    unread: Option<hyper::body::Incoming>,
    /// The exchange's.
    waker: Option<Waker>,
}

impl RequestBody {
    /// Up to `size_max` bytes are read; more are an error, and the request's refusal.
    pub(crate) fn new(body: hyper::body::Incoming, size_max: u64) -> (Self, Watch) {
        let watch = Watch(Arc::default());
        (
            RequestBody { body: Some(body), watch: watch.clone(), left: size_max, failed: None },
            watch,
        )
    }

    pub(crate) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(error) = self.failed {
            return Poll::Ready(Some(Err(error)));
        }
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(context);
        self.watch.note(&polled, context);
        match polled {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Ready(Some(Err(_))) => {
                Poll::Ready(Some(Err(self.fail("the stream was reset, or its connection lost"))))
            }
            Poll::Ready(Some(Ok(frame))) => match self.take(frame).transpose() {
                // The exchange looks next, and refuses the request: its handler is not to answer.
                Some(Err(_)) if self.watch.is_refused_within(context) => Poll::Pending,
                next => Poll::Ready(next),
            },
        }
    }

    /// None: there is no more, as all trailers were such that are left out.
    fn take(&mut self, frame: Frame<Bytes>) -> Result<Option<Frame<Bytes>>, BodyError> {
        let taken = match frame.into_data() {
            Ok(data) => match self.left.checked_sub(data.len() as u64) {
                Some(left) => {
                    self.left = left;
                    Ok(Some(Frame::data(data)))
                }
                None => Err(Reject::body_too_large()),
            },
            Err(frame) => checked_trailers(frame.into_trailers().unwrap_or_default())
                .map(|trailers| trailers.map(Frame::trailers)),
        };
        taken.map_err(|reject| {
            self.watch.refuse(reject);
            self.fail(reject.reason())
        })
    }

    fn fail(&mut self, reason: &'static str) -> BodyError {
        *self.failed.insert(BodyError { reason })
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.failed.is_none() && self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

fn checked_trailers(trailers: HeaderMap) -> Result<Option<HeaderMap>, Reject> {
    match trailers.values().any(has_outer_blanks) {
        true => Err(Reject::bad("a trailer's value begins or ends with white space")),
        false => sift_trailers(trailers),
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let mut seen = self.watch.lock();
        seen.awaited = false;
        if let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) {
            seen.unread = Some(body);
            wake(seen);
        }
    }
}

impl Watch {
    /// Of a body that nobody is to read.
    pub(crate) fn of_unread(body: hyper::body::Incoming) -> Self {
        Watch(Arc::new(Mutex::new(BodySeen { unread: Some(body), ..BodySeen::default() })))
    }

    /// The body, if it was dropped before its end.
    pub(crate) fn take_unread(&self) -> Option<hyper::body::Incoming> {
        self.lock().unread.take()
    }

    /// Bytes that have come, if the handler waits for more of them. `waker` is kept for when that
    /// changes.
    pub(crate) fn awaited(&self, waker: &Waker) -> Option<u64> {
        let seen = self.lock_with(waker);
        seen.awaited.then_some(seen.received)
    }

    /// Keeps `waker` likewise, before the handler reads: by it, the body knows who reads.
    pub(crate) fn keep(&self, waker: &Waker) {
        drop(self.lock_with(waker));
    }

    /// Why the request is to be refused after all, if it is.
    pub(crate) fn refused(&self) -> Option<Reject> {
        self.lock().refused
    }

    /// The answer has begun.
    pub(crate) fn answered(&self) {
        self.lock().answered = true;
    }

    /// Whether the request is about to be refused by the exchange within which its body is read.
    fn is_refused_within(&self, context: &Context<'_>) -> bool {
        let seen = self.lock();
        let is_within = seen.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker()));
        seen.refused.is_some() && !seen.answered && is_within
    }

    fn lock_with(&self, waker: &Waker) -> MutexGuard<'_, BodySeen> {
        let mut seen = self.lock();
        match &mut seen.waker {
            Some(kept) => kept.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        seen
    }

    fn note(
        &self,
        polled: &Poll<Option<Result<Frame<Bytes>, hyper::Error>>>,
        context: &Context<'_>,
    ) {
        let mut seen = self.lock();
        let began = polled.is_pending() && !seen.awaited;
        seen.awaited = polled.is_pending();
        if let Poll::Ready(Some(Ok(frame))) = polled {
            seen.received += frame.data_ref().map_or(0, Bytes::len) as u64;
        }
        // Who reads within the exchange is seen by it anyway.
        let elsewhere = |waker: &Waker| !waker.will_wake(context.waker());
        if began && seen.waker.as_ref().is_some_and(elsewhere) {
            wake(seen);
        }
    }

    fn refuse(&self, reject: Reject) {
        let mut seen = self.lock();
        seen.refused = Some(reject);
        wake(seen);
    }

    /// No code that can panic runs under the lock, so poison means nothing here.
    fn lock(&self) -> MutexGuard<'_, BodySeen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(seen: MutexGuard<'_, BodySeen>) {
    let waker = seen.waker.clone();
    drop(seen);
    if let Some(waker) = waker {
        waker.wake();
    }
}
