//! When an executor wakes a task worker for what it has dispatched.
//!
//! An executor with CPU to spare wakes one for each job. A busy one leaves jobs in the queue and
//! wakes once for many, since a wake is a system call: it owes the wake until then. All of this is
//! the executor's own, on its thread.
//!
//! ```text
//!   a push                                         each turn, before the executor may sleep
//!     owed += 1                                      batching = the executor is busy
//!     batching, fewer than the most owed, and        owed, and not batching or 200 µs since the
//!     nobody waits for this one: it stays owed       first of them: pay
//!     else: pay                                    pay: owed = 0, `Park::notify`
//! ```
//!
//! - One wake pays for all that are owed: the worker that it wakes finds one job, looks again behind
//!   its fence, and wakes the next for the rest (the chain wake of `park.rs`, the chain call of
//!   `sleepers.rs`). The fence of `notify` stands behind each of the pushes, and so orders all.
//! - A worker that is awake takes what it finds, owed or not. One that falls asleep meanwhile sees
//!   each push that its own fence comes after; those that it misses are still owed.
//! - An executor never sleeps for long in debt: one that batches sleeps for 100 µs at most, since it
//!   looks for finishes by itself (`executor/turn.rs`), and the turn behind it pays. One that does not
//!   has paid before. A lane that is dropped pays without a look.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// How long a busy executor may leave a job to a sleeping worker.
const DELAY: Duration = Duration::from_micros(200);
/// How many jobs it may leave at most.
const JOBS_MAX: usize = 64;

/// The wake that an executor owes.
pub(crate) struct WakeBatch {
    /// The executor is busy.
    batching: Cell<bool>,
    /// Jobs since a worker was last woken for one, and when the first of them was dispatched.
    jobs: Cell<usize>,
    since: Cell<Instant>,
    jobs_max: usize,
}

impl WakeBatch {
    /// `room`: jobs that may wait at once. An eighth of them may be owed.
    pub(crate) fn new(room: usize) -> Self {
        WakeBatch {
            batching: Cell::new(false),
            jobs: Cell::new(0),
            since: Cell::new(Instant::now()),
            jobs_max: (room / 8).clamp(1, JOBS_MAX),
        }
    }

    /// After a push at that time; true: the caller wakes a worker now. `at_once`: that job is not for
    /// waiting.
    #[must_use]
    pub(crate) fn push(&self, now: Instant, at_once: bool) -> bool {
        if self.jobs.get() == 0 {
            self.since.set(now);
        }
        self.jobs.set(self.jobs.get() + 1);
        let pays = at_once || !self.batching.get() || self.jobs.get() >= self.jobs_max;
        self.pay_if(pays)
    }

    /// In a turn, and whether the executor is busy in it; true: the caller wakes a worker now.
    #[must_use]
    pub(crate) fn turn(&self, batching: bool, now: impl FnOnce() -> Instant) -> bool {
        self.batching.set(batching);
        // The clock is read only where something is owed.
        let is_due = || !batching || now().saturating_duration_since(self.since.get()) >= DELAY;
        self.pay_if(self.jobs.get() > 0 && is_due())
    }

    fn pay_if(&self, pays: bool) -> bool {
        if pays {
            self.jobs.set(0);
        }
        pays
    }
}
