//! Which executors have ended: nobody is left to settle what they dispatched, so it is not run any
//! more in this life of the process, lest it be run twice.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sidecore_runtime::executor::spawn_local;

/// The executors that have ended.
#[derive(Debug, Default)]
pub(super) struct EndedExecutors {
    /// Set once there is one. Task workers look at it before each job, and take the lock only where
    /// it is set: the lock orders what they find, so the flag is Relaxed.
    any: AtomicBool,
    executors: Mutex<BTreeSet<usize>>,
}

impl EndedExecutors {
    pub(super) fn contains(&self, executor: usize) -> bool {
        self.any.load(Ordering::Relaxed) && self.lock().contains(&executor)
    }

    fn insert(&self, executor: usize) {
        self.lock().insert(executor);
        self.any.store(true, Ordering::Relaxed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<usize>> {
        self.executors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes the end of this executor, which drops its tasks then.
pub(super) fn note_the_end(ended: Arc<EndedExecutors>, executor: usize) {
    let note = Note { ended, executor };
    spawn_local(async move {
        let _note = note;
        std::future::pending::<()>().await;
    });
}

struct Note {
    ended: Arc<EndedExecutors>,
    executor: usize,
}

impl Drop for Note {
    fn drop(&mut self) {
        self.ended.insert(self.executor);
    }
}
