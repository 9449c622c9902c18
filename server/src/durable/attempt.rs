//! One attempt, on a task worker: the journal learns of one that failed before another comes.

use crate::journal::{Journal, Sequence};
use crate::tasks::{Failure, TaskContext, TaskError};

/// An attempt under way. Dropped by a panic, it counts as failed.
pub(super) struct Attempt<'a> {
    journal: &'a Journal,
    task: &'a TaskContext,
    sequence: Sequence,
    retries: u32,
    may_be_retried: bool,
}

impl<'a> Attempt<'a> {
    pub(super) fn begin(
        journal: &'a Journal,
        task: &'a TaskContext,
        sequence: Sequence,
        retries: u32,
    ) -> Self {
        Attempt { journal, task, sequence, retries, may_be_retried: true }
    }

    pub(super) fn end<O>(mut self, result: &Result<O, Failure>) {
        self.may_be_retried = match result {
            Ok(_) => false,
            Err(failure) => TaskError::from(failure.clone()).may_be_retried(),
        };
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        // As the executor will decide it (`home.rs`). Where a cancellation comes in between, it
        // makes no other attempt and this one was counted all the same.
        let is_last = self.task.attempt > self.retries || self.task.is_cancelled();
        if self.may_be_retried && !is_last {
            self.journal.retry(self.sequence, None);
        }
    }
}
