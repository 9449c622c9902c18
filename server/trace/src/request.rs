//! The layer: a span around each request.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use sidecore_request_id::RequestId;
use tower_layer::Layer;
use tower_service::Service;
use tracing::Span;
use tracing::field::Empty;

use crate::{TARGET, mark_failed};

/// A layer that serves each request in a span `request`, with its method, path, id (that of
/// [`RequestIds`](sidecore_request_id::RequestIds), if that is around this layer) and status.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestSpans;

/// The service of [`RequestSpans`].
#[derive(Clone, Debug)]
pub struct Spanned<S> {
    inner: S,
}

impl<S> Layer<S> for RequestSpans {
    type Service = Spanned<S>;

    fn layer(&self, inner: S) -> Spanned<S> {
        Spanned { inner }
    }
}

impl<S, B, A> Service<Request<B>> for Spanned<S>
where
    S: Service<Request<B>, Response = Response<A>>,
{
    type Response = Response<A>;
    type Error = S::Error;
    type Future = Spanning<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (method, path) = (request.method().as_str(), request.uri().path());
        let span = tracing::info_span!(
            target: TARGET,
            "request",
            otel.kind = "server",
            otel.status_code = Empty,
            method,
            path,
            request_id = Empty,
            status = Empty
        );
        if let Some(id) = request.extensions().get::<RequestId>() {
            span.record("request_id", id.as_str());
        }
        let future = span.in_scope(|| self.inner.call(request));
        Spanning { future, span }
    }
}

pin_project! {
    /// The future of [`Spanned`]. Its span is left with it, at its end or dropped.
    pub struct Spanning<F> {
        #[pin]
        future: F,
        span: Span,
    }
}

impl<F, A, E> Future for Spanning<F>
where
    F: Future<Output = Result<Response<A>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let answered = ready!(this.span.in_scope(|| this.future.poll(context)));
        if let Ok(answer) = &answered {
            this.span.record("status", i64::from(answer.status().as_u16()));
            if answer.status().is_server_error() {
                mark_failed(this.span);
            }
        }
        Poll::Ready(answered)
    }
}
