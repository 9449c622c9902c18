//! Task workers: they take jobs, run them and send their finishes home. Their threads: `threads.rs`.

pub(crate) mod threads;
pub(crate) mod watchdog;

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::pool::config::{PoolConfig, Seat};
use crate::pool::finish_guard::{self, FinishGuard, FinishRoute, FinishSender, Finishes};
use crate::pool::queue::PriorityTurn;
use crate::pool::shared::PoolShared;
use crate::pool::task::control::Control;
use crate::pool::task::error::{Failure, TaskError};
use crate::pool::task::{Envelope, Origin, TaskContext};
use crate::pool::wake::park::Source;
use crate::sys::panics::{caught, drop_quietly};
use crate::sys::sync::spin_loop;

/// Pause hints between two looks at the queue while spinning. With 32 a round trip took 1.0 µs,
/// with 8 it takes 0.7.
const PAUSES_PER_LOOK: u32 = 8;
/// Spins in vain, one after another, from which on spinning is only tried now and then.
const MISSES_MAX: u32 = 4;
/// So often.
const TRY_EVERY: u32 = 16;

/// A task worker, apart from its thread and from what that runs jobs with: see `threads.rs`.
pub(crate) struct TaskWorker<J, O> {
    pub(crate) index: usize,
    pub(crate) seat: Seat,
    shared: Arc<PoolShared<J, O>>,
    senders: Vec<FinishSender<J, O>>,
    spin: Option<Duration>,
    /// Jobs it runs before it is made anew.
    recycle_after: Option<u64>,
    /// Jobs since it was made.
    jobs: u64,
    /// The pool's generation when it was made.
    generation: u32,
    turn: PriorityTurn<J, O>,
}

/// Why a worker left its thread.
pub(crate) enum Left {
    /// The pool is closed and its queue empty.
    Closed,
    /// It is to be made anew.
    Renew,
    /// It is a spare that is not needed any more.
    Retired,
}

/// What a worker finds when it looks for work.
enum Step<J, O> {
    Job(Envelope<J, O>),
    Renew,
    Retire,
}

/// Makes the workers of a pool, spares last, and the other ends of their rings, by executor.
pub(crate) fn make_all<J, O>(
    config: &PoolConfig,
    credits: usize,
    shared: &Arc<PoolShared<J, O>>,
) -> (Vec<TaskWorker<J, O>>, Vec<Finishes<J, O>>) {
    let (senders, finishes) = finish_guard::rings(shared, credits);
    let worker = |(index, senders): (usize, _)| TaskWorker {
        index,
        seat: config.seats[index % config.seats.len()],
        shared: shared.clone(),
        senders,
        spin: config.spin,
        recycle_after: config.recycle_after,
        jobs: 0,
        generation: 0,
        turn: PriorityTurn::default(),
    };
    (senders.into_iter().enumerate().map(worker).collect(), finishes)
}

impl<J, O> TaskWorker<J, O> {
    /// Runs jobs on this thread until there is a reason to leave it. No job is left half done.
    pub(crate) fn work<R>(&mut self, run: &mut R) -> Left
    where
        R: FnMut(&TaskContext, J) -> Result<O, Failure>,
    {
        let shared = self.shared.clone();
        let misses = Cell::new(0);
        loop {
            let queue = Queue { shared: &shared, worker: self, misses: &misses };
            match shared.park.next(&queue) {
                None => return Left::Closed,
                Some(Step::Renew) => return Left::Renew,
                Some(Step::Retire) => {
                    shared.workers[self.index].set_working(false);
                    return Left::Retired;
                }
                Some(Step::Job(envelope)) => self.take(envelope, run),
            }
            self.jobs += 1;
            if self.recycle_after.is_some_and(|most| self.jobs >= most) {
                return Left::Renew;
            }
        }
    }

    /// It was made anew, not before `generation` was read.
    pub(crate) fn renewed(&mut self, generation: u32) {
        self.jobs = 0;
        self.generation = generation;
    }

    /// Runs a job, unless it was withdrawn or comes too late; it owes one finish either way.
    fn take<R>(&mut self, envelope: Envelope<J, O>, run: &mut R)
    where
        R: FnMut(&TaskContext, J) -> Result<O, Failure>,
    {
        let Envelope { job, id, attempt, dispatched, deadline, origin, control, again } = envelope;
        let start = Instant::now();
        let waited = start.saturating_duration_since(dispatched);
        let (executor, way) = match origin {
            Origin::Lane { executor, slot } => {
                (Some(executor), FinishRoute::Ring { sender: &mut self.senders[executor], slot })
            }
            Origin::External(receiver) => {
                (None, FinishRoute::External { external: &self.shared.external, receiver })
            }
        };
        let task_worker = self.index;
        let guard = FinishGuard { way, id, task_worker, waited, attempts: attempt };
        let early = match control.as_deref().filter(|control| !control.begin()) {
            Some(control) => Some(withdrawn_as(control)),
            None if deadline.is_some_and(|deadline| deadline <= start) => {
                control.as_ref().inspect(|control| control.end(false));
                Some(TaskError::TimedOut)
            }
            None => None,
        };
        if let Some(error) = early {
            drop_quietly(job);
            return guard.finish(Err(error), None, None);
        }
        let context = TaskContext { id, executor, task_worker, waited, attempt, control, deadline };
        let stats = &self.shared.workers[task_worker];
        let kind = self.shared.kinds.of(&job);
        stats.begin(id, kind, start, waited);
        let (outcome, kept) = call(run, &context, job, again);
        let ran = start.elapsed();
        stats.end(kind, ran, matches!(outcome, Err(TaskError::Panicked(_))));
        let is_late = deadline.is_some_and(|deadline| deadline <= start + ran);
        let outcome = within_time(outcome, is_late, context.control.as_deref());
        let may_be_retried = retries(&outcome) && kept.is_some();
        context.control.inspect(|control| control.end(may_be_retried));
        guard.finish(outcome, Some(ran), kept);
    }
}

