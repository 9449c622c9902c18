//! Dispatching from threads that are no executors: task workers of another pool, another
//! runtime's threads, plain ones.
//!
//! They share credits of their own, so that they cannot take an executor's. No ring leads back to
//! them: the task worker hands the finish to a receiver where it stands. What they share is shared credits
//! of credits (`shared_credits.rs`) and the gate that keeps `close` from overtaking a push (`close_barrier.rs`); ids
//! and counters order nothing.

use crate::pool::task::Receiver;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::pool::shared::close_barrier::CloseBarrier;
use crate::pool::shared::shared_credits::SharedCredits;
use crate::pool::stats::ExternalStats;
use crate::pool::task::{Finish, TaskId};

/// Ids of these tasks have this bit, which no executor's sequence reaches. JSON numbers hold it.
const EXTERNAL_IDS: TaskId = 1 << 52;

type OnFinish<O> = Arc<dyn Fn(Finish<O>) + Send + Sync>;

/// The credits, ids and counters of external threads.
pub(crate) struct External<O> {
    credits: SharedCredits,
    next_id: AtomicU64,
    close_barrier: CloseBarrier,
    on_finish: OnceLock<OnFinish<O>>,
    pub(crate) stats: ExternalStats,
}

/// Why an external dispatch is refused.
pub(crate) enum Refused {
    Full,
    Closed,
}

impl<O> External<O> {
    pub(crate) fn new(credits: usize, id_base: TaskId) -> Self {
        External {
            credits: SharedCredits::new(credits),
            next_id: AtomicU64::new(EXTERNAL_IDS + id_base + 1),
            close_barrier: CloseBarrier::new(),
            on_finish: OnceLock::new(),
            stats: ExternalStats::default(),
        }
    }

    pub(crate) fn set_on_finish(&self, on_finish: OnFinish<O>) {
        let _ = self.on_finish.set(on_finish);
    }

    /// Takes a credit and pushes by `push`, which gives the value back where there is no room.
    pub(crate) fn dispatch<T>(
        &self,
        value: T,
        push: impl FnOnce(TaskId, T) -> Result<(), T>,
    ) -> Result<TaskId, (Refused, T)> {
        if !self.close_barrier.enter() {
            self.stats.count_refused();
            return Err((Refused::Closed, value));
        }
        let result = self.push(value, push);
        match &result {
            Ok(_) => self.stats.count_accepted(),
            Err(_) => self.stats.count_refused(),
        }
        self.close_barrier.leave();
        result
    }

    fn push<T>(
        &self,
        value: T,
        push: impl FnOnce(TaskId, T) -> Result<(), T>,
    ) -> Result<TaskId, (Refused, T)> {
        if !self.credits.take() {
            return Err((Refused::Full, value));
        }
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        push(id, value).map(|()| id).map_err(|value| {
            self.credits.give_back();
            (Refused::Full, value)
        })
    }

    /// Hands a finish over and gives its credit back, on the task worker's thread.
    pub(crate) fn deliver(&self, receiver: Receiver<O>, finish: Finish<O>) {
        self.credits.give_back();
        self.stats.count_outcome(&finish.outcome);
        match (receiver, self.on_finish.get()) {
            (Some(receiver), _) => receiver(finish),
            (None, Some(on_finish)) => on_finish(finish),
            (None, None) => {}
        }
    }

    /// Refuses every later dispatch, and waits for one that is under way.
    pub(crate) fn close(&self) {
        self.close_barrier.shut();
    }
}
