//! Task workers: pinned threads that take jobs, run them and send their finishes home.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rtrb::{Consumer, RingBuffer};

use super::park::Source;
use super::ticket::{Home, Ticket, Way};
use super::{
    Envelope, Failure, Homecoming, Origin, PoolConfig, PoolError, Seat, Shared, TaskContext,
    TaskError,
};
use crate::sync::spin_loop;

/// Pause hints between two looks at the queue while spinning.
const PAUSES_PER_LOOK: u32 = 32;
/// Spins in vain, one after another, from which on spinning is only tried now and then.
const MISSES_MAX: u32 = 4;
/// So often.
const TRY_EVERY: u32 = 16;

/// The consumers of an executor's finish rings, one for each task worker.
type Finishes<J, O> = Vec<Consumer<Homecoming<J, O>>>;

struct TaskWorker<J, O, F> {
    index: usize,
    shared: Arc<Shared<J, O>>,
    run: Arc<F>,
    homes: Vec<Home<J, O>>,
    spin: Duration,
}

/// Starts a thread for each seat; returns the rings' other ends, by executor.
pub(super) fn start_all<J, O, F>(
    config: &PoolConfig,
    credits: usize,
    shared: &Arc<Shared<J, O>>,
    run: Arc<F>,
) -> Result<(Vec<JoinHandle<()>>, Vec<Finishes<J, O>>), PoolError>
where
    J: Send + 'static,
    O: Send + 'static,
    F: Fn(&TaskContext, J) -> Result<O, Failure> + Send + Sync + 'static,
{
    let mut finishes: Vec<Finishes<J, O>> = shared.lanes.iter().map(|_| Vec::new()).collect();
    let mut threads = Vec::new();
    for (index, &seat) in config.seats.iter().enumerate() {
        let mut homes = Vec::new();
        for (lane, finishes) in shared.lanes.iter().zip(&mut finishes) {
            let (producer, consumer) = RingBuffer::new(credits);
            homes.push(Home { ring: producer, bell: lane.bell.clone() });
            finishes.push(consumer);
        }
        let spin = config.spin(seat);
        let worker = TaskWorker { index, shared: shared.clone(), run: run.clone(), homes, spin };
        match start(worker, seat) {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                shared.park.close();
                return Err(error);
            }
        }
    }
    Ok((threads, finishes))
}

fn start<J, O, F>(worker: TaskWorker<J, O, F>, seat: Seat) -> Result<JoinHandle<()>, PoolError>
where
    J: Send + 'static,
    O: Send + 'static,
    F: Fn(&TaskContext, J) -> Result<O, Failure> + Send + Sync + 'static,
{
    let task_worker = worker.index;
    let (pinned_tx, pinned) = mpsc::channel();
    let thread = std::thread::Builder::new()
        .name(format!("task-{task_worker}"))
        .spawn(move || {
            let id = core_affinity::CoreId { id: seat.cpu };
            let pinned = core_affinity::set_for_current(id);
            let told = pinned_tx.send(pinned);
            if pinned && told.is_ok() {
                worker.work();
            }
        })
        .map_err(|cause| PoolError::Thread { task_worker, cause })?;
    match pinned.recv() {
        Ok(true) => Ok(thread),
        _ => Err(PoolError::Pin { task_worker, cpu: seat.cpu }),
    }
}

