//! The queue of the models: a mutex here, since a protocol may not lean on its ordering. So the
//! emptiness that is looked at is read from a relaxed count beside it.

use std::collections::VecDeque;

use loom::sync::Mutex;
use loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::afar_protocol::Jobs;

pub(crate) struct Queue {
    pub(crate) jobs: Mutex<VecDeque<u8>>,
    length: AtomicUsize,
}

impl Queue {
    pub(crate) fn new() -> Self {
        Queue { jobs: Mutex::new(VecDeque::new()), length: AtomicUsize::new(0) }
    }

    pub(crate) fn push(&self, job: u8) {
        let mut jobs = self.jobs.lock().unwrap();
        jobs.push_back(job);
        self.length.fetch_add(1, Relaxed);
    }

    /// As an `ArrayQueue` does, it may miss a push that no fence has ordered before.
    pub(crate) fn take(&self) -> Option<u8> {
        if self.is_empty() {
            return None;
        }
        // Held until the count is right, so that a look after this one sees it.
        let mut jobs = self.jobs.lock().unwrap();
        let job = jobs.pop_front()?;
        self.length.fetch_sub(1, Relaxed);
        Some(job)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.length.load(Relaxed) == 0
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
