//! An executor's end of a pool: its credits, its ids, its finish rings, its waiters.
//!
//! Everything here is touched by the executor's thread only. Callbacks run with nothing borrowed,
//! so `on_finish` may dispatch, and the future that is woken may too.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use rtrb::Consumer;
use slab::Slab;

use super::tasks::{self, Tasks};
use super::{Envelope, Finish, FinishSource, LaneShared, TaskId};
use crate::executor::drop_quietly;

/// How long a busy executor may leave a job to a sleeping worker, and how many at most.
const WAKE_DELAY: Duration = Duration::from_micros(200);
const OWED_MAX: usize = 64;

/// Names a waiter's slot and its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WaiterKey {
    index: u32,
    generation: u32,
}

/// An executor's end of a pool, before its executor runs.
pub struct Lane<J, O> {
    tasks: Tasks<J, O>,
    executor: usize,
    credits: usize,
    finishes: Vec<Consumer<Finish<O>>>,
}

/// A lane on its executor's thread.
pub(super) struct Installed<J, O> {
    tasks: Tasks<J, O>,
    pub(super) executor: usize,
    /// Tasks that may still be dispatched: taken at dispatch, given back when a finish is popped.
    credits_left: Cell<usize>,
    in_flight: Cell<usize>,
    sequence: Cell<u64>,
    rings: RefCell<Vec<Consumer<Finish<O>>>>,
    waiters: RefCell<Slab<Waiter<O>>>,
    next_generation: Cell<u32>,
    /// Finishes whose future was dropped after they came. At most one a dropped future.
    orphans: RefCell<VecDeque<Finish<O>>>,
    on_finish: Box<dyn Fn(Finish<O>)>,
    /// The executor is busy: a dispatch leaves waking a worker to a later one, or to the loop.
    batching: Cell<bool>,
    /// Tasks since a worker was last woken for one, and when the first of them was dispatched.
    owed: Cell<usize>,
    owed_since: Cell<Instant>,
    owed_max: usize,
}

struct Waiter<O> {
    generation: u32,
    state: WaiterState<O>,
}

enum WaiterState<O> {
    Waiting(Option<Waker>),
    Done(Finish<O>),
    /// The future is gone: the finish goes to `on_finish`.
    Detached,
}

impl<J: Send + 'static, O: Send + 'static> Lane<J, O> {
    pub(super) fn new(
        tasks: Tasks<J, O>,
        executor: usize,
        credits: usize,
        finishes: Vec<Consumer<Finish<O>>>,
    ) -> Self {
        Lane { tasks, executor, credits, finishes }
    }

    /// Installs the lane on the thread of its executor, so that [`Tasks`] work there. Finishes
    /// that no future awaits go to `on_finish`. Drained by the loop once
    /// [`attach`](super::attach)ed; [`uninstall`](super::Tasks::uninstall) undoes it.
    pub fn install(self, on_finish: impl Fn(Finish<O>) + 'static) -> Rc<dyn FinishSource> {
        let room = self.credits.min(self.tasks.shared().queue.capacity());
        let installed = Rc::new(Installed {
            tasks: self.tasks.clone(),
            executor: self.executor,
            credits_left: Cell::new(self.credits),
            in_flight: Cell::new(0),
            sequence: Cell::new(0),
            rings: RefCell::new(self.finishes),
            waiters: RefCell::new(Slab::new()),
            next_generation: Cell::new(0),
            orphans: RefCell::new(VecDeque::new()),
            on_finish: Box::new(on_finish),
            batching: Cell::new(false),
            owed: Cell::new(0),
            owed_since: Cell::new(Instant::now()),
            owed_max: (room / 8).clamp(1, OWED_MAX),
        });
        tasks::install(&self.tasks, installed.clone());
        installed
    }
}

impl<J: Send + 'static, O: Send + 'static> Installed<J, O> {
    fn shared(&self) -> &LaneShared {
        &self.tasks.shared().lanes[self.executor]
    }

    /// Dispatches for `on_finish`; gives the job back without a credit or room.
    pub(super) fn dispatch(&self, job: J, waiter: Option<WaiterKey>) -> Result<TaskId, J> {
        let shared = self.tasks.shared();
        if self.credits_left.get() == 0 {
            self.shared().stats.count_refused();
            return Err(job);
        }
        let executors = shared.lanes.len() as u64;
        let id = self.sequence.get() * executors + self.executor as u64 + 1;
        let executor = self.executor;
        let now = Instant::now();
        let envelope = Envelope { job, id, executor, waiter, dispatched: now };
        if let Err(refused) = shared.queue.push(envelope) {
            self.shared().stats.count_refused();
            return Err(refused.job);
        }
        self.sequence.set(self.sequence.get() + 1);
        self.credits_left.set(self.credits_left.get() - 1);
        self.in_flight.set(self.in_flight.get() + 1);
        self.shared().stats.count_accepted();
        self.owe_wake(now);
        // Who awaits a task has nothing else to do.
        if !self.batching.get() || waiter.is_some() || self.owed.get() >= self.owed_max {
            self.pay_wake();
        }
        Ok(id)
    }

    fn owe_wake(&self, now: Instant) {
        if self.owed.get() == 0 {
            self.owed_since.set(now);
        }
        self.owed.set(self.owed.get() + 1);
    }

    /// One wake is enough for all: the worker that it wakes wakes the next (`park.rs`).
    fn pay_wake(&self) {
        self.owed.set(0);
        self.tasks.shared().park.notify();
    }

