//! Durable pools: jobs survive the process, and are run at least once.
//!
//! ```text
//! dispatch ─► journal, fsync ─► in its turn ─► pool ─► on_task ─► on_finish ─► ack
//!                  │               ▲                      │           └─ failed for good ─► dead
//!                  └─ at a start, ─┘                      └─ will be tried again ─► retry
//!                     what is pending
//! ```
//!
//! ```no_run
//! use sidecore::durable::{Durable, DurableLimits};
//! use sidecore::{Config, Server, StatusCode, service_fn};
//! use sidecore::tasks::TaskPool;
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let journal = Durable::open("data".as_ref(), "mails", DurableLimits::default())?;
//!     let mails = TaskPool::named("mails")
//!         .on_task(|task, to: String| println!("attempt {} of a mail to {to}", task.attempt))
//!         .on_finish(|finish, outcome| println!("{}: {outcome:?}", finish.id))
//!         .durable(&journal);
//!     let pool = mails.clone();
//!     Server::new(Config::load()?).with_pool(&mails).serve(move |executor| {
//!         let tasks = pool.tasks(executor);
//!         service_fn(move |_request| {
//!             let dispatched = tasks.dispatch("ada@example.org".to_owned());
//!             async move {
//!                 match dispatched.await {
//!                     Ok(_id) => StatusCode::ACCEPTED,
//!                     Err(_refused) => StatusCode::SERVICE_UNAVAILABLE,
//!                 }
//!             }
//!         })
//!     })?;
//!     println!("{} mails are kept for the next start", mails.stats().kept);
//!     Ok(())
//! }
//! ```
//!
//! Any other pool is durable if its jobs are [`Entry`]s and its callbacks are wrapped by
//! [`Durable::on_task`] and [`Durable::on_finish`].
//!
//! **At least once.** A job whose dispatch was answered runs, in this life of the process or a later
//! one, until an attempt is over and its finish was delivered. An ack is written some milliseconds
//! after that, and not at all if the process is killed before: so a job may run again that has been
//! run, and must bear that.
//!
//! **Attempts** are counted over restarts: [`TaskContext::attempt`](crate::TaskContext::attempt) and
//! [`FinishContext::attempts`](crate::FinishContext::attempts) go on from where they were, and
//! retries are made until all are used up, each not before its pause is over. An attempt that a kill
//! of the process cut off counts too; what only waited at that time is charged nothing. A redelivered
//! job is run once more whatever its retries say; one that brings the process down each time is given
//! up after [`crashes_max`](DurableLimits::crashes_max).
//!
//! **The end.** The executors drain, then the pool closes, then its journal ([`Durable::close`]). What
//! was dispatched and not run by the drain's time, or never found room, stays in the journal. An
//! attempt that is running at that time counts, as it will be cut off by the end of the process;
//! what waits is not begun after its executor has ended.
//!
//! **The cost** of a dispatch is one fsync, shared by all that arrive while the one before it is
//! under way, and some microseconds for JSON, a local task and two locks that are not contended.

mod attempt;
mod dispatch;
mod ended;
mod entry;
mod error;
mod finish;
mod intake;
mod oneshot;
mod plan;
mod pool;
mod redelivery;
mod stats;
mod wait;

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use sidecore_runtime::sys::panics::Quiet;

pub use crate::durable::dispatch::Dispatching;
pub use crate::durable::dispatch::DurableDispatch;
pub use crate::durable::dispatch::DurableRun;
pub use crate::durable::dispatch::DurableTasks;
pub use crate::durable::entry::Entry;
pub use crate::durable::error::DurableError;
pub use crate::durable::error::DurableRunError;
pub use crate::durable::pool::DurablePool;
pub use crate::durable::stats::DurableStats;
/// What the jobs are kept in.
pub use sidecore_journal as journal;

