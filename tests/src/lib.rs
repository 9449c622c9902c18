//! What the integration tests share: the real binary as a process, and raw HTTP over sockets.

#![allow(clippy::missing_errors_doc, reason = "tests unwrap")]

mod client;
mod crowd;
mod home;
mod honest;
mod postgres;
mod process;
mod random;
mod scratch;
mod steady;
mod tasks;

pub mod fuzz_targets;
pub mod seed_scenario;
pub mod wire;

pub use client::{Answer, Client, get};
pub use crowd::{Crowd, connections_possible};
pub use home::{pool_config, with_pool};
pub use honest::{Latencies, ask_for, wait_until};
pub use postgres::Postgres;
pub use process::{
    Ended, ServerProcess, binary_command, build_project, example_command, server_command,
    server_command_of,
};
pub use random::Random;
pub use scratch::Scratch;
pub use steady::Steady;
pub use tasks::{dispatch, wait_for, wait_for_task_count};
