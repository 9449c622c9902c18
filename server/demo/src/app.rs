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
use sidecore::app::Plain;
use sidecore::codec::RequestHead;
use sidecore::lifecycle::ServerStats;
use sidecore::tasks::{Cancelled, DispatchError, TaskHandle, TaskId};
use sidecore::{Executor, Incoming};
use tower_service::Service;

use crate::answer::{
    Answer, error, json, of_plain, plain_error, plain_json, refuse_dispatch, refuse_durable,
    refuse_method, status_of, text, with_type,
};
use crate::begun::{Begun, Unfinished};
use crate::job::{Job, Output};
use crate::ledger::{Ledger, View};
use crate::order::{Abilities, Order};
use crate::pools::{Handles, PoolName};
use crate::stats;

/// The application of one executor, cloned for each request.
#[derive(Clone)]
pub(crate) struct App {
    shared: Rc<Shared>,
}

/// What an executor's requests share; it never leaves its thread.
struct Shared {
    pools: Handles,
    worker: usize,
    stats: ServerStats,
    ledger: Arc<Ledger>,
    abilities: Abilities,
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
    pub(crate) fn new(
        executor: &Executor<Job, Output>,
        pools: Handles,
        ledger: Arc<Ledger>,
        may_append: bool,
    ) -> Self {
        let shared = Shared {
            abilities: Abilities { append: may_append, durable: pools.durable.is_some() },
            pools,
            worker: executor.index(),
            stats: executor.stats(),
            ledger,
        };
        App { shared: Rc::new(shared) }
    }

    /// Dispatches a job of this server's own, whose state can be asked for.
    pub(crate) fn dispatch(&self, job: Job) -> Result<TaskId, DispatchError<Job>> {
        self.remember(self.shared.pools.of(PoolName::Default).job(job))
    }

    fn remember(
        &self,
        dispatch: sidecore::tasks::Dispatch<Job, Output>,
    ) -> Result<TaskId, DispatchError<Job>> {
        let handle = dispatch.spawn()?;
        let id = handle.id();
        // The finish is delivered on this thread, so not before this.
        self.shared.ledger.insert(handle);
        Ok(id)
    }

    /// The plain paths, answered from the borrowed request.
    pub(crate) fn direct(&self, head: &RequestHead<'_>, body: &[u8]) -> Option<Plain> {
        match (head.method, head.target.path()) {
            ("GET" | "HEAD" | "OPTIONS", "/") | ("OPTIONS", "*") => Some(Plain::text("OK")),
            ("POST", "/tasks") => match self.parse(body) {
                // It waits for the disk.
                Ok(order) if order.pool == PoolName::Durable => None,
                Ok(order) => Some(self.post_task(order)),
                Err(cause) => Some(bad_order(&cause)),
            },
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
            Route::Dispatch => of_plain(match self.parse(&body) {
                Ok(order) if order.pool == PoolName::Durable => self.post_durable(order).await,
                Ok(order) => self.post_task(order),
                Err(cause) => bad_order(&cause),
            }),
            Route::Run => match self.parse(&body) {
                Ok(order) => self.run_task(order).await,
                Err(cause) => of_plain(bad_order(&cause)),
            },
            Route::Wait => self.wait_for_tasks(&body).await,
        }
    }

    fn parse(&self, body: &[u8]) -> Result<Order, String> {
        Order::parse(body, self.shared.abilities)
    }

    fn post_task(&self, order: Order) -> Plain {
        match self.remember(order.prepare(&self.shared.pools)) {
            Ok(task_id) => self.accepted(task_id),
            Err(refused) => refuse_dispatch(&refused),
        }
    }

    /// Answers when the job is on the disk and in the pool.
    async fn post_durable(&self, order: Order) -> Plain {
        let Some(tasks) = &self.shared.pools.durable else {
            return plain_error(StatusCode::BAD_REQUEST, "there is no durable pool");
        };
        let ledger = self.shared.ledger.clone();
        // Also where this request is gone by then, and before the task's end is told.
        let remember = move |handle: &TaskHandle| ledger.insert(handle.clone());
        match order.prepare_durable(tasks).on_dispatch(remember).spawn().await {
            Ok(handle) => self.accepted(handle.id()),
            Err(refused) => refuse_durable(&refused),
        }
    }

    fn accepted(&self, task_id: TaskId) -> Plain {
        plain_json(StatusCode::ACCEPTED, &Accepted { task_id, worker: self.shared.worker })
    }

    /// Dispatches now; the outcome is awaited later.
    fn begin(&self, order: Order) -> Begun {
        match &self.shared.pools.durable {
            Some(tasks) if order.pool == PoolName::Durable => {
                Begun::Durable(order.prepare_durable(tasks).run())
            }
            _ => Begun::Plain(order.prepare(&self.shared.pools).run()),
        }
    }

    async fn run_task(&self, order: Order) -> Answer {
        match self.begin(order).end().await {
            Ok(output) => json(StatusCode::OK, &output),
            Err(Unfinished::Refused { answer, .. }) => of_plain(answer),
            Err(Unfinished::Failed(cause)) => error(status_of(&cause), &cause.to_string()),
        }
    }

    async fn wait_for_tasks(&self, body: &Bytes) -> Answer {
        let (limit, orders) = match Order::parse_wait(body, self.shared.abilities) {
            Ok(wait) => wait,
            Err(cause) => return of_plain(bad_order(&cause)),
        };
        let begun: Vec<_> =
            orders.into_iter().map(|order| self.begin(order.within(limit))).collect();
        let mut outcomes = Vec::with_capacity(begun.len());
        for task in begun {
            outcomes.push(match task.end().await {
                Ok(output) => View::of(Ok(output)),
                Err(Unfinished::Failed(error)) => View::of(Err(error)),
                Err(Unfinished::Refused { cause, .. }) => View::refused(cause),
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
        let Shared { pools, stats, .. } = &*self.shared;
        let journal = pools.durable.as_ref().map(|durable| durable.stats());
        json(StatusCode::OK, &stats::view(&stats.executors(), &stats.pools(), journal))
    }
}

fn bad_order(cause: &str) -> Plain {
    plain_error(StatusCode::BAD_REQUEST, cause)
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
