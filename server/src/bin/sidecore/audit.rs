//! Middleware that triggers a task on every request under `/audited/` and goes on at once.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use sidecore::Incoming;
use tower_layer::Layer;
use tower_service::Service;

use crate::app::App;
use crate::job::Job;

const PREFIX: &str = "/audited/";

/// The layer.
#[derive(Clone)]
pub(crate) struct TriggerAudit {
    app: App,
}

/// The service it makes.
#[derive(Clone)]
pub(crate) struct Audited<S> {
    app: App,
    inner: S,
}

impl TriggerAudit {
    /// Triggers its tasks through `app`.
    pub(crate) fn new(app: App) -> Self {
        TriggerAudit { app }
    }
}

impl<S> Layer<S> for TriggerAudit {
    type Service = Audited<S>;

    fn layer(&self, inner: S) -> Audited<S> {
        Audited { app: self.app.clone(), inner }
    }
}

impl<S, B> Service<Request<Incoming>> for Audited<S>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = Mark<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let path = request.uri().path();
        let mark = path.starts_with(PREFIX).then(|| {
            let (method, path) = (request.method().to_string(), path.to_owned());
            // The request goes on whether or not there was room; the answer says which.
            match self.app.dispatch(Job::Audit { method, path }) {
                Ok(id) => ("x-task-id", HeaderValue::from(id)),
                Err(_) => ("x-task-refused", HeaderValue::from_static("queue full")),
            }
        });
        Mark { inner: self.inner.call(request), mark }
    }
}

pin_project! {
    /// The inner service's future, whose response is marked with the task.
    pub(crate) struct Mark<F> {
        #[pin]
        inner: F,
        mark: Option<(&'static str, HeaderValue)>,
    }
}

impl<F, B, E> Future for Mark<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(context))?;
        if let Some((name, value)) = this.mark.take() {
            response.headers_mut().insert(name, value);
        }
        Poll::Ready(Ok(response))
    }
}