impl<J, O, F> TaskWorker<J, O, F>
where
    F: Fn(&TaskContext, J) -> Result<O, Failure>,
{
    fn work(mut self) {
        let shared = self.shared.clone();
        let (index, spin) = (self.index, self.spin);
        let queue =
            Queue { shared: &shared, index, spin, turn: Cell::new(0), misses: Cell::new(0) };
        while let Some(envelope) = shared.park.next(&queue) {
            self.take(envelope);
        }
    }

    /// Runs a job, unless it was withdrawn or comes too late; it owes one finish either way.
    fn take(&mut self, envelope: Envelope<J, O>) {
        let Envelope { job, id, attempt, dispatched, deadline, origin, control, again } = envelope;
        let start = Instant::now();
        let waited = start.saturating_duration_since(dispatched);
        let (executor, way) = match origin {
            Origin::Lane { executor, slot } => {
                (Some(executor), Way::Home { home: &mut self.homes[executor], slot })
            }
            Origin::Foreign(receiver) => {
                (None, Way::Foreign { foreign: &self.shared.foreign, receiver })
            }
        };
        let task_worker = self.index;
        let ticket = Ticket { way, id, task_worker, waited, attempts: attempt };
        if control.as_ref().is_some_and(|control| !control.begin()) {
            return ticket.finish(Err(TaskError::Cancelled), None, None);
        }
        if deadline.is_some_and(|deadline| deadline <= start) {
            control.inspect(|control| control.end());
            return ticket.finish(Err(TaskError::TimedOut), None, None);
        }
        let context = TaskContext { id, executor, task_worker, waited, attempt, control, deadline };
        let stats = &self.shared.workers[task_worker];
        stats.begin(id, start, waited);
        let (outcome, kept) = call(&*self.run, &context, job, again);
        let ran = start.elapsed();
        stats.end(ran, matches!(outcome, Err(TaskError::Panicked(_))));
        context.control.inspect(|control| control.end());
        ticket.finish(outcome, Some(ran), kept);
    }
}

/// Calls the job; a copy of it comes back where it failed and was to be kept.
fn call<J, O>(
    run: &impl Fn(&TaskContext, J) -> Result<O, Failure>,
    context: &TaskContext,
    job: J,
    again: Option<fn(&J) -> J>,
) -> (Result<O, TaskError>, Option<Box<J>>) {
    let mut kept = None;
    let called = catch_unwind(AssertUnwindSafe(|| {
        kept = again.map(|clone| Box::new(clone(&job)));
        run(context, job)
    }));
    match called {
        Ok(Ok(output)) => (Ok(output), None),
        Ok(Err(failure)) => (Err(failure.into()), kept),
        Err(payload) => (Err(TaskError::Panicked(panic_message(payload))), kept),
    }
}

/// The queues as a worker sees them.
struct Queue<'a, J, O> {
    shared: &'a Shared<J, O>,
    index: usize,
    spin: Duration,
    /// Jobs taken.
    turn: Cell<u32>,
    /// Spins in vain since one that found a job.
    misses: Cell<u32>,
}

impl<J, O> Queue<'_, J, O> {
    /// Spinning pays where jobs come closer together than it lasts. Where they do not it is
    /// wasted time, so that a worker soon stops, and later tries whether that has changed.
    fn may_spin(&self) -> bool {
        let misses = self.misses.get();
        let pays = misses < MISSES_MAX || misses % TRY_EVERY == 0;
        self.misses.set(misses.wrapping_add(1));
        pays && !self.spin.is_zero()
    }
}

impl<J, O> Source for Queue<'_, J, O> {
    type Item = Envelope<J, O>;

    fn pop(&self) -> Option<Envelope<J, O>> {
        self.shared.queues.pop(self.index, &self.turn)
    }

    fn is_empty(&self) -> bool {
        self.shared.queues.is_empty_for(self.index)
    }

    fn has_mail(&self) -> bool {
        self.shared.queues.has_mail(self.index)
    }

    fn spin(&self) -> Option<Envelope<J, O>> {
        if !self.may_spin() {
            return None;
        }
        let start = Instant::now();
        loop {
            for _ in 0..PAUSES_PER_LOOK {
                spin_loop();
            }
            if let Some(envelope) = self.pop() {
                self.misses.set(0);
                return Some(envelope);
            }
            if start.elapsed() >= self.spin {
                return None;
            }
        }
    }
}

/// The text of a panic; its payload is dropped where a panic of its destructor ends.
pub(super) fn panic_message(payload: Box<dyn Any + Send>) -> String {
    let message = match payload.downcast_ref::<&str>() {
        Some(text) => (*text).to_owned(),
        None => payload
            .downcast_ref::<String>()
            .cloned()
            .unwrap_or_else(|| "a payload that is no text".to_owned()),
    };
    crate::executor::drop_quietly(payload);
    message
}
