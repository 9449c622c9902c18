//! A task's right to finish, once: consumed by its finish, and by nothing else.

use std::sync::Arc;
use std::time::Duration;

use rtrb::Producer;

use super::lane::WaiterKey;
use super::{Finish, TaskError, TaskId};
use crate::bell::Bell;

/// The way home to one executor, held by one task worker.
pub(super) struct Home<O> {
    pub(super) ring: Producer<Finish<O>>,
    pub(super) bell: Arc<Bell>,
}

/// The finish that a running task owes. Dropping it without [`finish`](Self::finish) still
/// delivers one, as [`TaskError::Lost`].
pub(super) struct Ticket<'a, O> {
    pub(super) home: &'a mut Home<O>,
    pub(super) id: TaskId,
    pub(super) waiter: Option<WaiterKey>,
    pub(super) task_worker: usize,
    pub(super) waited: Duration,
    pub(super) finished: bool,
}

impl<O> Ticket<'_, O> {
    /// Sends the outcome home and wakes the executor if it sleeps.
    pub(super) fn finish(mut self, outcome: Result<O, TaskError>, ran: Duration) {
        self.send(outcome, ran);
    }

    fn send(&mut self, outcome: Result<O, TaskError>, ran: Duration) {
        self.finished = true;
        let finish = Finish {
            id: self.id,
            outcome,
            task_worker: self.task_worker,
            waited: self.waited,
            ran,
            waiter: self.waiter,
        };
        // The ring holds as many as the executor has credits, and this task holds one of them
        // until its finish is popped: there is room (the credits model checks it). rtrb's push
        // publishes with Release, its pop reads with Acquire.
        let pushed = self.home.ring.push(finish);
        debug_assert!(pushed.is_ok(), "credits bound the finish ring");
        self.home.bell.ring();
    }
}

impl<O> Drop for Ticket<'_, O> {
    fn drop(&mut self) {
        if !self.finished {
            self.send(Err(TaskError::Lost), Duration::ZERO);
        }
    }
}
