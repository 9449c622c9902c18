//! Counters of one executor: written by its thread alone, read by any.

use std::sync::atomic::{AtomicU64, Ordering};

/// Each counter has one writer, so that an update is a plain load and store; a reader may be a
/// turn behind, and two counters may be of different turns.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ExecutorStats {
    turns: AtomicU64,
    enters: AtomicU64,
    sleeps: AtomicU64,
    polls: AtomicU64,
    finishes: AtomicU64,
    streams: AtomicU64,
    panics: AtomicU64,
}

/// The counters of an executor at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExecutorSnapshot {
    /// Turns of the loop.
    pub turns: u64,
    /// Times the kernel was entered for the ring (`io_uring_enter`).
    pub enters: u64,
    /// Turns that were ready to sleep.
    pub sleeps: u64,
    /// Polls of local tasks.
    pub polls: u64,
    /// Finishes delivered.
    pub finishes: u64,
    /// Connections open now.
    pub streams: u64,
    /// Local tasks that ended by a panic.
    pub panics: u64,
}

impl ExecutorStats {
    /// Reads the counters.
    pub fn snapshot(&self) -> ExecutorSnapshot {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ExecutorSnapshot {
            turns: read(&self.turns),
            enters: read(&self.enters),
            sleeps: read(&self.sleeps),
            polls: read(&self.polls),
            finishes: read(&self.finishes),
            streams: read(&self.streams),
            panics: read(&self.panics),
        }
    }

    /// Publishes the loop's own counts; called by the executor's thread only.
    pub(crate) fn publish(&self, counts: &ExecutorSnapshot) {
        let write = |counter: &AtomicU64, value| counter.store(value, Ordering::Relaxed);
        write(&self.turns, counts.turns);
        write(&self.enters, counts.enters);
        write(&self.sleeps, counts.sleeps);
        write(&self.polls, counts.polls);
        write(&self.finishes, counts.finishes);
        write(&self.streams, counts.streams);
        write(&self.panics, counts.panics);
    }
}
