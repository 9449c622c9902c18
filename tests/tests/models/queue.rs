//! The queue of the models. As an `ArrayQueue` has, it has one word that pushes change and one that
//! takers change. It orders nothing, so that no protocol may lean on it: a look may miss a push that
//! no fence has ordered before.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::steal_protocol::Jobs;

pub(crate) struct Queue {
    /// Not one of loom's, whose unlocking would show a push to the next that locks. It is never held
    /// where loom may switch threads.
    jobs: Mutex<VecDeque<u8>>,
    /// Jobs that were pushed, and taken.
    pushed: AtomicUsize,
    taken: AtomicUsize,
}

impl Queue {
    pub(crate) fn new() -> Self {
        Queue {
            jobs: Mutex::new(VecDeque::new()),
            pushed: AtomicUsize::new(0),
            taken: AtomicUsize::new(0),
        }
    }

    pub(crate) fn push(&self, job: u8) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).push_back(job);
        self.pushed.fetch_add(1, Relaxed);
    }

    pub(crate) fn take(&self) -> Option<u8> {
        let mut taken = self.taken.load(Relaxed);
        while taken < self.pushed.load(Relaxed) {
            match self.taken.compare_exchange(taken, taken + 1, Relaxed, Relaxed) {
                Ok(_) => {
                    return self.jobs.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                }
                Err(current) => taken = current,
            }
        }
        None
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.taken.load(Relaxed) >= self.pushed.load(Relaxed)
    }

    /// What is left when all threads have ended.
    pub(crate) fn left(&self) -> usize {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Jobs for Queue {
    type Job = u8;

    fn pop(&self) -> Option<u8> {
        self.take()
    }

    fn push(&self, job: u8) -> Result<(), u8> {
        Queue::push(self, job);
        Ok(())
    }

    fn is_full(&self) -> bool {
        false
    }
}