use crate::durable::attempt::Attempt;
use crate::durable::ended::{EndedExecutors, note_the_end};
use crate::durable::finish::{Finisher, OpenFinish};
use crate::durable::intake::{Intake, take_offers};
use crate::durable::redelivery::{Backlog, redeliver};
use crate::lifecycle::executor::Executor;
use crate::tasks::callbacks::{FinishContext, TaskResult};
use sidecore_journal::{DeadLetter, Journal, JournalError, JournalLimits, Recovery, Sequence};
use sidecore_runtime::pool::{Failure, TaskContext, Tasks};

/// What a durable pool's jobs must be. Implemented for all that can be.
pub trait DurableJob: Serialize + DeserializeOwned + Clone + Send + Unpin + 'static {}

impl<J: Serialize + DeserializeOwned + Clone + Send + Unpin + 'static> DurableJob for J {}

/// The bounds of a durable pool, beside those of its pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurableLimits {
    /// What the journal holds. Its `pending_max` bounds all jobs that are not over, wherever they
    /// wait; what an open finds is in memory until it is redelivered.
    pub journal: JournalLimits,
    /// Attempts beyond a job's retries after which it is not redelivered any more, but a dead
    /// letter: so often may the process be killed while it runs.
    pub crashes_max: u32,
}

impl Default for DurableLimits {
    fn default() -> Self {
        DurableLimits { journal: JournalLimits::default(), crashes_max: 100 }
    }
}

/// What makes a pool durable: its journal, and what was found in it. Cheap to clone.
pub struct Durable<J, O> {
    shared: Arc<Shared<O>>,
    intake: Arc<Intake<J, O>>,
}

/// What handles, callbacks and the redelivery share.
pub(crate) struct Shared<O> {
    journal: Journal,
    finisher: Finisher<O>,
    crashes_max: u32,
    recovery: Recovery,
    ended: Arc<EndedExecutors>,
    /// How the journal was closed.
    closed: OnceLock<Result<(), JournalError>>,
    /// Until executor 0 takes it.
    left: Mutex<Option<Backlog>>,
    redelivered: AtomicU64,
    given_up: AtomicU64,
    backlog: AtomicU64,
}

impl<O> Shared<O> {
    fn stats(&self) -> DurableStats {
        let journal = self.journal.stats();
        DurableStats {
            appended: journal.appended,
            redelivered: self.redelivered.load(Ordering::Relaxed),
            given_up: self.given_up.load(Ordering::Relaxed),
            backlog: self.backlog.load(Ordering::Relaxed),
            acked: journal.acked,
            dead: journal.dead,
            kept: journal.pending,
            journal,
        }
    }
}

