//! The routes that need `http` types: a `tower::Service`, one for each executor.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde::Serialize;
use serde_json::json;
use sidecore::{
    Cancelled, DispatchError, Incoming, Plain, RequestHead, RunError, ServerStats, TaskId, Tasks,
    Worker,
};
use tower_service::Service;

use crate::answer::{
    Answer, error, json, of_plain, plain_error, plain_json, refuse_dispatch, refuse_method, text,
    with_type,
};
use crate::job::{Job, Output};
use crate::ledger::{Ledger, View};
use crate::order::Order;
use crate::stats;

/// The application of one executor, cloned for each request.
#[derive(Clone)]
pub(crate) struct App {
    shared: Rc<Shared>,
}

/// What an executor's requests share; it never leaves its thread.
struct Shared {
    tasks: Tasks<Job, Output>,
    worker: usize,
    stats: ServerStats,
    ledger: Arc<Ledger>,
    may_append: bool,
}

/// What is left to do for a request once its head is read.
enum Route {
    Done(Answer),
    /// With the Content-Type of what is echoed.
    Echo(Option<HeaderValue>),
    Dispatch,
    Run,
    Wait,
}

/// The answer to a job that was accepted.
#[derive(Serialize)]
struct Accepted {
    task_id: TaskId,
    /// The executor that dispatched it.
    worker: usize,
}

impl App {
    pub(crate) fn new(worker: &Worker<Job, Output>, ledger: Arc<Ledger>, may_append: bool) -> Self {
        let shared = Shared {
            tasks: worker.tasks(),
            worker: worker.index(),
            stats: worker.stats(),
            ledger,
            may_append,
        };
        App { shared: Rc::new(shared) }
    }

    /// Dispatches a job of this server's own, whose state can be asked for.
    pub(crate) fn dispatch(&self, job: Job) -> Result<TaskId, DispatchError<Job>> {
        self.remember(self.shared.tasks.job(job))
    }

    fn remember(
        &self,
        dispatch: sidecore::Dispatch<Job, Output>,
    ) -> Result<TaskId, DispatchError<Job>> {
        let handle = dispatch.dispatch()?;
        let id = handle.id();
        // The finish is delivered on this thread, so not before this.
        self.shared.ledger.insert(handle);
        Ok(id)
    }

    /// The plain paths, answered from the borrowed request.
    pub(crate) fn direct(&self, head: &RequestHead<'_>, body: &[u8]) -> Option<Plain> {
        match (head.method, head.target.path()) {
            ("GET" | "HEAD" | "OPTIONS", "/") | ("OPTIONS", "*") => Some(Plain::text("OK")),
            ("POST", "/tasks") => Some(self.post_task(body)),
            _ => None,
        }
    }

    /// Everything that needs no body is decided here, so that no future carries a whole request.
    fn route(&self, request: &Request<Incoming>) -> Route {
        let (method, path) = (request.method(), request.uri().path());
        let allow = match path {
            "/" => "GET, HEAD, OPTIONS, POST",
            // RFC 9110 §9.3.7: the server as a whole.
            "*" => "OPTIONS",
            "/stats" => "GET, HEAD",
            "/tasks" | "/tasks/run" | "/tasks/wait" => "POST",
            path if path.starts_with("/tasks/") => "GET, HEAD, DELETE",
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
            (&Method::POST, "/tasks/wait") => Route::Wait,
            (_, "/stats") => Route::Done(self.stats()),
            (method, path) => Route::Done(match path.strip_prefix("/tasks/") {
                Some(id) if method == Method::DELETE => self.cancel(id),
                Some(id) => self.get_task(id),
                None => text("OK"),
            }),
        }
    }

    async fn answer(self, route: Route, body: Incoming) -> Answer {
        if let Route::Done(answer) = route {
            return answer;
        }
        // A body that breaks its framing, or is too large, is answered by the connection.
        let body = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(cause) => return error(StatusCode::BAD_REQUEST, &cause.to_string()),
        };
        match route {
            Route::Done(answer) => answer,
            Route::Echo(content_type) => {
                with_type(body, content_type.unwrap_or(HeaderValue::from_static("text/plain")))
            }
            Route::Dispatch => of_plain(self.post_task(&body)),
            Route::Run => self.run_task(&body).await,
            Route::Wait => self.wait_for_tasks(&body).await,
        }
    }

    fn post_task(&self, body: &[u8]) -> Plain {
        let Shared { tasks, worker, may_append, .. } = &*self.shared;
        let order = match Order::parse(body, *may_append) {
            Ok(order) => order,
            Err(cause) => return plain_error(StatusCode::BAD_REQUEST, &cause),
        };
        match self.remember(order.prepare(tasks)) {
            Ok(task_id) => plain_json(StatusCode::ACCEPTED, &Accepted { task_id, worker: *worker }),
            Err(refused) => refuse_dispatch(&refused),
        }
    }

    async fn run_task(&self, body: &Bytes) -> Answer {
        let order = match Order::parse(body, self.shared.may_append) {
            Ok(order) => order,
            Err(cause) => return error(StatusCode::BAD_REQUEST, &cause),
        };
        match order.prepare(&self.shared.tasks).run().await {
            Ok(output) => json(StatusCode::OK, &output),
            Err(RunError::Refused(refused)) => of_plain(refuse_dispatch(&refused)),
            Err(failed) => error(StatusCode::INTERNAL_SERVER_ERROR, &failed.to_string()),
        }
    }

    async fn wait_for_tasks(&self, body: &Bytes) -> Answer {
        let (limit, orders) = match Order::parse_wait(body, self.shared.may_append) {
            Ok(wait) => wait,
            Err(cause) => return error(StatusCode::BAD_REQUEST, &cause),
        };
        let tasks = &self.shared.tasks;
        let runs: Vec<_> =
            orders.into_iter().map(|order| order.within(limit).prepare(tasks).run()).collect();
        let mut outcomes = Vec::with_capacity(runs.len());
        for run in runs {
            outcomes.push(match run.await {
                Ok(output) => View::of(Ok(output)),
                Err(RunError::Failed(error)) => View::of(Err(error)),
                Err(refused) => View::refused(refused.to_string()),
            });
        }
        json(StatusCode::OK, &outcomes)
    }

    fn get_task(&self, id: &str) -> Answer {
        match id.parse().ok().and_then(|id| self.shared.ledger.view(id)) {
            Some(view) => json(StatusCode::OK, &view),
            None => unknown_task(),
        }
    }

    fn cancel(&self, id: &str) -> Answer {
        let Some(handle) = id.parse().ok().and_then(|id| self.shared.ledger.handle(id)) else {
            return unknown_task();
        };
        match handle.map_or(Cancelled::TooLate, |handle| handle.cancel()) {
            Cancelled::Withdrawn => json(StatusCode::OK, &json!({ "state": "cancelled" })),
            Cancelled::Asked => json(StatusCode::ACCEPTED, &json!({ "state": "running" })),
            Cancelled::TooLate => error(StatusCode::CONFLICT, "the task is over"),
        }
    }

    fn stats(&self) -> Answer {
        let pool = self.shared.tasks.snapshot();
        json(StatusCode::OK, &stats::view(&self.shared.stats.executors(), pool.as_ref()))
    }
}

fn unknown_task() -> Answer {
    error(StatusCode::NOT_FOUND, "no such task, or it is forgotten")
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
