//! What the integration tests share: the real binary as a process, and raw HTTP over sockets.

mod client;
mod process;
mod tasks;

pub use client::{Answer, Client, get};
pub use process::{Ended, ServerProcess, server_command};
pub use tasks::{dispatch, wait_for};

/// The 99th percentile of durations.
pub fn p99(mut durations: Vec<std::time::Duration>) -> std::time::Duration {
    durations.sort_unstable();
    durations[(durations.len() * 99 / 100).min(durations.len() - 1)]
}
