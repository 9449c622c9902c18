//! A handler dispatches a task and goes on at once; what becomes of it is told later.
//!
//! ```sh
//! cargo run --release --example task
//! curl -X POST http://127.0.0.1:8080/mails/ada       # task 1, at once: the mail takes a second
//! curl -X POST http://127.0.0.1:8080/mails/nobody    # as fast, and fails
//! curl http://127.0.0.1:8080/mails                   # 1 sent, 1 failed
//! ```

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use sidecore::tasks::Failure;
use sidecore::{Config, Server, TaskResult, Tasks};

/// A job: any type of your own. It is moved to the task worker, not serialised.
struct Mail {
    to: String,
}

static SENT: AtomicU64 = AtomicU64::new(0);
static FAILED: AtomicU64 = AtomicU64::new(0);

fn main() -> sidecore::Result<()> {
    Server::new(Config::load()?)
        // On a task worker's own thread: here it may block for as long as it takes.
        .try_on_task(|_task, mail: Mail| {
            std::thread::sleep(Duration::from_secs(1));
            match mail.to.as_str() {
                "nobody" => Err(Failure::new("there is no such mailbox")),
                to => Ok(format!("mail sent to {to}")),
            }
        })
        // On the executor that dispatched it, between two requests: keep it short.
        .on_finish(|finish, ended: TaskResult<String>| {
            match &ended {
                Ok(receipt) => eprintln!("task {}: {receipt} in {:?}", finish.id, finish.ran),
                Err(error) => eprintln!("task {}: {error}", finish.id),
            }
            let count = if ended.is_ok() { &SENT } else { &FAILED };
            count.fetch_add(1, Ordering::Relaxed);
        })
        .serve(|executor| {
            Router::new()
                .route("/mails/{to}", post(send))
                .route("/mails", axum::routing::get(count))
                .with_state(executor.tasks())
        })?;
    Ok(())
}

async fn send(
    State(tasks): State<Tasks<Mail, String>>,
    Path(to): Path<String>,
) -> (StatusCode, String) {
    match tasks.dispatch(Mail { to }) {
        Ok(id) => (StatusCode::ACCEPTED, format!("task {id}\n")),
        // The queue is full, or the server is ending: the job was given back.
        Err(refused) => (StatusCode::SERVICE_UNAVAILABLE, format!("{refused}\n")),
    }
}

async fn count() -> String {
    let [sent, failed] = [&SENT, &FAILED].map(|count| count.load(Ordering::Relaxed));
    format!("{sent} sent, {failed} failed\n")
}
