//! More tasks at once than there is room for: refused at once, or sent as room comes.
//!
//! ```sh
//! SIDECORE_TASK_QUEUE_DEPTH=64 cargo run --release --example many
//! curl -X POST http://127.0.0.1:8080/dispatch/1000   # some 65 accepted, the rest refused
//! curl -X POST http://127.0.0.1:8080/send/1000       # 1000 accepted, as fast as they run
//! curl http://127.0.0.1:8080/finished                # how many have ended
//! ```

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use sidecore::{Config, Server, Tasks};

static FINISHED: AtomicU64 = AtomicU64::new(0);

fn main() -> sidecore::Result<()> {
    Server::new(Config::load()?)
        .on_task(|_task, _number: u32| std::thread::sleep(Duration::from_millis(1)))
        .on_finish(|_finish, _ended| {
            FINISHED.fetch_add(1, Ordering::Relaxed);
        })
        .serve(|executor| {
            Router::new()
                .route("/dispatch/{count}", post(dispatch))
                .route("/send/{count}", post(send))
                .route("/finished", get(async || FINISHED.load(Ordering::Relaxed).to_string()))
                .with_state(executor.tasks())
        })?;
    Ok(())
}

/// Never waits: what finds no room comes back, and the client is told how much.
async fn dispatch(State(tasks): State<Tasks<u32, ()>>, Path(count): Path<u32>) -> String {
    let accepted = (0..count).filter(|number| tasks.dispatch(*number).is_ok()).count();
    format!("{accepted} accepted, {} refused\n", count as usize - accepted)
}

/// Waits for room before each: the burst takes as long as its tasks, this client's alone.
async fn send(State(tasks): State<Tasks<u32, ()>>, Path(count): Path<u32>) -> String {
    for number in 0..count {
        if let Err(refused) = tasks.dispatch_when_room(number).await {
            return format!("{number} accepted, then: {refused}\n");
        }
    }
    format!("{count} accepted\n")
}
