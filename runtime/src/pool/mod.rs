//! Task pools: pinned task workers, the bounded queues before them, the finish rings behind them.
//!
//! ```text
//! executor e ── dispatch ──► bounded MPMC queues ──► task worker t
//!     ▲   takes a credit                                 │ runs the job
//!     │                                                  ▼ catches its panic
//!     └── drain: pop, give the credit back ◄── SPSC ring (t, e) ── finish, doorbell if asleep
//! ```
//!
//! The bounds follow from two numbers of an executor ([`PoolConfig`]). It has at most C jobs, its
//! credits, in the queues and with task workers: a credit is taken as a job is put into a queue and
//! given back when its finish is popped, so each of its rings has capacity C and a worker never
//! meets a full one. What is delayed, or paused between two attempts, holds one of a number of
//! places instead, and waits in line for a credit when it is due. A queue at its depth
//! or an executor out of credits gives the job back ([`DispatchError::Full`]). Threads that are no
//! executors share C credits of their own.
//!
//! Each accepted task has exactly one outcome, delivered to exactly one place: the future that
//! awaits it, its own callback, or `on_finish`. Its finish guard is consumed by its finish,
//! a panic is caught, and what ends it early is decided by one compare-exchange.
//!
//! What users hold: [`Tasks`], [`Dispatch`], [`Run`], [`TaskHandle`], [`Periodic`], and [`Pool`] itself.

// The rooms, each of which knows only those before it: `task`, `notice`,
// `queue`, `wake` (how workers sleep and are woken), `stats`, `config`, `shared`, `finish_guard`,
// `lane` (an executor's end), `worker`, `async_worker`, and `api` above them, what users hold.

mod api;
pub(crate) mod async_worker;
pub(crate) mod config;
pub(crate) mod finish_guard;
pub(crate) mod lane;
pub(crate) mod notice;
pub(crate) mod queue;
pub(crate) mod shared;
pub(crate) mod stats;
pub(crate) mod task;
pub(crate) mod wake;
pub(crate) mod worker;

pub use self::api::dispatch::Dispatch;
pub use self::api::handle::{Cancelled, TaskHandle};
pub use self::api::periodic::{Overlap, Periodic, PeriodicSnapshot};
pub use self::api::run::Run;
pub use self::api::start::Pool;
pub use self::api::tasks::Tasks;
pub use self::api::when_room::{DispatchWhenRoom, SpawnWhenRoom};
pub use self::config::{DELAYED_MAX_DEFAULT, PoolConfig, PoolSetup, Seat};
pub use self::lane::{DeadLetter, Lane};
pub use self::notice::{Notice, OnNotice, Stuck};
pub use self::stats::histogram::Percentiles;
pub use self::stats::{KindSnapshot, Outcomes, PoolSnapshot, TaskWorkerSnapshot};
pub use self::task::control::TaskState;
pub use self::task::error::{DispatchError, Failure, PoolError, RunError, TaskError};
pub use self::task::kinds::Kinds;
pub use self::task::options::{Priority, Retry};
pub use self::task::{Finish, TaskContext, TaskId, TaskWorkerInfo};
