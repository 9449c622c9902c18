//! An HTTP server with task workers built in: a handler dispatches long work and goes on at once.
//!
//! ```no_run
//! use sidecore::{Config, Incoming, Request, Response, Server};
//!
//! fn main() -> sidecore::Result<()> {
//!     Server::new(Config::load()?)
//!         .on_task(|_task, name: String| format!("mail sent to {name}"))
//!         .on_finish(|finish, receipt| println!("{}: {receipt:?}", finish.id))
//!         .serve(|worker| {
//!             let tasks = worker.tasks();
//!             tower::service_fn(move |_: Request<Incoming>| {
//!                 let id = tasks.dispatch("ada@example.org".to_string());
//!                 async move { Ok::<_, std::convert::Infallible>(Response::new(format!("{id:?}"))) }
//!             })
//!         })?;
//!     Ok(())
//! }
//! ```
//!
//! The modules, in the order in which data flows:
//!
//! - [`config`]: defaults, `sidecore.toml`, `SIDECORE_*` variables;
//! - [`server`](Server): placement, probes, start and end;
//! - the HTTP/1.1 [`codec`] and the connection over it, on each executor's own ring;
//! - HTTP/2 over TLS for clients that ask for it, and without TLS for those that begin with it, who
//!   are sent away in its own words where it is off (feature `http2`);
//! - [`App`]: any `tower::Service` over `http` types, and [`Direct`] answers before it, by path in a
//!   [`DirectRouter`];
//! - [`Tasks`]: dispatch a job, or run one and await its output;
//! - [`closures`]: jobs that are closures, with outputs of their own types;
//! - [`events`]: listeners that run where an event is raised, or as tasks;
//! - [`trigger`]: middleware that makes a task of a request;
//! - [`journal`]: jobs that shall survive the process are on the disk first;
//! - [`durable`]: a pool over it, whose jobs are run at least once;
//! - [`async_task`]: pools whose jobs are futures, many at once on a task worker;
//! - [`Life`]: the moments of a server's life, and who is told of them;
//! - [`test_server`]: a server for tests.
//!
//! Cargo features, off by default but for the last: `tls` has the module `tls`, for listeners that
//! speak it; `http2` has all listeners speak HTTP/2 too, with the same application and unless `http2 = "off"`;
//! `tokio` has `Server::with_tokio`, for handlers that need tokio's timers, sockets or
//! `tokio::spawn`; `hyper-upgrade` has `hyper::upgrade::on` work in them, and with it axum's own
//! WebSocket; `websocket` has the module `websocket`; `axum` makes its upgrade an extractor of
//! axum; `stacks` puts a [`Stack`] into the report of a stuck task.
//!
//! Packages of their own, which stand on what is public here: `sidecore-static-files`, a layer that
//! answers with files; `sidecore-access-log`, a line for each request, written beside the serving
//! path; `sidecore-request-id`, one name for a request, in its log and answer; `sidecore-trace`,
//! spans from a request to its tasks and finishes.

#![forbid(unsafe_code)]

pub mod app;
pub mod codec;
pub mod config;
pub mod durable;
pub mod http;
pub mod lifecycle;
pub mod tasks;
pub mod test_server;
#[cfg(feature = "websocket")]
pub mod websocket;

#[cfg(feature = "tls")]
pub use crate::http::tls;
pub use crate::tasks::async_tasks as async_task;
pub use crate::tasks::{closures, events, trigger};
pub use ::http::{Request, Response, StatusCode};
pub use sidecore_journal as journal;

