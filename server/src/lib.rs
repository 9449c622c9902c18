//! An HTTP server with task workers built in: a handler dispatches long work and goes on at once.
//!
//! ```no_run
//! use sidecore::{Config, Incoming, Request, Response, Server};
//!
//! fn main() -> sidecore::Result<()> {
//!     Server::new(Config::load()?)
//!         .on_task(|_task, name: String| format!("mail sent to {name}"))
//!         .on_finish(|finish, receipt| println!("{}: {receipt:?}", finish.id))
//!         .serve(|executor| {
//!             let tasks = executor.tasks();
//!             tower::service_fn(move |_: Request<Incoming>| {
//!                 let id = tasks.dispatch("ada@example.org".to_string());
//!                 async move { Ok::<_, std::convert::Infallible>(Response::new(format!("{id:?}"))) }
//!             })
//!         })?;
//!     Ok(())
//! }
//! ```
//!
//! What every server needs stands here; the rest has modules, each of which knows only those before
//! it:
//!
//! - [`codec`]: the HTTP/1.1 codec without I/O;
//! - [`config`]: defaults, `sidecore.toml`, `SIDECORE_*` variables, and the addresses of listeners;
//! - [`app`]: any `tower::Service` over `http` types is an [`App`], and answers at once may stand
//!   before it;
//! - [`mod@http`]: what connections speak: HTTP/1.1 on each executor's own ring, HTTP/2 by hyper, TLS by
//!   rustls, and what a request may turn them into;
//! - `websocket`: messages over such an upgrade;
//! - [`tasks`]: callbacks, pools, what a dispatch comes to; closures, events and futures as jobs; and
//!   middleware that makes a task of a request;
//! - [`lifecycle`]: a server's start, the moments of its life, its reload and its end;
//! - `durable`: a pool over a journal, whose jobs are run at least once, also after a kill;
//! - [`test_server`]: a server for tests.
//!
//! Cargo features, off by default but for the last: `durable` has the module `durable`; `tls` has the module `http::tls`, for listeners
//! that speak it; `http2` has all listeners speak HTTP/2 too, with the same application and unless
//! `http2 = "off"`; `tokio` has `Server::with_tokio`, for handlers that need tokio's timers, sockets
//! or `tokio::spawn`; `hyper-upgrade` has `hyper::upgrade::on` work in them, and with it axum's own
//! WebSocket; `websocket` has the module `websocket`; `axum` makes its upgrade an extractor of axum;
//! `stacks` puts a [`Stack`](tasks::Stack) into the report of a stuck task.
//!
//! Packages of their own, which stand on what is public here: `sidecore-static-files`, a layer that
//! answers with files; `sidecore-access-log`, a line for each request, written beside the serving
//! path; `sidecore-request-id`, one name for a request, in its log and answer; `sidecore-trace`,
//! spans from a request to its tasks and finishes.

#![forbid(unsafe_code)]

pub mod app;
pub mod codec;
pub mod config;
#[cfg(feature = "durable")]
pub mod durable;
pub mod http;
pub mod lifecycle;
pub mod tasks;
pub mod test_server;
#[cfg(feature = "websocket")]
pub mod websocket;

pub use ::http::{Request, Response, StatusCode};
pub use sidecore_runtime::pool::{TaskContext, Tasks};

pub use crate::app::answer::service_fn;
pub use crate::app::body::Incoming;
pub use crate::app::service::App;
pub use crate::config::settings::Config;
pub use crate::lifecycle::error::{Error, Result};
pub use crate::lifecycle::executor::Executor;
pub use crate::lifecycle::running::Running;
pub use crate::lifecycle::server::Server;
pub use crate::tasks::callbacks::{FinishContext, TaskResult};
