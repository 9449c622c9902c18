//! Tests that want the machine, or this process, for themselves: they measure it, or take nearly all
//! that a process may have. They run one after another, whatever `--test-threads` says.

mod async_pool;
mod crowds;
mod direct_router;
mod resources;
mod seed_scenario;
mod soak;
mod vanished;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The turn of the test that holds it.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
