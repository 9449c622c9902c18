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
        run("peer-tasks", Command::new(build("peer-tasks")).args(numbers))
    }
}

/// What the companion costs; what is measured stands in `bench/peers/src/companion/main.rs`.
#[derive(Clone, Copy, Debug)]
pub struct CompanionCosts {
    /// Of the executors and of the plain tokio runtime.
    pub server_cpu: usize,
    /// Of clients and of the server that is asked by reqwest.
    pub peer_cpu: usize,
    /// Rounds; each measures everything once.
    pub rounds: usize,
    /// How long all rounds take together, in seconds.
    pub seconds: usize,
}

impl CompanionCosts {
    /// Runs it in a process of its own, which prints the table.
    pub fn run(&self) -> io::Result<()> {
        let CompanionCosts { server_cpu, peer_cpu, rounds, seconds } = self;
        let numbers = [server_cpu, peer_cpu, rounds, seconds].map(usize::to_string);
        run("peer-companion", Command::new(build("peer-companion")).arg("measure").args(numbers))
    }
}

fn run(program: &str, command: &mut Command) -> io::Result<()> {
    let status = command.status()?;
    match status.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!("{program}: {status}"))),
    }
}

/// Builds a peer, in the profile of this program, and returns its path.
///
/// # Panics
/// If it does not build.
pub(crate) fn build(program: &str) -> PathBuf {
    let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--locked", "--bin", program]).current_dir(&peers);
    // Whatever the caller's variable says, for it names the other workspace's folder.
    build.env_remove("CARGO_TARGET_DIR");
    let profile = match cfg!(debug_assertions) {
        true => "debug",
        false => {
            build.arg("--release");
            "release"
        }
    };
    let built = build.status().expect("cargo runs");
    assert!(built.success(), "the peer does not build");
    peers.join("target").join(profile).join(program)
}
