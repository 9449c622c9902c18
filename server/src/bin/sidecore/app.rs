//! The routes that need `http` types: a `tower::Service`, one for each executor.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
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

/// The application of one executor, cloned for each request.
#[derive(Clone)]
pub(crate) struct App {
    shared: Rc<Shared>,
}

/// What an executor's requests share; it never leaves its thread.
struct Shared {
    tasks: Tasks<Job, Output>,
    worker: usize,
    ledger: Arc<Ledger>,
}

impl App {
    pub(crate) fn new(worker: &Worker<Job, Output>, ledger: Arc<Ledger>) -> Self {
        let shared = Shared { tasks: worker.tasks(), worker: worker.index(), ledger };
        App { shared: Rc::new(shared) }
    }

    /// Dispatches a job whose state can be asked for.
    pub(crate) fn dispatch(&self, kind: Kind) -> Result<TaskId, DispatchError<Job>> {
        let record = Arc::new(Record::default());
        let id = self.shared.tasks.dispatch(Job { kind, record: Some(record.clone()) })?;
        // The finish is delivered on this thread, so not before this.
        self.shared.ledger.insert(id, record);
        Ok(id)
    }

    /// Everything that needs no body is decided here, so that no future carries a whole request.
    fn route(&self, request: &Request<Incoming>) -> Route {
        let (method, path) = (request.method(), request.uri().path());
        let allow = match path {
            "/" => "GET, HEAD, OPTIONS, POST",
            // RFC 9110 §9.3.7: the server as a whole.
            "*" => "OPTIONS",
            "/tasks" | "/tasks/run" => "POST",
            path if path.starts_with("/tasks/") => "GET, HEAD",
            path if path.starts_with("/audited/") => "GET, HEAD, POST",
            _ => return Route::Done(error(StatusCode::NOT_FOUND, "there is nothing here")),
        };
        if !allow.split(", ").any(|allowed| allowed == method.as_str()) {
            return Route::Done(refuse_method(method, allow));
        }
        match (method, path) {
            (&Method::POST, "/") => Route::Echo(request.headers().get(CONTENT_TYPE).cloned()),
            (&Method::POST, "/tasks") => Route::Dispatch,
            (&Method::POST, "/tasks/run") => Route::Run,
            (_, path) => Route::Done(match path.strip_prefix("/tasks/") {
                Some(id) => self.get_task(id),
                None => text("OK"),
            }),
        }
    }

    async fn answer(self, route: Route, body: Incoming) -> Answer {
        match route {
            Route::Done(answer) => answer,
            Route::Echo(content_type) => echo(content_type, body).await,
            Route::Dispatch => self.post_task(body).await,
            Route::Run => self.run_task(body).await,
        }
    }

    async fn post_task(self, body: Incoming) -> Answer {
        let kind = match read_kind(body).await {
            Ok(kind) => kind,
            Err(answer) => return answer,
        };
        match self.dispatch(kind) {
            Ok(task_id) => {
                json(StatusCode::ACCEPTED, &Accepted { task_id, worker: self.shared.worker })
            }
            Err(refused) => refuse_dispatch(&refused),
        }
    }

    async fn run_task(self, body: Incoming) -> Answer {
        let kind = match read_kind(body).await {
            Ok(kind) => kind,
            Err(answer) => return answer,
        };
        match self.shared.tasks.run(Job { kind, record: None }).await {
            Ok(output) => json(StatusCode::OK, &output),
            Err(RunError::Refused(refused)) => refuse_dispatch(&refused),
            Err(failed) => error(StatusCode::INTERNAL_SERVER_ERROR, &failed.to_string()),
        }
    }

    fn get_task(&self, id: &str) -> Answer {
        match id.parse().ok().and_then(|id| self.shared.ledger.view(id)) {
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
        let (app, route) = (self.clone(), self.route(&request));
        let body = request.into_body();
        Box::pin(async move { Ok(app.answer(route, body).await) })
    }
}

/// What is left to do for a request once its head is read.
enum Route {
    Done(Answer),
    /// With the Content-Type of what is echoed.
    Echo(Option<HeaderValue>),
    Dispatch,
    Run,
}

/// The answer to a job that was accepted.
#[derive(Serialize)]
struct Accepted {
    task_id: TaskId,
    /// The executor that dispatched it.
    worker: usize,
}

async fn read_kind(body: Incoming) -> Result<Kind, Answer> {
    let body = read_body(body).await?;
    Kind::parse(&body).map_err(|cause| error(StatusCode::BAD_REQUEST, &cause))
}

/// A body that breaks its framing, or is too large, is answered by the connection.
async fn read_body(body: Incoming) -> Result<Bytes, Answer> {
    match body.collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(cause) => Err(error(StatusCode::BAD_REQUEST, &cause.to_string())),
    }
}

async fn echo(content_type: Option<HeaderValue>, body: Incoming) -> Answer {
    match read_body(body).await {
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
