//! Room in a full queue, kept for the executors that wait for it.
//!
//! An executor with a dispatch that waits looks at a full queue once in a while (`waiting.rs`). One
//! that only tries, again and again, would be there first whenever a place comes free. So one place
//! is kept for each executor that waits: who does not wait finds the queue full so much earlier. And
//! after a kept place was taken the next is for who comes first, or those that always wait would
//! have all of them.
//!
//! What is counted here publishes nothing, and who reads it late takes a place more or less: all is
//! Relaxed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::pool::task::options::Priority;

/// What is kept in each queue of a pool.
pub(crate) struct Room {
    /// Executors that wait, at all queues together: a dispatch reads no more where none does.
    waiting: AtomicUsize,
    /// By domain and priority.
    queues: Box<[[Kept; 3]]>,
}

/// What is kept in a queue.
#[derive(Default)]
struct Kept {
    /// Executors that wait.
    waiting: AtomicUsize,
    /// One of them has had its place, and nobody another since.
    is_open: AtomicBool,
}

/// What a queue that is full, but for what is kept, has for who does not wait.
pub(crate) enum Place {
    /// Any that is free.
    Free,
    /// The one that is for who comes first.
    Open,
    None,
}

impl Room {
    pub(crate) fn new(domains: usize) -> Self {
        let queues = (0..domains).map(|_| Default::default()).collect();
        Room { waiting: AtomicUsize::new(0), queues }
    }

    /// What there is for who does not wait, in a queue of such a capacity and `len`.
    pub(crate) fn place(
        &self,
        domain: usize,
        priority: Priority,
        capacity: usize,
        len: impl FnOnce() -> usize,
    ) -> Place {
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return Place::Free;
        }
        let (kept, len) = (self.kept(domain, priority, capacity), len());
        if kept == 0 || len + kept < capacity {
            return Place::Free;
        }
        let is_open = &self.of(domain, priority).is_open;
        let has_it = len < capacity
            && is_open.load(Ordering::Relaxed)
            && is_open.swap(false, Ordering::Relaxed);
        if has_it { Place::Open } else { Place::None }
    }

    /// The open place was gone by then: the next is.
    pub(crate) fn reopen(&self, domain: usize, priority: Priority) {
        self.of(domain, priority).is_open.store(true, Ordering::Relaxed);
    }

    /// Places that are kept: half of the queue at most, as an executor that is stuck does not come
    /// for its own.
    pub(crate) fn kept(&self, domain: usize, priority: Priority, capacity: usize) -> usize {
        let waiting = self.of(domain, priority).waiting.load(Ordering::Relaxed);
        waiting.min(capacity.div_ceil(2))
    }

    /// Keeps a place for one more executor.
    pub(crate) fn keep(&self, domain: usize, priority: Priority) {
        self.of(domain, priority).waiting.fetch_add(1, Ordering::Relaxed);
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes that back.
    pub(crate) fn release(&self, domain: usize, priority: Priority) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        self.of(domain, priority).waiting.fetch_sub(1, Ordering::Relaxed);
    }

    fn of(&self, domain: usize, priority: Priority) -> &Kept {
        &self.queues[domain][priority as usize]
    }
}