impl<J: DurableJob, O: Send + 'static> Durable<J, O> {
    /// Opens or creates the journal `name` in `directory`; what is pending in it will be redelivered.
    ///
    /// Damage is reported on standard error, in one line, and by [`recovery`](Self::recovery).
    ///
    /// # Errors
    /// [`JournalError`]: the name is none, somebody has the journal open, or its files cannot be read
    /// or made.
    pub fn open(directory: &Path, name: &str, limits: DurableLimits) -> Result<Self, JournalError> {
        let (journal, mut recovery) = Journal::open(directory, name, limits.journal)?;
        let backlog = Backlog::new(std::mem::take(&mut recovery.pending), Instant::now());
        let shared = Arc::new(Shared {
            journal,
            finisher: Finisher { open: OpenFinish::new(), on_finish: OnceLock::new() },
            crashes_max: limits.crashes_max,
            recovery,
            ended: Arc::default(),
            closed: OnceLock::new(),
            backlog: AtomicU64::new(backlog.len() as u64),
            left: Mutex::new(Some(backlog)),
            redelivered: AtomicU64::new(0),
            given_up: AtomicU64::new(0),
        });
        Ok(Durable { shared, intake: Arc::new(Intake::new()) })
    }

    /// What the open found. Its `pending` is empty: those records are the
    /// [`backlog`](DurableStats::backlog).
    pub fn recovery(&self) -> &Recovery {
        &self.shared.recovery
    }

    /// The pool's `on_task`, of the user's.
    pub fn on_task(
        &self,
        on_task: impl Fn(&TaskContext, J) -> Result<O, Failure> + Send + Sync + 'static,
    ) -> impl Fn(&TaskContext, Entry<J>) -> Result<O, Failure> + Send + Sync + 'static {
        let durable = self.clone();
        move |task, entry| durable.attempt(task, entry, &on_task)
    }

    /// Makes one attempt of an entry's job by `run`: what [`on_task`](Self::on_task) does, for a
    /// task worker that runs jobs by something of its own.
    ///
    /// # Errors
    /// What the job failed with, or that it stopped.
    pub fn attempt(
        &self,
        task: &TaskContext,
        entry: Entry<J>,
        run: impl FnOnce(&TaskContext, J) -> Result<O, Failure>,
    ) -> Result<O, Failure> {
        if task.executor.is_some_and(|executor| self.shared.ended.contains(executor)) {
            // It stays in the journal; nobody receives this.
            return Err(Failure::cancelled());
        }
        let Entry { job, sequence, retry } = entry;
        let attempt = Attempt::begin(&self.shared.journal, task, sequence, retry);
        let result = run(task, job);
        attempt.end(&result);
        result
    }

    /// The pool's `on_finish`, of the user's. A pool whose `on_finish` is another settles nothing:
    /// all its jobs are redelivered at each start.
    pub fn on_finish(
        &self,
        on_finish: impl Fn(&FinishContext, TaskResult<O>) + Send + Sync + 'static,
    ) -> impl Fn(&FinishContext, TaskResult<O>) + Send + Sync + 'static {
        let shared = self.shared.clone();
        // There is one pool to a journal, so one callback; a second one would change nothing.
        let on_finish = Quiet::new(on_finish);
        let told = move |finish: &FinishContext, outcome| on_finish(finish, outcome);
        let _ = shared.finisher.on_finish.set(Arc::new(told));
        move |finish, outcome| shared.finisher.finish(&shared.journal, finish, outcome)
    }

    /// The handle that dispatches from this executor's handlers; on executor 0 it begins the
    /// redelivery, and takes what other threads dispatch. Call it on each executor, where the server's
    /// application is made, with the tasks of the pool whose callbacks were wrapped.
    pub fn tasks<A: Send + 'static, B: Send + 'static>(
        &self,
        executor: &Executor<A, B>,
        tasks: Tasks<Entry<J>, O>,
    ) -> DurableTasks<J, O> {
        note_the_end(self.shared.ended.clone(), executor.index());
        let (shared, intake) = (self.shared.clone(), self.intake.clone());
        let handle = DurableTasks { shared: shared.clone(), tasks: tasks.clone(), intake };
        if executor.index() == 0 {
            let left = shared.left.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(backlog) = left {
                redeliver(shared, tasks, executor.shutdown(), backlog);
                take_offers(handle.clone());
            }
        }
        handle
    }

    /// The counters.
    pub fn stats(&self) -> DurableStats {
        self.shared.stats()
    }

    /// Reads dead letters: see [`Journal::dead_letters`].
    pub fn dead_letters(
        &self,
        after: Sequence,
        max: usize,
        done: impl FnOnce(Result<Vec<DeadLetter>, JournalError>) + Send + 'static,
    ) {
        self.shared.journal.dead_letters(after, max, done);
    }

    /// Closes the journal, after the server has ended: all that was told is made durable. The counters of the end say how many records are
    /// [`kept`](DurableStats::kept) for the next start. A second call has the result of the first.
    ///
    /// After `deadline` it returns an error while the journal's thread goes on.
    ///
    /// # Errors
    /// [`JournalError`], where it does not close in time, or a write has failed.
    pub fn close(&self, deadline: Duration) -> Result<DurableStats, JournalError> {
        let closed = self.shared.closed.get_or_init(|| self.shared.journal.close(deadline));
        closed.clone().map(|()| self.stats())
    }
}

impl<J, O> Clone for Durable<J, O> {
    fn clone(&self) -> Self {
        Durable { shared: self.shared.clone(), intake: self.intake.clone() }
    }
}

impl<J, O> fmt::Debug for Durable<J, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Durable")
            .field("recovery", &self.shared.recovery)
            .field("stats", &self.shared.stats())
            .finish_non_exhaustive()
    }
}