pub use crate::app::App;
pub use crate::app::Direct;
pub use crate::app::Oneshot;
pub use crate::app::PeerAddress;
pub use crate::app::Plain;
pub use crate::app::Refused;
pub use crate::app::Secured;
pub use crate::app::ServiceFailed;
pub use crate::app::WithPeers;
pub use crate::app::answered_instead;
pub use crate::app::body::BodyError;
pub use crate::app::body::Incoming;
pub use crate::app::direct_router::DirectParams;
pub use crate::app::direct_router::DirectRequest;
pub use crate::app::direct_router::DirectRouter;
pub use crate::codec::head::Framing;
pub use crate::codec::head::RequestHead;
pub use crate::codec::head::Version;
pub use crate::codec::reject::Reject;
pub use crate::codec::target::Target;
pub use crate::config::Config;
pub use crate::config::Scheme;
pub use crate::config::listen::Listen;
pub use crate::config::listen::ListenError;
pub use crate::http::http1::upgrade::Upgrade;
pub use crate::http::http1::upgrade::Upgraded;
pub use crate::lifecycle::error::Error;
pub use crate::lifecycle::error::Result;
pub use crate::lifecycle::life::Life;
pub use crate::lifecycle::reload::Reload;
pub use crate::lifecycle::report::Report;
pub use crate::lifecycle::running::Running;
pub use crate::lifecycle::server::Server;
pub use crate::lifecycle::shutdown::Shutdown;
pub use crate::lifecycle::signals::catch_signals;
pub use crate::lifecycle::worker::ServerStats;
pub use crate::lifecycle::worker::Worker;
pub use crate::tasks::Callbacks;
pub use crate::tasks::Cancelled;
pub use crate::tasks::DeadLetter;
pub use crate::tasks::Dispatch;
pub use crate::tasks::DispatchError;
pub use crate::tasks::Failure;
pub use crate::tasks::FinishContext;
pub use crate::tasks::KindSnapshot;
pub use crate::tasks::Kinds;
pub use crate::tasks::Notice;
pub use crate::tasks::OnFinish;
pub use crate::tasks::OnTask;
pub use crate::tasks::Outcomes;
pub use crate::tasks::Overlap;
pub use crate::tasks::Percentiles;
pub use crate::tasks::Periodic;
pub use crate::tasks::PeriodicSnapshot;
pub use crate::tasks::PoolSnapshot;
pub use crate::tasks::Priority;
pub use crate::tasks::Retry;
pub use crate::tasks::Run;
pub use crate::tasks::RunError;
pub use crate::tasks::SendJob;
pub use crate::tasks::Stack;
pub use crate::tasks::StackEnd;
pub use crate::tasks::StackFrame;
pub use crate::tasks::Stuck;
pub use crate::tasks::TaskContext;
pub use crate::tasks::TaskError;
pub use crate::tasks::TaskHandle;
pub use crate::tasks::TaskId;
pub use crate::tasks::TaskResult;
pub use crate::tasks::TaskState;
pub use crate::tasks::TaskWorkerInfo;
pub use crate::tasks::TaskWorkerSnapshot;
pub use crate::tasks::Tasks;
pub use crate::tasks::closures::Closure;
pub use crate::tasks::closures::ClosureOutput;
pub use crate::tasks::closures::Closures;
pub use crate::tasks::events::Events;
pub use crate::tasks::pool::PoolBuilder;
pub use crate::tasks::pool_name::pool_name;
pub use crate::tasks::pool::TaskPool;
pub use crate::tasks::pool_start::PoolStart;
pub use crate::tasks::pool_start::ServerPool;
pub use crate::tasks::trigger::TriggerAfter;
pub use crate::tasks::trigger::TriggerTask;
pub use crate::test_server::TestServer;
pub use sidecore_runtime::executor::ExecutorSnapshot;
pub use sidecore_runtime::sys::memory::{Heap, heap};
pub use sidecore_runtime::sys::stderr;

/// The guides' code, compiled with the tests.
#[cfg(doctest)]
mod guides {
    #[doc = include_str!("../../docs/from-swoole-and-mezzio.md")]
    struct FromSwooleAndMezzio;

    #[doc = include_str!("../../docs/from-tokio-and-axum.md")]
    struct FromTokioAndAxum;
}
