//! Dispatching from threads that are no executors: task workers of another pool, another
//! runtime's threads, plain ones.
//!
//! They share credits of their own, so that they cannot take an executor's. No ring leads back to
//! them: the task worker hands the finish to a receiver where it stands. `pushing` keeps `close`
//! from overtaking a push: both sides write their own flag, then read the other's, sequentially
//! consistent, so that at least one of them sees the other.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use super::stats::ForeignStats;
use super::{Finish, TaskId};

/// Ids of these tasks have this bit, which no executor's sequence reaches. JSON numbers hold it.
const FOREIGN_IDS: TaskId = 1 << 52;

/// Who receives a finish: a receiver of its own, or the pool's `on_finish`.
pub(crate) type Receiver<O> = Option<Box<dyn FnOnce(Finish<O>) + Send>>;

type OnFinish<O> = Arc<dyn Fn(Finish<O>) + Send + Sync>;

/// The credits, ids and counters of foreign threads.
pub(crate) struct Foreign<O> {
    credits_left: AtomicUsize,
    next_id: AtomicU64,
    pushing: AtomicUsize,
    closed: AtomicBool,
    on_finish: OnceLock<OnFinish<O>>,
    pub(super) stats: ForeignStats,
}

/// Why a foreign dispatch is refused.
pub(super) enum Refused {
    Full,
    Closed,
}

impl<O> Foreign<O> {
    pub(super) fn new(credits: usize, id_base: TaskId) -> Self {
        Foreign {
            credits_left: AtomicUsize::new(credits),
            next_id: AtomicU64::new(FOREIGN_IDS + id_base + 1),
            pushing: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            on_finish: OnceLock::new(),
            stats: ForeignStats::default(),
        }
    }

    pub(super) fn set_on_finish(&self, on_finish: OnFinish<O>) {
        let _ = self.on_finish.set(on_finish);
    }

    /// Takes a credit and pushes by `push`, which gives the value back where there is no room.
    pub(super) fn dispatch<T>(
        &self,
        value: T,
        push: impl FnOnce(TaskId, T) -> Result<(), T>,
    ) -> Result<TaskId, (Refused, T)> {
        self.pushing.fetch_add(1, Ordering::SeqCst);
        let result = self.push(value, push);
        self.pushing.fetch_sub(1, Ordering::SeqCst);
        match &result {
            Ok(_) => self.stats.count_accepted(),
            Err(_) => self.stats.count_refused(),
        }
        result
    }

    fn push<T>(
        &self,
        value: T,
        push: impl FnOnce(TaskId, T) -> Result<(), T>,
    ) -> Result<TaskId, (Refused, T)> {
        if self.closed.load(Ordering::SeqCst) {
            return Err((Refused::Closed, value));
        }
        let take = |left: usize| left.checked_sub(1);
        if self.credits_left.fetch_update(Ordering::AcqRel, Ordering::Relaxed, take).is_err() {
            return Err((Refused::Full, value));
        }
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        push(id, value).map(|()| id).map_err(|value| {
            self.credits_left.fetch_add(1, Ordering::AcqRel);
            (Refused::Full, value)
        })
    }

    /// Hands a finish over and gives its credit back, on the task worker's thread.
    pub(super) fn deliver(&self, receiver: Receiver<O>, finish: Finish<O>) {
        self.credits_left.fetch_add(1, Ordering::AcqRel);
        self.stats.count_outcome(&finish.outcome);
        match (receiver, self.on_finish.get()) {
            (Some(receiver), _) => receiver(finish),
            (None, Some(on_finish)) => on_finish(finish),
            (None, None) => {}
        }
    }

    /// Refuses every later dispatch, and waits for one that is under way.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        while self.pushing.load(Ordering::SeqCst) > 0 {
            std::thread::yield_now();
        }
    }
}
