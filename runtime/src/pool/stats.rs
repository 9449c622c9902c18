//! Counters of a pool: each has one writer, so that an update is a plain load and store.

use std::sync::atomic::{AtomicU64, Ordering};

/// A counter with one writer.
#[derive(Debug, Default)]
struct Counter(AtomicU64);

impl Counter {
    /// By the one writer.
    fn add(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed) + count, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Written by the lane's executor.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct LaneStats {
    accepted: Counter,
    refused: Counter,
    delivered: Counter,
    callback_panics: Counter,
}

/// Written by the task worker.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct TaskWorkerStats {
    ran: Counter,
    panicked: Counter,
    /// The id of the task that runs, 0 for none.
    running: AtomicU64,
}

/// The counters of one task worker at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskWorkerSnapshot {
    /// Tasks it has run to their end, panics included.
    pub ran: u64,
    /// Those that panicked.
    pub panicked: u64,
    /// The task that runs now, if one does.
    pub running: Option<u64>,
}

/// The counters of a pool at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolSnapshot {
    /// Jobs accepted.
    pub accepted: u64,
    /// Jobs given back.
    pub refused: u64,
    /// Finishes delivered to `on_finish` or an awaiting future.
    pub delivered: u64,
    /// `on_finish` callbacks that panicked.
    pub callback_panics: u64,
    /// Jobs in the queue.
    pub queued: usize,
    /// Task workers asleep.
    pub sleeping: u32,
    /// Each task worker.
    pub workers: Vec<TaskWorkerSnapshot>,
}

impl PoolSnapshot {
    /// Tasks that panicked.
    pub fn panicked(&self) -> u64 {
        self.workers.iter().map(|worker| worker.panicked).sum()
    }

    /// Accepted tasks whose finish was not delivered. Above 0 after a pool has closed: lost.
    pub fn outstanding(&self) -> u64 {
        self.accepted.saturating_sub(self.delivered)
    }
}

impl LaneStats {
    pub(crate) fn count_accepted(&self) {
        self.accepted.add(1);
    }
    pub(crate) fn count_refused(&self) {
        self.refused.add(1);
    }
    pub(crate) fn count_delivered(&self) {
        self.delivered.add(1);
    }
    pub(crate) fn count_callback_panic(&self) {
        self.callback_panics.add(1);
    }
    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.get()
    }
    pub(crate) fn refused(&self) -> u64 {
        self.refused.get()
    }
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered.get()
    }
    pub(crate) fn callback_panics(&self) -> u64 {
        self.callback_panics.get()
    }
}

impl TaskWorkerStats {
    pub(crate) fn begin(&self, id: u64) {
        self.running.store(id, Ordering::Relaxed);
    }

    pub(crate) fn end(&self, panicked: bool) {
        self.ran.add(1);
        if panicked {
            self.panicked.add(1);
        }
        self.running.store(0, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> TaskWorkerSnapshot {
        let running = self.running.load(Ordering::Relaxed);
        TaskWorkerSnapshot {
            ran: self.ran.get(),
            panicked: self.panicked.get(),
            running: (running != 0).then_some(running),
        }
    }
}
