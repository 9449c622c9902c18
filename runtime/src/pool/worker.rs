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
use super::ticket::{Home, Ticket};
use super::{Envelope, Finish, PoolConfig, PoolError, Seat, Shared, TaskContext, TaskError};
use crate::sync::spin_loop;

/// Pause hints between two looks at the queue while spinning.
const PAUSES_PER_LOOK: u32 = 32;
/// Spins in vain, one after another, from which on spinning is only tried now and then.
const MISSES_MAX: u32 = 4;
/// So often.
const TRY_EVERY: u32 = 16;

/// The consumers of an executor's finish rings, one for each task worker.
type Finishes<O> = Vec<Consumer<Finish<O>>>;

struct TaskWorker<J, O, F> {
    index: usize,
    shared: Arc<Shared<J>>,
    run: Arc<F>,
    homes: Vec<Home<O>>,
    spin: Duration,
}

/// Starts a thread for each seat; returns the rings' other ends, by executor.
pub(super) fn start_all<J, O, F>(
    config: &PoolConfig,
    credits: usize,
    shared: &Arc<Shared<J>>,
    run: Arc<F>,
) -> Result<(Vec<JoinHandle<()>>, Vec<Finishes<O>>), PoolError>
where
    J: Send + 'static,
    O: Send + 'static,
    F: Fn(&TaskContext, J) -> O + Send + Sync + 'static,
{
    let mut finishes: Vec<Finishes<O>> = shared.lanes.iter().map(|_| Vec::new()).collect();
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
    F: Fn(&TaskContext, J) -> O + Send + Sync + 'static,
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
    F: Fn(&TaskContext, J) -> O,
{
    fn work(mut self) {
        let shared = self.shared.clone();
        let queue = Queue { shared: &shared, spin: self.spin, misses: Cell::new(0) };
        while let Some(envelope) = shared.park.next(&queue) {
            self.run(envelope);
        }
    }

    fn run(&mut self, envelope: Envelope<J>) {
        let Envelope { job, id, executor, waiter, dispatched } = envelope;
        let stats = &self.shared.workers[self.index];
        let start = Instant::now();
        let waited = start.saturating_duration_since(dispatched);
        let context = TaskContext { id, executor, task_worker: self.index, waited };
        let ticket = Ticket {
            home: &mut self.homes[executor],
            id,
            waiter,
            task_worker: self.index,
            waited,
            finished: false,
        };
        stats.begin(id);
        let run = &*self.run;
        let outcome = catch_unwind(AssertUnwindSafe(|| run(&context, job)))
            .map_err(|payload| TaskError::Panicked(panic_message(payload)));
        stats.end(outcome.is_err());
        ticket.finish(outcome, start.elapsed());
    }
}

/// The queue as a worker sees it.
struct Queue<'a, J> {
    shared: &'a Shared<J>,
    spin: Duration,
    /// Spins in vain since one that found a job.
    misses: Cell<u32>,
}

impl<J> Queue<'_, J> {
    /// Spinning pays where jobs come closer together than it lasts. Where they do not it is
    /// wasted time, so that a worker soon stops, and later tries whether that has changed.
    fn may_spin(&self) -> bool {
        let misses = self.misses.get();
        let pays = misses < MISSES_MAX || misses % TRY_EVERY == 0;
        self.misses.set(misses.wrapping_add(1));
        pays && !self.spin.is_zero()
    }
}

impl<J> Source for Queue<'_, J> {
    type Item = Envelope<J>;

    fn pop(&self) -> Option<Envelope<J>> {
        self.shared.queue.pop()
    }

    fn is_empty(&self) -> bool {
        self.shared.queue.is_empty()
    }

    fn spin(&self) -> Option<Envelope<J>> {
        if !self.may_spin() {
            return None;
        }
        let start = Instant::now();
        loop {
            for _ in 0..PAUSES_PER_LOOK {
                spin_loop();
            }
            if let Some(envelope) = self.shared.queue.pop() {
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
fn panic_message(payload: Box<dyn Any + Send>) -> String {
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
