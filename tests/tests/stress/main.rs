//! The runtime under stress and random schedules, in this process and without HTTP.

mod local_tasks;
mod pool_simulation;
mod pool_stress;
