//! Middleware triggers tasks: one before each request under `/admin/`, one after each answer that
//! is an error. The handlers know nothing of either.
//!
//! ```sh
//! cargo run --release --example middleware
//! curl -i http://127.0.0.1:8080/admin/users   # x-task-id: the audit, which takes a second
//! curl -i http://127.0.0.1:8080/broken        # 500, and its alarm
//! SIDECORE_TASK_QUEUE_DEPTH=1 cargo run --release --example middleware
//! seq 9 | xargs -P 9 -I{} curl -si http://127.0.0.1:8080/admin/{} | grep -i '^HTTP\|^retry'
//! ```

use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use sidecore::tasks::Priority;
use sidecore::tasks::trigger::{TriggerAfter, TriggerTask};
use sidecore::{Config, Executor, Request, Response, Server, TaskResult};

/// What the task workers do.
enum Job {
    Audit { method: String, path: String },
    Alarm { path: String, status: u16 },
}

fn main() -> sidecore::Result<()> {
    Server::new(Config::load()?)
        .on_task(|_task, job: Job| match job {
            Job::Audit { method, path } => {
                std::thread::sleep(Duration::from_secs(1));
                eprintln!("audit: {method} {path}");
            }
            Job::Alarm { path, status } => eprintln!("alarm: {path} answered {status}"),
        })
        .on_finish(|finish, ended: TaskResult<()>| {
            if let Err(error) = ended {
                eprintln!("task {}: {error}", finish.id);
            }
        })
        .serve(router)?;
    Ok(())
}

/// Called once on each executor.
fn router(executor: &Executor<Job, ()>) -> Router {
    let tasks = executor.tasks();
    // What is not audited must not happen: without room the answer is 503, `Retry-After: 2`.
    let audit = TriggerTask::before(tasks.clone(), audit_of).or_unavailable(2).tell_client();
    // An alarm goes before the audits. Of the request only its path is kept.
    let urgently = move |job| {
        let job = tasks.job(job).priority(Priority::High);
        job.dispatch()
    };
    let path = |request: &Request<_>| Some(request.uri().path().to_owned());
    let alarm = TriggerAfter::new(urgently, path, alarm_of);
    Router::new()
        .route("/admin/{what}", get(async || "done\n"))
        .layer(audit)
        .route("/", get(async || "OK"))
        .route("/broken", get(async || StatusCode::INTERNAL_SERVER_ERROR))
        .layer(alarm)
}

fn audit_of<B>(request: &Request<B>) -> Option<Job> {
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    Some(Job::Audit { method, path })
}

fn alarm_of<B>(path: String, answer: &Response<B>) -> Option<Job> {
    let status = answer.status();
    // A refused audit is no alarm.
    let alarms = status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE;
    alarms.then(|| Job::Alarm { path, status: status.as_u16() })
}