    /// Dispatches for a future; the key finds its slot.
    pub(super) fn dispatch_waiting(&self, job: J) -> Result<WaiterKey, J> {
        let generation = self.next_generation.get();
        self.next_generation.set(generation.wrapping_add(1));
        let waiter = Waiter { generation, state: WaiterState::Waiting(None) };
        let index = self.waiters.borrow_mut().insert(waiter);
        let key = WaiterKey { index: index as u32, generation };
        self.dispatch(job, Some(key)).map(|_| key).inspect_err(|_| {
            self.waiters.borrow_mut().remove(index);
        })
    }

    pub(super) fn poll_waiter(
        &self,
        key: WaiterKey,
        context: &mut Context<'_>,
    ) -> Poll<Option<Finish<O>>> {
        let mut waiters = self.waiters.borrow_mut();
        let Some(waiter) = get(&mut waiters, key) else { return Poll::Ready(None) };
        if let WaiterState::Waiting(kept) = &mut waiter.state {
            match kept {
                Some(kept) => kept.clone_from(context.waker()),
                None => *kept = Some(context.waker().clone()),
            }
            return Poll::Pending;
        }
        match waiters.remove(key.index as usize).state {
            WaiterState::Done(finish) => Poll::Ready(Some(finish)),
            WaiterState::Detached | WaiterState::Waiting(_) => Poll::Ready(None),
        }
    }

    /// The future is gone: its finish, come or coming, goes to `on_finish`.
    pub(super) fn detach(&self, key: WaiterKey) {
        let mut waiters = self.waiters.borrow_mut();
        let Some(waiter) = get(&mut waiters, key) else { return };
        match std::mem::replace(&mut waiter.state, WaiterState::Detached) {
            WaiterState::Done(finish) => {
                waiters.remove(key.index as usize);
                self.orphans.borrow_mut().push_back(finish);
            }
            WaiterState::Waiting(_) | WaiterState::Detached => {}
        }
    }

    /// Pops a finish of ring `at` and gives its credit back.
    fn pop(&self, at: usize) -> Option<Finish<O>> {
        let finish = self.rings.borrow_mut()[at].pop().ok()?;
        self.credits_left.set(self.credits_left.get() + 1);
        Some(finish)
    }

    /// To the future that awaits it, else to `on_finish`.
    fn deliver(&self, finish: Finish<O>) {
        let finish = match finish.waiter {
            None => finish,
            Some(key) => match self.hand_over(key, finish) {
                Ok(waker) => {
                    self.count_delivered();
                    if let Some(waker) = waker {
                        waker.wake();
                    }
                    return;
                }
                Err(finish) => finish,
            },
        };
        self.count_delivered();
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| (self.on_finish)(finish))) {
            self.shared().stats.count_callback_panic();
            drop_quietly(payload);
        }
    }

    /// Puts a finish into its waiter's slot; gives it back where the future is gone.
    fn hand_over(&self, key: WaiterKey, finish: Finish<O>) -> Result<Option<Waker>, Finish<O>> {
        let mut waiters = self.waiters.borrow_mut();
        let Some(waiter) = get(&mut waiters, key) else { return Err(finish) };
        match &mut waiter.state {
            WaiterState::Waiting(waker) => {
                let waker = waker.take();
                waiter.state = WaiterState::Done(finish);
                Ok(waker)
            }
            WaiterState::Detached | WaiterState::Done(_) => {
                waiters.remove(key.index as usize);
                Err(finish)
            }
        }
    }

    fn count_delivered(&self) {
        self.in_flight.set(self.in_flight.get() - 1);
        self.shared().stats.count_delivered();
    }

    /// Finishes that were handed to a future which was dropped before it took them.
    fn deliver_orphans(&self) {
        while let Some(finish) = self.next_orphan() {
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| (self.on_finish)(finish))) {
                self.shared().stats.count_callback_panic();
                drop_quietly(payload);
            }
        }
    }

    fn next_orphan(&self) -> Option<Finish<O>> {
        self.orphans.borrow_mut().pop_front()
    }
}

impl<J: Send + 'static, O: Send + 'static> FinishSource for Installed<J, O> {
    fn drain(&self) -> usize {
        while let Some(key) = self.shared().detached.pop() {
            self.detach(key);
        }
        self.deliver_orphans();
        let mut delivered = 0;
        // No more than are in flight now: a callback that dispatches cannot keep the loop here.
        let limit = self.in_flight.get();
        let rings = self.rings.borrow().len();
        for at in 0..rings {
            while delivered < limit {
                let Some(finish) = self.pop(at) else { break };
                self.deliver(finish);
                delivered += 1;
            }
        }
        delivered
    }

    fn has_finishes(&self) -> bool {
        !self.orphans.borrow().is_empty()
            || !self.shared().detached.is_empty()
            || self.rings.borrow().iter().any(|ring| !ring.is_empty())
    }

    fn in_flight(&self) -> usize {
        self.in_flight.get() + self.orphans.borrow().len()
    }

    fn wake_workers(&self, batching: bool) {
        self.batching.set(batching);
        if self.owed.get() > 0 && (!batching || self.owed_since.get().elapsed() >= WAKE_DELAY) {
            self.pay_wake();
        }
    }
}

impl<J, O> Drop for Installed<J, O> {
    fn drop(&mut self) {
        // The tasks that are in the queue are run, whether or not somebody is left to be told.
        self.tasks.shared().park.notify();
    }
}

fn get<O>(waiters: &mut Slab<Waiter<O>>, key: WaiterKey) -> Option<&mut Waiter<O>> {
    waiters.get_mut(key.index as usize).filter(|waiter| waiter.generation == key.generation)
}
