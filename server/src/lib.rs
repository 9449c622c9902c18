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

pub mod config;

pub mod codec;

pub mod closures;

pub mod durable;

pub mod events;

pub mod async_task;

pub mod test_server;

#[cfg(feature = "tls")]
pub mod tls;

pub mod trigger;

#[cfg(feature = "websocket")]
pub mod websocket;

mod accept;
mod body;
mod companion;
mod direct_router;
mod error;
mod hall;
mod http1;
#[cfg(feature = "http2")]
mod http2;
#[cfg(feature = "hyper-upgrade")]
mod hyper_upgrade;
#[cfg(not(feature = "hyper-upgrade"))]
#[path = "hyper_upgrade/without.rs"]
mod hyper_upgrade;
mod life;
mod listen;
mod mounted;
mod opening;
mod pool_name;
mod reload;
mod running;
mod security;
mod server;
mod service;
mod shutdown;
mod signals;
mod task_pool;
mod tasks;
mod transport;
mod worker;

pub use http::{Request, Response, StatusCode};
pub use sidecore_journal as journal;

pub use crate::body::{BodyError, Incoming};
pub use crate::closures::{Closure, ClosureOutput, Closures};
pub use crate::config::{Config, Scheme};
pub use crate::direct_router::{DirectParams, DirectRequest, DirectRouter};
pub use crate::error::{Error, Result};
pub use crate::events::Events;
pub use crate::http1::head::{Framing, RequestHead, Version};
pub use crate::http1::reject::Reject;
pub use crate::http1::target::Target;
pub use crate::http1::upgrade::{Upgrade, Upgraded};
pub use crate::life::Life;
pub use crate::listen::{Listen, ListenError};
pub use crate::mounted::{Mount, Mountable};
pub use crate::pool_name::pool_name;
pub use crate::reload::Reload;
pub use crate::running::{Report, Running};
pub use crate::server::Server;
pub use crate::service::{
    App, Direct, Oneshot, PeerAddress, Plain, Refused, Secured, ServiceFailed, WithPeers,
    answered_instead,
};
pub use crate::shutdown::Shutdown;
pub use crate::signals::catch_signals;
pub use crate::task_pool::{PoolBuilder, TaskPool};
pub use crate::tasks::{
    Callbacks, Cancelled, DeadLetter, Dispatch, DispatchError, Failure, FinishContext,
    KindSnapshot, Kinds, Notice, OnFinish, OnTask, Outcomes, Overlap, Percentiles, Periodic,
    PeriodicSnapshot, PoolSnapshot, Priority, Retry, Run, RunError, SendJob, Stack, StackEnd,
    StackFrame, Stuck, TaskContext, TaskError, TaskHandle, TaskId, TaskResult, TaskState,
    TaskWorkerInfo, TaskWorkerSnapshot, Tasks,
};
pub use crate::test_server::TestServer;
pub use crate::trigger::{TriggerAfter, TriggerTask};
pub use crate::worker::{ServerStats, Worker};
pub use sidecore_runtime::executor::ExecutorSnapshot;
pub use sidecore_runtime::memory::{Heap, heap};
pub use sidecore_runtime::stderr;

/// The guides' code, compiled with the tests.
#[cfg(doctest)]
mod guides {
    #[doc = include_str!("../../docs/from-swoole-and-mezzio.md")]
    struct FromSwooleAndMezzio;

    #[doc = include_str!("../../docs/from-tokio-and-axum.md")]
    struct FromTokioAndAxum;
}
