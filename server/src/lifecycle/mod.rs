//! A server's life: it binds its listeners, starts its pools and executors, accepts, reloads, drains
//! and ends.
//!
//! `server` starts what `pool_set`, `listen` and `tls_policy` have made ready, and gives a `running`
//! one; on each executor `worker` runs the `accept` loop. `shutdown` begins the end, asked for by
//! `signals` too; `reload` renews; `life` tells who wants to know; `report` and `error` say how it
//! went. `companion` is the thread of tokio beside the executors.

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
