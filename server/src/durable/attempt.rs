//! One attempt, on a task worker: the journal learns of it before it runs, and of one that failed
//! before another comes.

use sidecore_journal::{Journal, Sequence};
use sidecore_runtime::pool::{Failure, Retry, TaskContext, TaskError};

/// An attempt under way. Dropped by a panic, it counts as failed.
pub(super) struct Attempt<'a> {
    journal: &'a Journal,
    task: &'a TaskContext,
    sequence: Sequence,
    retry: Option<Retry>,
    may_be_retried: bool,
}

impl<'a> Attempt<'a> {
    pub(super) fn begin(
        journal: &'a Journal,
        task: &'a TaskContext,
        sequence: Sequence,
        retry: Option<Retry>,
    ) -> Self {
        journal.begin(sequence, task.attempt);
        Attempt { journal, task, sequence, retry, may_be_retried: true }
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
        let attempt = self.task.attempt;
        let again = self.retry.filter(|retry| attempt <= retry.retries);
        if let Some(retry) = again.filter(|_| self.may_be_retried && !self.task.is_cancelled()) {
            // The pause that the executor makes is as long by and large; this one is for a restart.
            self.journal.retry(self.sequence, Some(retry.pause(attempt)));
        }
    }
}