/// The outcome of a task that was withdrawn before it could begin.
pub(crate) fn withdrawn_as(control: &Control) -> TaskError {
    if control.is_cancelled() { TaskError::Cancelled } else { TaskError::TimedOut }
}

/// Calls the job; a copy of it comes back where it failed and was to be kept.
fn call<J, O>(
    run: &mut impl FnMut(&TaskContext, J) -> Result<O, Failure>,
    context: &TaskContext,
    job: J,
    again: Option<fn(&J) -> J>,
) -> (Result<O, TaskError>, Option<Box<J>>) {
    let mut kept = None;
    let called = caught(|| {
        kept = again.map(|clone| Box::new(clone(&job)));
        __sidecore_job(run, context, job)
    });
    match called {
        Ok(Ok(output)) => {
            drop_quietly(kept);
            (Ok(output), None)
        }
        Ok(Err(failure)) => (Err(failure.into()), kept),
        Err(message) => (Err(TaskError::Panicked(message)), kept),
    }
}

/// What counts of a job that ended when its deadline had passed: it is late, whatever it returned,
/// and so is one that stopped because of that. One that a handle had cancelled is cancelled.
pub(crate) fn within_time<O>(
    outcome: Result<O, TaskError>,
    is_late: bool,
    control: Option<&Control>,
) -> Result<O, TaskError> {
    let was_cancelled = || control.is_some_and(Control::is_cancelled);
    match outcome {
        Err(TaskError::Cancelled) if was_cancelled() => Err(TaskError::Cancelled),
        outcome if is_late => {
            drop_quietly(outcome);
            Err(TaskError::TimedOut)
        }
        outcome => outcome,
    }
}

/// Whether the outcome is of those after which another attempt may be made.
pub(crate) fn retries<O>(outcome: &Result<O, TaskError>) -> bool {
    outcome.as_ref().is_err_and(TaskError::may_be_retried)
}

/// Calls the job. The report of a stuck job's stack ends here (`stack/unwind.rs`), for which there
/// has to be a frame, and a name that no other function has: line tables leave its module out.
#[cfg_attr(feature = "stacks", inline(never))]
fn __sidecore_job<J, O>(
    run: &mut impl FnMut(&TaskContext, J) -> Result<O, Failure>,
    context: &TaskContext,
    job: J,
) -> Result<O, Failure> {
    let output = run(context, job);
    // Something is left to do, so that the call above is no jump.
    #[cfg(feature = "stacks")]
    std::hint::black_box(());
    output
}

/// The queues as a worker sees them.
struct Queue<'a, J, O> {
    shared: &'a PoolShared<J, O>,
    worker: &'a TaskWorker<J, O>,
    /// Spins in vain since one that found a job.
    misses: &'a Cell<u32>,
}

impl<J, O> Queue<'_, J, O> {
    /// What this worker is asked to do besides jobs.
    fn asked(&self) -> Option<Step<J, O>> {
        if self.shared.generation.current() != self.worker.generation {
            return Some(Step::Renew);
        }
        let retires = self.shared.workers[self.worker.index].is_retiring();
        (retires && !self.worker.turn.holds_one()).then_some(Step::Retire)
    }

    fn spin_time(&self) -> Duration {
        PoolConfig::spin(self.worker.spin, self.worker.seat)
    }

    /// Spinning pays where jobs come closer together than it lasts. Where they do not it is
    /// wasted time, so that a worker soon stops, and later tries whether that has changed.
    fn may_spin(&self) -> bool {
        let misses = self.misses.get();
        let pays = misses < MISSES_MAX || misses % TRY_EVERY == 0;
        self.misses.set(misses.wrapping_add(1));
        pays && !self.spin_time().is_zero()
    }
}

impl<J, O> Source for Queue<'_, J, O> {
    type Item = Step<J, O>;

    fn pop(&self) -> Option<Step<J, O>> {
        self.asked().or_else(|| {
            let TaskWorker { index, turn, .. } = self.worker;
            let wake = || self.shared.park.notify();
            self.shared.queues.pop(*index, turn, wake).map(Step::Job)
        })
    }

    fn is_empty(&self) -> bool {
        self.asked().is_none() && self.shared.queues.is_empty_for(self.worker.index)
    }

    fn has_mail(&self) -> bool {
        self.asked().is_some() || self.shared.queues.has_mail(self.worker.index)
    }

    fn spin(&self) -> Option<Step<J, O>> {
        if !self.may_spin() {
            return None;
        }
        let (start, limit) = (Instant::now(), self.spin_time());
        loop {
            for _ in 0..PAUSES_PER_LOOK {
                spin_loop();
            }
            if let Some(step) = self.pop() {
                self.misses.set(0);
                return Some(step);
            }
            if start.elapsed() >= limit {
                return None;
            }
        }
    }
}
