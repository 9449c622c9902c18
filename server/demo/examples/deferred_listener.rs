//! A handler raises an event and knows nothing of tasks; one of its listeners runs as one.
//!
//! ```sh
//! cargo run --release --example deferred_listener
//! curl -X POST http://127.0.0.1:8080/signup/ada      # at once; the mail takes two seconds
//! curl -X POST http://127.0.0.1:8080/signup/nobody   # a listener fails, the request does not
//! curl http://127.0.0.1:8080/mails                   # waits for a closure on a task worker
//! ```

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use sidecore::tasks::Failure;
use sidecore::tasks::closures::{Closure, ClosureOutput, Closures};
use sidecore::tasks::events::{Events, deferred};
use sidecore::{Config, Server, TaskResult, Tasks};

/// What has happened. It is cloned once for all listeners that run as tasks.
#[derive(Clone)]
struct SignedUp {
    name: String,
}

#[derive(Clone)]
struct App {
    tasks: Tasks<Closure, ClosureOutput>,
    events: Arc<Events>,
}

static MAILS: AtomicU64 = AtomicU64::new(0);

fn main() -> sidecore::Result<()> {
    let events = OnceLock::new();
    Server::new(Config::load()?)
        .on_closures()
        // How each deferred listener ends is told here, on the executor that raised the event.
        .on_finish(|finish, ended: TaskResult<ClosureOutput>| match ended {
            Ok(_) => eprintln!("task {} took {:?}", finish.id, finish.ran),
            Err(error) => eprintln!("task {}: {error}", finish.id),
        })
        .serve(move |executor| {
            let tasks = executor.tasks();
            let events = events.get_or_init(|| Arc::new(listeners(&tasks))).clone();
            Router::new()
                .route("/signup/{name}", post(sign_up))
                .route("/mails", get(mails))
                .with_state(App { tasks, events })
        })?;
    Ok(())
}

/// The one place that knows which listener is deferred: take `deferred` away, and it is not.
fn listeners(tasks: &Tasks<Closure, ClosureOutput>) -> Events {
    Events::new()
        .on(|event: &SignedUp| eprintln!("{} signed up", event.name))
        .on(deferred(tasks, send_welcome))
        // A full queue, above all: the event was not heard by that listener.
        .on_fault(|fault| eprintln!("{fault}"))
}

fn send_welcome(event: &SignedUp) -> Result<(), Failure> {
    if event.name == "nobody" {
        return Err(Failure::new("there is no such mailbox"));
    }
    std::thread::sleep(Duration::from_secs(2));
    MAILS.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

async fn sign_up(State(app): State<App>, Path(name): Path<String>) -> String {
    let answer = format!("welcome, {name}\n");
    app.events.raise(&SignedUp { name });
    answer
}

/// A closure needs no kind of job of its own, and returns what it likes.
async fn mails(State(app): State<App>) -> Result<String, (StatusCode, String)> {
    let count = app.tasks.call(|_task| MAILS.load(Ordering::Relaxed)).await;
    let count = count.map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    Ok(format!("{count} mails\n"))
}
