//! Spans of `tracing` that go from a request to its tasks and their finishes.
//!
//! ```
//! use sidecore::{Config, Incoming, Request, Response, Server, TaskResult};
//! use sidecore::test_server::TestServer;
//! use sidecore_trace::{InSpan, RequestSpans, finish_in_span, task_in_span};
//! use tower::Layer;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mut config = Config::default();
//! # (config.options.worker_num, config.options.task_worker_num) = (Some(1), Some(1));
//! let server = Server::new(config)
//!     .on_task(task_in_span(|_task, name: String| tracing::info!(name, "mail is sent")))
//!     .on_finish(finish_in_span(|_finish, _sent: TaskResult<()>| tracing::info!("mail was sent")));
//! // `Server::serve`, where it is no test.
//! let server = TestServer::start(server, |executor| {
//!     let tasks = executor.tasks();
//!     RequestSpans.layer(tower::service_fn(move |_: Request<Incoming>| {
//!         // The job takes the request's span along.
//!         let id = tasks.dispatch(InSpan::current("ada@example.org".to_owned()));
//!         async move { Ok::<_, std::convert::Infallible>(Response::new(format!("{id:?}"))) }
//!     }))
//! })?;
//! assert!(server.get("/mails")?.text().starts_with("Ok("));
//! assert_eq!(server.stop()?.finished, 1);
//! # Ok(())
//! # }
//! ```
//!
//! A job is dispatched as an [`InSpan`], which is the job and the span that was current. What
//! dispatches none pays nothing for it.
//!
//! ```text
//!  request      executor       from the call of the service to its answer
//!  ├─ task      task worker    each run of a job
//!  └─ finish    executor       on_finish
//! ```
//!
//! The names of the fields are those of this crate; `otel.kind` and `otel.status_code` are for
//! `tracing-opentelemetry`, to which the `request` is then a server's span, and one an error that
//! was answered by 5xx or whose job panicked or failed. A subscriber hears of a span's close when
//! the children are closed too, so that of a `request` with tasks comes late. But it is left for the
//! last time when its answer is there, and that is what `tracing-opentelemetry` takes for its end.
//! How to export all of it by OTLP is shown in `demo/` beside this package. The target of all spans is
//! `sidecore::trace`.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod request;
mod task;

use tracing::Span;

pub use crate::request::{RequestSpans, Spanned, Spanning};
pub use crate::task::{
    InSpan, TaskSpanning, async_task_in_span, call_in_span, finish_in_span, task_in_span,
    try_task_in_span,
};

/// The target of the spans, by which subscribers filter.
const TARGET: &str = "sidecore::trace";

/// In the words of `tracing-opentelemetry`.
fn mark_failed(span: &Span) {
    span.record("otel.status_code", "ERROR");
}
