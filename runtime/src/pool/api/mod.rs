//! What users hold of a pool: the pool itself from outside, the handle that dispatches, and what a
//! dispatch comes to.

pub(crate) mod dispatch;
pub(crate) mod handle;
pub(crate) mod periodic;
pub(crate) mod run;
pub(crate) mod start;
mod start_async;
pub(crate) mod tasks;
pub(crate) mod when_room;
