//! Tests that want the machine, or this process, for themselves: they measure it, or take nearly all
//! that a process may have. They run one after another, whatever `--test-threads` says.

mod async_pool;
mod crowds;
mod direct_router;
mod resources;
mod seed_scenario;
mod soak;
mod vanished;
