//! Task workers, as a server has them: callbacks, pools beside its own, what a dispatch comes to.
//!
//! [`Tasks`](crate::Tasks) dispatch jobs to `on_task`, whose outcomes come to `on_finish`;
//! [`TaskPool`]s are further pools of other jobs; [`closures`] and [`events`] are ready-made kinds of
//! jobs, [`async_tasks`] jobs that are futures, and [`trigger`] makes a task of a request.

pub mod async_tasks;
pub(crate) mod callbacks;
pub mod closures;
pub mod events;
pub(crate) mod pool;
pub(crate) mod pool_name;
pub(crate) mod pool_start;
pub mod trigger;

pub use sidecore_runtime::pool::{
    Cancelled, DeadLetter, Dispatch, DispatchError, DispatchWhenRoom, Failure, KindSnapshot, Kinds,
    Notice, Outcomes, Overlap, Percentiles, Periodic, PeriodicSnapshot, PoolSnapshot, Priority,
    Retry, Run, RunError, Stuck, TaskError, TaskHandle, TaskId, TaskState, TaskWorkerInfo,
    TaskWorkerSnapshot,
};
pub use sidecore_runtime::stack::{Stack, StackEnd, StackFrame};

pub use self::callbacks::{Callbacks, OnFinish, OnTask};
pub use self::pool::{PoolBuilder, TaskPool};
pub use self::pool_name::pool_name;
pub use self::pool_start::{PoolStart, ServerPool};
