//! The routes that need `http` types: a `tower::Service`, one for each executor.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde::Serialize;
use serde_json::json;
use sidecore::{DispatchError, Incoming, RunError, TaskId, Tasks, Worker};
use tower_service::Service;

use crate::job::{Job, Kind, Output};
use crate::ledger::{Ledger, Record};

type Answer = Response<Full<Bytes>>;

/// Seconds after which a client may try again when the queue was full.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("1");

/// The application of one executor.
#[derive(Clone)]
pub(crate) struct App {
    tasks: Tasks<Job, Output>,
    worker: usize,
    ledger: Arc<Ledger>,
}

impl App {
    pub(crate) fn new(worker: &Worker<Job, Output>, ledger: Arc<Ledger>) -> Self {
        App { tasks: worker.tasks(), worker: worker.index(), ledger }
    }

    /// Dispatches a job whose state can be asked for.
    pub(crate) fn dispatch(&self, kind: Kind) -> Result<TaskId, DispatchError<Job>> {
        let record = Arc::new(Record::default());
        let id = self.tasks.dispatch(Job { kind, record: Some(record.clone()) })?;
        // The finish is delivered on this thread, so not before this.
        self.ledger.insert(id, record);
        Ok(id)
    }

    async fn answer(self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path().to_owned();
        let allow = match path.as_str() {
            "/" => "GET, HEAD, OPTIONS, POST",
            "/tasks" | "/tasks/run" => "POST",
            path if path.starts_with("/tasks/") => "GET, HEAD",
            path if path.starts_with("/audited/") => "GET, HEAD, POST",
            _ => return error(StatusCode::NOT_FOUND, "there is nothing here"),
        };
        let method = request.method().clone();
        let allowed = allow.split(", ").any(|allowed| allowed == method.as_str());
        match (method, path.as_str()) {
            (method, _) if !allowed => refuse_method(&method, allow),
            (Method::POST, "/") => echo(request).await,
            (Method::POST, "/tasks") => self.post_task(request).await,
            (Method::POST, "/tasks/run") => self.run_task(request).await,
            (_, path) => match path.strip_prefix("/tasks/") {
                Some(id) => self.get_task(id),
                None => text("OK"),
            },
        }
    }

    async fn post_task(self, request: Request<Incoming>) -> Answer {
        let kind = match read_kind(request).await {
            Ok(kind) => kind,
            Err(answer) => return answer,
        };
        match self.dispatch(kind) {
            Ok(id) => json(StatusCode::ACCEPTED, &json!({ "task_id": id, "worker": self.worker })),
            Err(refused) => refuse_dispatch(&refused),
        }
    }

    async fn run_task(self, request: Request<Incoming>) -> Answer {
        let kind = match read_kind(request).await {
            Ok(kind) => kind,
            Err(answer) => return answer,
        };
        match self.tasks.run(Job { kind, record: None }).await {
            Ok(output) => json(StatusCode::OK, &output),
            Err(RunError::Refused(refused)) => refuse_dispatch(&refused),
            Err(failed) => error(StatusCode::INTERNAL_SERVER_ERROR, &failed.to_string()),
        }
    }

    fn get_task(&self, id: &str) -> Answer {
        match id.parse().ok().and_then(|id| self.ledger.view(id)) {
            Some(view) => json(StatusCode::OK, &view),
            None => error(StatusCode::NOT_FOUND, "no such task, or it is forgotten"),
        }
    }
}

impl Service<Request<Incoming>> for App {
    type Response = Answer;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, Infallible>>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let app = self.clone();
        Box::pin(async move { Ok(app.answer(request).await) })
    }
}

async fn read_kind(request: Request<Incoming>) -> Result<Kind, Answer> {
    let body = read_body(request).await?;
    Kind::parse(&body).map_err(|cause| error(StatusCode::BAD_REQUEST, &cause))
}

/// A body that breaks its framing, or is too large, is answered by the connection.
async fn read_body(request: Request<Incoming>) -> Result<Bytes, Answer> {
    match request.into_body().collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(cause) => Err(error(StatusCode::BAD_REQUEST, &cause.to_string())),
    }
}

async fn echo(request: Request<Incoming>) -> Answer {
    let content_type = request.headers().get(CONTENT_TYPE).cloned();
    match read_body(request).await {
        Ok(body) => {
            let mut answer = Response::new(Full::new(body));
            let content_type = content_type.unwrap_or(HeaderValue::from_static("text/plain"));
            answer.headers_mut().insert(CONTENT_TYPE, content_type);
            answer
        }
        Err(answer) => answer,
    }
}

fn text(text: &'static str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    answer
}

fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let (status, body) = match serde_json::to_vec(value) {
        Ok(body) => (status, body),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, b"{}".to_vec()),
    };
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

fn error(status: StatusCode, cause: &str) -> Answer {
    json(status, &json!({ "error": cause }))
}

/// RFC 9110 §15.5.6 and §15.6.2: known methods get 405 with Allow, others 501.
fn refuse_method(method: &Method, allow: &'static str) -> Answer {
    let known = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "CONNECT"];
    if !known.contains(&method.as_str()) {
        return error(StatusCode::NOT_IMPLEMENTED, "no such method");
    }
    let mut answer = error(StatusCode::METHOD_NOT_ALLOWED, "this method is not allowed here");
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    answer
}

fn refuse_dispatch(refused: &DispatchError<Job>) -> Answer {
    let mut answer = error(StatusCode::SERVICE_UNAVAILABLE, &refused.to_string());
    if refused.is_full() {
        answer.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_S);
    }
    answer
}
