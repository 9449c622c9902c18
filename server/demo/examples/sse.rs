//! A task's progress as server-sent events, over axum's `Sse`: the task worker counts, the executor
//! streams. A client that comes late or reads slowly sees the newest count, and misses none that
//! matters. No tokio runs; with `Server::with_tokio` and axum's feature `tokio`, `.keep_alive(…)`
//! adds comments where nothing happens for long.
//!
//! ```sh
//! cargo run --release --example sse
//! curl -N 'http://127.0.0.1:8080/count?steps=20'      # progress 1/20 … 20/20, then the result
//! ```
//!
//! Or open <http://127.0.0.1:8080/> in a browser, which gets a page that shows it.
//!
//! An `EventSource` connects again when a stream ends, which would run the task again: so the page
//! closes it at the last event, and who connects again all the same, with that event's id, gets 204,
//! which tells it to stop (HTML, § 9.2.3). The stream ends with its task, so the drain waits for it
//! no longer than for the task.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::Event;
use axum::response::{Html, Sse};
use axum::routing::get;
use futures_core::Stream;
use serde::Deserialize;
use sidecore::tasks::Run;
use sidecore::{Config, Executor, Server, Tasks};

/// The id of a stream's last event.
const END: &str = "end";

const PAGE: &str = "<!doctype html><meta charset=utf-8><title>count</title>
<progress id=bar max=1 value=0></progress> <output id=said></output>
<script>
const [bar, said] = ['bar', 'said'].map(id => document.getElementById(id));
const events = new EventSource('/count' + (location.search || '?steps=20'));
events.addEventListener('progress', event => {
  const [done, steps] = event.data.split('/');
  bar.value = done / steps;
  said.value = event.data;
});
for (const end of ['done', 'failed'])
  events.addEventListener(end, event => {
    events.close();
    said.value = event.data;
  });
</script>";

struct Count {
    steps: u32,
    progress: Arc<Progress>,
}

/// How far a task is. Written by its worker, read by the stream.
#[derive(Default)]
struct Progress {
    done: AtomicU32,
    waker: Mutex<Option<Waker>>,
}

impl Progress {
    fn set(&self, done: u32) {
        self.done.store(done, Ordering::Release);
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// How many steps are done; the task of `context` is woken at the next one.
    fn get(&self, context: &Context<'_>) -> u32 {
        // Kept before the look: a step after it finds the waker.
        *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(context.waker().clone());
        self.done.load(Ordering::Acquire)
    }
}

fn main() -> sidecore::Result<()> {
    let report = Server::new(Config::load()?)
        .on_task(|_task, count: Count| {
            for step in 1..=count.steps {
                std::thread::sleep(Duration::from_millis(100));
                count.progress.set(step);
            }
            format!("counted to {}", count.steps)
        })
        .on_finish(|finish, _| eprintln!("nobody waited for task {}", finish.id))
        .serve(router)?;
    eprintln!("{report}");
    Ok(())
}

/// Called once on each executor.
fn router(executor: &Executor<Count, String>) -> Router {
    let page = get(async || Html(PAGE));
    Router::new().route("/", page).route("/count", get(count)).with_state(executor.tasks())
}

#[derive(Deserialize)]
struct Asked {
    steps: u32,
}

async fn count(
    State(tasks): State<Tasks<Count, String>>,
    Query(asked): Query<Asked>,
    fields: HeaderMap,
) -> Result<Sse<Counting>, StatusCode> {
    if fields.get("last-event-id").is_some_and(|id| id == END) {
        return Err(StatusCode::NO_CONTENT);
    }
    let steps = asked.steps;
    if !(1..=1_000).contains(&steps) {
        return Err(StatusCode::BAD_REQUEST);
    }
    let progress = Arc::new(Progress::default());
    // Dropping the stream, as when the client leaves, throws the result away; the task goes on.
    let run = tasks.run(Count { steps, progress: progress.clone() });
    Ok(Sse::new(Counting { run: Some(Box::pin(run)), progress, steps, told: 0 }))
}

/// The events of one task.
struct Counting {
    /// None once its result was told.
    run: Option<Pin<Box<Run<Count, String>>>>,
    progress: Arc<Progress>,
    steps: u32,
    told: u32,
}

impl Stream for Counting {
    type Item = Result<Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let done = self.progress.get(context);
        if done > self.told {
            self.told = done;
            let text = format!("{done}/{}", self.steps);
            return Poll::Ready(Some(Ok(Event::default().event("progress").data(text))));
        }
        let Some(run) = &mut self.run else { return Poll::Ready(None) };
        let ended = std::task::ready!(run.as_mut().poll(context));
        self.run = None;
        let event = match ended {
            Ok(text) => Event::default().id(END).event("done").data(text),
            // Every worker is busy and the queue is full, for instance.
            Err(error) => Event::default().id(END).event("failed").data(error.to_string()),
        };
        Poll::Ready(Some(Ok(event)))
    }
}
