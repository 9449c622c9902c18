//! One bit a task: whether it is queued to be polled. The protocol stands in `waker.rs`.

use crate::sys::sync::{AtomicBool, Ordering};

/// True while the task's key is in a queue, and for ever once the task has ended.
///
/// Set by any thread, cleared by the task's executor only.
pub(crate) struct Schedule {
    scheduled: AtomicBool,
}

impl Schedule {
    /// The bit of a new task, whose key its creator queues.
    pub(crate) fn scheduled() -> Self {
        Schedule { scheduled: AtomicBool::new(true) }
    }

    /// Asks for a poll. True: the caller has to queue the task's key; false: it is queued.
    #[must_use]
    pub(crate) fn request(&self) -> bool {
        // Release: what the waking thread did is seen by the poll (`begin_poll`). A swap even
        // where it is set, so that this thread's writes join the release sequence.
        !self.scheduled.swap(true, Ordering::Release)
    }

    /// The executor popped the key and polls now: later requests queue it again.
    pub(crate) fn begin_poll(&self) {
        // Acquire pairs with the swaps of `request`. A plain store would cut their release
        // sequence: the writes of a thread whose request found the bit set might not be seen.
        self.scheduled.swap(false, Ordering::Acquire);
    }

    /// The task has ended: no request queues it any more.
    pub(crate) fn retire(&self) {
        self.scheduled.store(true, Ordering::Relaxed);
    }
}
