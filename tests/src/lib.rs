//! What the integration tests share: the real binary as a process, and raw HTTP over sockets.

mod client;
mod process;
mod random;
mod tasks;

pub mod seed_scenario;
pub mod wire;

pub use client::{Answer, Client, get};
pub use process::{Ended, ServerProcess, example_command, server_command, server_command_of};
pub use random::Random;
pub use tasks::{dispatch, wait_for};
