//! The end of a durable task: its record is settled, and its outcome told to who waits for it.
//!
//! | outcome | record |
//! |---|---|
//! | finished | acked |
//! | cancelled, deadline passed | acked: who dispatched it has decided so |
//! | failed or panicked at its last attempt | a dead letter |
//! | lost | stays, and is delivered at the next start |
//!
//! A record is settled after `on_finish` has returned, so that it, too, is called at least once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use sidecore_runtime::sys::panics::catch;
use sidecore_runtime::sys::stderr;

use crate::durable::oneshot::Sender;
use crate::tasks::callbacks::{FinishContext, TaskResult};
use sidecore_journal::{Journal, Sequence};
use sidecore_runtime::pool::{TaskError, TaskId};

/// Executors beyond so many share the locks of the first ones.
const SHARDS: usize = 64;

/// An outcome on its way to the future that awaits it.
pub(super) type Acknowledged<O> = (FinishContext, TaskResult<O>);

/// The user's callback.
pub(super) type OnDurableFinish<O> = Arc<dyn Fn(&FinishContext, TaskResult<O>) + Send + Sync>;

/// A task in the pool.
pub(super) struct Placed<O> {
    pub(super) sequence: Sequence,
    /// The future of its output, if it has one.
    pub(super) awaiter: Option<Sender<Acknowledged<O>>>,
}

/// The tasks in the pool, by executor: each lock is taken by one executor's thread, and at the end.
/// Bounded by the pool's credits.
pub(super) struct OpenFinish<O> {
    shards: Box<[Shard<O>]>,
}

type Shard<O> = Mutex<HashMap<TaskId, Placed<O>>>;

impl<O> OpenFinish<O> {
    pub(super) fn new() -> Self {
        OpenFinish { shards: (0..SHARDS).map(|_| Shard::default()).collect() }
    }

    pub(super) fn insert(&self, executor: usize, id: TaskId, placed: Placed<O>) {
        self.lock(executor).insert(id, placed);
    }

    pub(super) fn remove(&self, executor: usize, id: TaskId) -> Option<Placed<O>> {
        self.lock(executor).remove(&id)
    }

    fn lock(&self, executor: usize) -> MutexGuard<'_, HashMap<TaskId, Placed<O>>> {
        // Nothing that can panic runs under the lock.
        self.shards[executor % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes outcomes in.
pub(super) struct Finisher<O> {
    pub(super) open: OpenFinish<O>,
    pub(super) on_finish: OnceLock<OnDurableFinish<O>>,
}

impl<O> Finisher<O> {
    /// Tells an outcome, then settles its record.
    pub(super) fn finish(&self, journal: &Journal, finish: &FinishContext, outcome: TaskResult<O>) {
        let placed = finish.executor.and_then(|executor| self.open.remove(executor, finish.id));
        let Some(Placed { sequence, awaiter, .. }) = placed else {
            return self.call(finish, outcome);
        };
        // Also where the callback panics.
        let _settled = Settle { journal, sequence, verdict: Verdict::of(&outcome) };
        let left = match awaiter {
            Some(awaiter) => awaiter.send((*finish, outcome)).err(),
            None => Some((*finish, outcome)),
        };
        if let Some((finish, outcome)) = left {
            self.call(&finish, outcome);
        }
    }

    /// Tells an outcome whose future was dropped after it had come, on the thread of that.
    pub(super) fn tell_instead(&self, (finish, outcome): Acknowledged<O>) {
        if catch(|| self.call(&finish, outcome)).is_none() {
            stderr::line(format_args!("on_finish of a durable pool panicked"));
        }
    }

    fn call(&self, finish: &FinishContext, outcome: TaskResult<O>) {
        if let Some(on_finish) = self.on_finish.get() {
            on_finish(finish, outcome);
        }
    }
}

/// What becomes of a record.
enum Verdict {
    Ack,
    Dead(String),
    Keep,
}

impl Verdict {
    fn of<O>(outcome: &TaskResult<O>) -> Self {
        match outcome {
            Ok(_) | Err(TaskError::Cancelled | TaskError::TimedOut) => Verdict::Ack,
            Err(error @ (TaskError::Failed(_) | TaskError::Panicked(_))) => {
                Verdict::Dead(error.to_string())
            }
            Err(TaskError::Lost) => Verdict::Keep,
        }
    }
}

/// Settles a record when dropped.
struct Settle<'a> {
    journal: &'a Journal,
    sequence: Sequence,
    verdict: Verdict,
}

impl Drop for Settle<'_> {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.verdict, Verdict::Keep) {
            Verdict::Ack => self.journal.ack(self.sequence),
            Verdict::Dead(reason) => self.journal.dead(self.sequence, reason),
            Verdict::Keep => {}
        }
    }
}
