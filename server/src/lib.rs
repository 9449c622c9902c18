//! An HTTP server with task workers built in: a handler dispatches long work and goes on at once.
//!
//! It runs on Linux 6.1 or newer with io_uring. Each program below is a whole `main.rs` that needs no
//! other crate than this one, unless it says so.
//!
//! # Hello
//!
//! ```no_run
//! use sidecore::{Config, Server, service_fn};
//!
//! fn main() -> sidecore::Result<()> {
//!     Server::new(Config::load()?).serve(|_executor| service_fn(|_request| async { "hello" }))?;
//!     Ok(())
//! }
//! ```
//!
//! [`Server::serve`] calls its function once on each *executor*, a pinned thread that serves HTTP, and
//! serves what that makes: any `tower::Service` over `http` types, such as [`service_fn`] makes of a
//! function. [`IntoAnswer`](app::IntoAnswer) says what the function may answer with.
//!
//! # A task
//!
//! What computes or blocks is a *job*, which a *task worker*, another pinned thread, runs:
//!
//! ```no_run
//! use sidecore::{Config, Server, service_fn};
//!
//! fn main() -> sidecore::Result<()> {
//!     Server::new(Config::load()?)
//!         .on_task(|_task, name: String| {
//!             std::thread::sleep(std::time::Duration::from_secs(1));
//!             format!("mail sent to {name}\n")
//!         })
//!         .awaited()
//!         .serve(|executor| {
//!             let tasks = executor.tasks();
//!             service_fn(move |request| {
//!                 let receipt = tasks.run(request.uri().path().to_owned());
//!                 async move { receipt.await }
//!             })
//!         })?;
//!     Ok(())
//! }
//! ```
//!
//! | [`Tasks`] | gives | the output goes to |
//! |---|---|---|
//! | [`dispatch(job)`](Tasks::dispatch) | an id, at once | [`on_finish`](Server::on_finish) |
//! | [`job(job).spawn()`](Tasks::job) | a handle, which cancels and tells the state | `on_finish` |
//! | [`run(job).await`](Tasks::run) | the output | the future |
//!
//! A queue that is full gives the job back, and [`service_fn`] answers such an error with 503.
//! [`awaited`](Server::awaited) stands in the place of `on_finish` where futures take all outputs.
//!
//! # With axum
//!
//! A `Router` is such a service as it is, and no tokio runtime runs. With `axum = { version = "0.8",
//! default-features = false }`:
//!
//! ```ignore
//! use axum::{Router, routing::get};
//! use sidecore::{Config, Server};
//!
//! fn main() -> sidecore::Result<()> {
//!     Server::new(Config::load()?)
//!         .serve(|_executor| Router::new().route("/", get(|| async { "hello" })))?;
//!     Ok(())
//! }
//! ```
//!
//! # Configuration
//!
//! [`Config::load`] reads `sidecore.toml` and `SIDECORE_*` variables; [`config::keys`] lists all keys.
//!
//! ```toml
//! port = 9000
//!
//! [options]
//! worker_num = 2        # executors
//! task_worker_num = 4
//! ```
//!
//! # Tests
//!
//! [`TestServer`](test_server::TestServer) starts the server on a free port, and asks it:
//!
//! ```
//! use sidecore::test_server::TestServer;
//! use sidecore::{Config, Server, service_fn};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::new(Config::default()).on_task(|_task, n: u64| n + 1).awaited();
//! let server = TestServer::start(server, |executor| {
//!     let tasks = executor.tasks();
//!     service_fn(move |_request| {
//!         let sum = tasks.run(1);
//!         async move { sum.await.map(|sum| sum.to_string()) }
//!     })
//! })?;
//! assert_eq!(server.get("/")?.text(), "2");
//! assert_eq!(server.stop()?.finished, 1);
//! # Ok(())
//! # }
//! ```
//!
//! # What is where
//!
//! What every server needs stands at the top; the rest has modules, each of which knows only those
//! before it:
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
//! # Features
//!
//! | feature | has |
//! |---|---|
//! | `stacks` (default) | a [`Stack`](tasks::Stack) in the report of a stuck task |
//! | `durable` | the module `durable` |
//! | `tls` | the module `http::tls`, for listeners that speak it |
//! | `http2` | HTTP/2 on all listeners, with the same application, unless `http2 = "off"`; brings `tls` |
//! | `websocket` | the module `websocket` |
//! | `axum` | the upgrade of `websocket` as an extractor of axum |
//! | `tokio` | `Server::with_tokio`, for handlers that need tokio's timers, sockets or `tokio::spawn` |
//! | `hyper-upgrade` | `hyper::upgrade::on` in handlers, and with it axum's own WebSocket; brings `tokio` |
//!
//! Packages of their own, which stand on what is public here: `sidecore-static-files`, a layer that
//! answers with files; `sidecore-access-log`, a line for each request, written beside the serving
//! path; `sidecore-request-id`, one name for a request, in its log and answer; `sidecore-trace`,
//! spans from a request to its tasks and finishes.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

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
