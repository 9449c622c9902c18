//! The runtime's pools and executors in this process, without HTTP.

mod destructors;
mod executor_tasks;
mod task_workers;
mod waiting;
