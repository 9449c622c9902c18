//! What a task worker runs now, published by it for whoever looks: the watchdog, statistics.
//!
//! ```text
//!   the worker, at a job's begin          who looks
//!     since_us, kind = of the job           task = id             (Acquire)
//!     id = of the task      (Release)       since_us, kind        (Acquire)
//!   at its end                              id again              (Relaxed)
//!     id = 0                (Relaxed)       the same, and not 0: they belong together
//! ```
//!
//! The id is the sequence of a seqlock. Its Release at the begin shows what stands above it to who
//! reads that id. And who reads a later job's `since_us` or `kind` acquires with it the 0 that the
//! worker stored before, so that the second look finds another id: these two are stored by Release
//! and read by Acquire for that, and no fence is needed. For the same reason the 0 and the second look
//! need no order of their own: they stand before a Release and behind an Acquire. An id comes again only with another attempt
//! of its task, which is of the same kind: who stands still between the looks while one attempt ends
//! and the next begins on the same worker takes the first one's time for the second's.

use crate::sys::sync::{AtomicU64, Ordering};

/// The job of one worker. Written by that, read by any thread.
pub(crate) struct Running {
    /// The id of the task, 0 for none.
    id: AtomicU64,
    /// When it began, in the unit of whoever writes it.
    since_us: AtomicU64,
    /// The kind of its job.
    kind: AtomicU64,
}

/// A job as it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) id: u64,
    pub(crate) since_us: u64,
    pub(crate) kind: usize,
}

impl Running {
    pub(crate) fn new() -> Self {
        Running { id: AtomicU64::new(0), since_us: AtomicU64::new(0), kind: AtomicU64::new(0) }
    }

    /// By the worker: it begins.
    pub(crate) fn begin(&self, job: Seen) {
        self.since_us.store(job.since_us, Ordering::Release);
        self.kind.store(job.kind as u64, Ordering::Release);
        self.id.store(job.id, Ordering::Release);
    }

    /// By the worker: it has ended.
    pub(crate) fn end(&self) {
        self.id.store(0, Ordering::Relaxed);
    }

    /// What runs; None also where that changes just now.
    pub(crate) fn look(&self) -> Option<Seen> {
        let id = self.id.load(Ordering::Acquire);
        let since_us = self.since_us.load(Ordering::Acquire);
        let kind = self.kind.load(Ordering::Acquire) as usize;
        let same = id != 0 && self.id.load(Ordering::Relaxed) == id;
        same.then_some(Seen { id, since_us, kind })
    }
}

impl Default for Running {
    fn default() -> Self {
        Running::new()
    }
}
