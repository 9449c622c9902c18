//! Middleware that triggers a task on every request under `/audited/` and goes on at once.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{HeaderValue, Request, Response};
use sidecore::Incoming;
use tower_layer::Layer;
use tower_service::Service;

use crate::app::App;
use crate::job::Kind;

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
    S::Future: 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, S::Error>>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let path = request.uri().path();
        let task = path.starts_with(PREFIX).then(|| {
            let (method, path) = (request.method().to_string(), path.to_owned());
            self.app.dispatch(Kind::Audit { method, path })
        });
        let answer = self.inner.call(request);
        Box::pin(async move {
            let mut response = answer.await?;
            // The request goes on whether or not there was room; the answer says which.
            let seen = match task {
                Some(Ok(id)) => Some(("x-task-id", HeaderValue::from(id))),
                Some(Err(_)) => Some(("x-task-refused", HeaderValue::from_static("queue full"))),
                None => None,
            };
            if let Some((name, value)) = seen {
                response.headers_mut().insert(name, value);
            }
            Ok(response)
        })
    }
}
