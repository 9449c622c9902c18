//! A server's life: it binds its listeners, starts its pools and executors, accepts, reloads, drains
//! and ends.
//!
//! [`Server::start`](crate::Server::start) gives a [`Running`](crate::Running) one. A [`Shutdown`]
//! begins the end, which signals ask for too; a [`Reload`] renews what can be renewed; [`Life`] tells
//! who wants to know; a [`Report`] and [`Error`](crate::Error) say how it went.

mod accept;
pub(crate) mod companion;
pub(crate) mod either;
pub(crate) mod error;
pub(crate) mod executor;
pub(crate) mod life;
pub(crate) mod listen;
mod pool_set;
pub(crate) mod reload;
pub(crate) mod report;
pub(crate) mod running;
pub(crate) mod server;
pub(crate) mod shutdown;
pub(crate) mod signals;
mod tls_policy;

pub use sidecore_runtime::executor::{Blocked, ExecutorSnapshot};
pub use sidecore_runtime::sys::memory::{Heap, heap};
pub use sidecore_runtime::sys::stderr;

pub use self::executor::ServerStats;
pub use self::life::Life;
pub use self::reload::Reload;
pub use self::report::Report;
pub use self::shutdown::Shutdown;
pub use self::signals::catch_signals;
