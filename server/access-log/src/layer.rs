//! The layer: what sees the requests and answers of a service.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Instant, SystemTime};

use bytes::{Buf, Bytes};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::AccessLog;
use crate::format::Format;
use crate::line::Line;
use crate::queue::LineQueue;
use crate::request::RequestInfo;
use crate::server;

/// What logs: a format, and where its lines go.
#[derive(Clone)]
pub(crate) struct LogTarget {
    pub(crate) format: Arc<Format>,
    pub(crate) queue: Arc<LineQueue>,
}

/// A request whose line is coming about. It is logged when this is dropped: at the end of its
/// answer, or where there is none any more.
pub(crate) struct Entry {
    target: LogTarget,
    line: Line,
    pub(crate) began: Instant,
    pub(crate) bytes: u64,
    /// The application runs; an entry that is dropped then is that of a panic, which the
    /// connection answers with 500.
    pub(crate) running: bool,
    /// It has a status.
    answered: bool,
}

/// The service that [`AccessLog`] makes as a layer.
#[derive(Clone)]
pub struct LoggedService<S> {
    target: LogTarget,
    inner: S,
}

impl<S> Layer<S> for AccessLog {
    type Service = LoggedService<S>;

    fn layer(&self, inner: S) -> LoggedService<S> {
        LoggedService { target: self.target(), inner }
    }
}

impl Entry {
    pub(crate) fn begin(target: &LogTarget, request: &impl RequestInfo) -> Self {
        let line = Line::begin(&target.format, request, SystemTime::now());
        let began = Instant::now();
        Entry { target: target.clone(), line, began, bytes: 0, running: true, answered: false }
    }

    pub(crate) fn answer(&mut self, status: StatusCode, fields: &HeaderMap) {
        self.answered = true;
        self.line.answer(&self.target.format, Some((status, fields)));
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let LogTarget { format, queue } = &self.target;
        let mut line = std::mem::take(&mut self.line);
        if self.running {
            line.answer(format, Some((StatusCode::INTERNAL_SERVER_ERROR, &HeaderMap::new())));
        } else if let Some((status, bytes)) = server::answered_instead().filter(|_| !self.answered)
        {
            line.answer(format, Some((status, &HeaderMap::new())));
            self.bytes = bytes;
        }
        queue.push(&line.end(format, self.bytes, self.began.elapsed()));
    }
}

impl<S, B, A> Service<Request<B>> for LoggedService<S>
where
    S: Service<Request<B>, Response = Response<A>>,
{
    type Response = Response<LoggedBody<A>>;
    type Error = S::Error;
    type Future = Logged<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        Logged::call(&self.target, request, |request| self.inner.call(request))
    }
}

pin_project! {
    /// The future of a logged answer. Dropping it logs the request as one without an answer.
    pub struct Logged<F> {
        #[pin]
        future: F,
        entry: Option<Entry>,
    }
}

impl<F> Logged<F> {
    /// Calls an application, and logs what comes of it.
    pub(crate) fn call<B>(
        target: &LogTarget,
        request: Request<B>,
        call: impl FnOnce(Request<B>) -> F,
    ) -> Self {
        let mut entry = Entry::begin(target, &request);
        let future = call(request);
        entry.running = false;
        Logged { future, entry: Some(entry) }
    }
}

impl<F, B, E> Future for Logged<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<LoggedBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Some(entry) = this.entry {
            entry.running = true;
        }
        let answered = this.future.poll(context);
        if let Some(entry) = this.entry {
            entry.running = false;
        }
        let answered = ready!(answered);
        let mut entry = this.entry.take();
        match (&answered, &mut entry) {
            (Ok(answer), Some(entry)) => entry.answer(answer.status(), answer.headers()),
            // The connection answers for a service that has failed.
            (Err(_), Some(entry)) => {
                entry.answer(StatusCode::INTERNAL_SERVER_ERROR, &HeaderMap::new());
            }
            (_, None) => {}
        }
        Poll::Ready(answered.map(|answer| answer.map(|body| LoggedBody { body, entry })))
    }
}

pin_project! {
    /// The body of a logged answer. Its request is logged at its end, or when it is dropped.
    pub struct LoggedBody<B> {
        #[pin]
        body: B,
        entry: Option<Entry>,
    }
}

impl<B: Body<Data = Bytes>> Body for LoggedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(context));
        match (&frame, &mut *this.entry) {
            (Some(Ok(frame)), Some(entry)) => {
                entry.bytes += frame.data_ref().map_or(0, |data| data.remaining() as u64);
            }
            (None, entry) => *entry = None,
            _ => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> fmt::Debug for LoggedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoggedBody").finish_non_exhaustive()
    }
}
