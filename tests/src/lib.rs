//! What the integration tests share: the real binary as a process, and raw HTTP over sockets.

mod client;
mod process;
mod random;
mod scratch;
mod tasks;

pub mod fuzz_targets;
pub mod seed_scenario;
pub mod wire;

pub use client::{Answer, Client, get};
pub use process::{Ended, ServerProcess, server_command, server_command_of};
pub use random::Random;
pub use scratch::Scratch;
pub use tasks::{dispatch, wait_for};
