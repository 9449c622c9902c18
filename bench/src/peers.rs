//! The peers, which are built in a workspace of their own (`bench/peers`).

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Task pools side by side; what is measured stands in `bench/peers/src/tasks/main.rs`.
#[derive(Clone, Copy, Debug)]
pub struct TaskComparison {
    /// Of the threads that dispatch and await.
    pub producer_cpu: usize,
    /// Of the threads that run the jobs.
    pub worker_cpu: usize,
    /// Rounds; each measures everything once on every subject.
    pub rounds: usize,
    /// How long all rounds take together, in seconds.
    pub seconds: usize,
}

impl TaskComparison {
    /// Runs it in a process of its own, which prints the tables.
    pub fn run(&self) -> io::Result<()> {
        let TaskComparison { producer_cpu, worker_cpu, rounds, seconds } = self;
        let numbers = [producer_cpu, worker_cpu, rounds, seconds].map(usize::to_string);
        let status = Command::new(build("peer-tasks")).args(numbers).status()?;
        match status.success() {
            true => Ok(()),
            false => Err(io::Error::other(format!("peer-tasks: {status}"))),
        }
    }
}

/// Builds a peer and returns its path.
///
/// # Panics
/// If it does not build.
pub(crate) fn build(program: &str) -> PathBuf {
    let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--release", "--locked", "--bin", program])
        .current_dir(&peers)
        .status()
        .expect("cargo runs");
    assert!(built.success(), "the peer does not build");
    peers.join("target/release").join(program)
}
