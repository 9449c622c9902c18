//! Counters of one executor: written by its thread alone, read by any.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

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
    /// Odd while the thread is in a turn, and so may be in code that is not the executor's; changes with
    /// each task that is polled.
    pulse: AtomicU64,
    /// Of the watch, which alone writes it.
    blocked: AtomicU64,
    thread_id: AtomicU32,
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
    /// Times that it was found [blocked](super::Blocked).
    pub blocked: u64,
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
            blocked: read(&self.blocked),
        }
    }

    /// Called by the executor's thread, as other code begins and ends.
    #[inline]
    pub(crate) fn set_pulse(&self, pulse: u64) {
        self.pulse.store(pulse, Ordering::Relaxed);
    }

    pub(crate) fn pulse(&self) -> u64 {
        self.pulse.load(Ordering::Relaxed)
    }

    /// Whether an executor of this pulse is in code that is not its own.
    pub(crate) fn is_in_code(pulse: u64) -> bool {
        pulse % 2 == 1
    }

    /// Counts once more that it is blocked; how often it has been.
    pub(crate) fn count_blocked(&self) -> u64 {
        self.blocked.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn set_thread_id(&self, id: rustix::thread::Pid) {
        self.thread_id.store(id.as_raw_nonzero().get() as u32, Ordering::Relaxed);
    }

    pub(crate) fn thread_id(&self) -> u32 {
        self.thread_id.load(Ordering::Relaxed)
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
