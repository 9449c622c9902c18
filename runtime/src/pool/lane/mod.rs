//! An executor's end of a pool: its credits, its ids, its slots. How outcomes come home stands in
//! `completion_inbox.rs`.
//!
//! Everything here is touched by the executor's thread only. Callbacks run with nothing borrowed,
//! so `on_finish` may dispatch, and the future that is woken may too.

pub(crate) mod completion_inbox;
pub(crate) mod delay_queue;
pub(crate) mod installed;
pub(crate) mod slots;
pub(crate) mod wait_queue;
pub(crate) mod waiting;
pub(crate) mod wake_batch;

use crate::pool::config::LaneBounds;
use crate::pool::shared::PoolShared;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use rtrb::Consumer;

use crate::executor::Inbox;
use crate::pool::lane::delay_queue::{DelayQueue, Due};
use crate::pool::lane::slots::{Sink, Slot, Slots, Whereabouts};
use crate::pool::lane::wait_queue::WaitQueue;
use crate::pool::lane::wake_batch::WakeBatch;
use crate::pool::shared::LaneShared;
use crate::pool::task::control::Control;
use crate::pool::task::error::TaskError;
use crate::pool::task::options::{Options, Priority};
use crate::pool::task::{Envelope, Finish, FinishMessage, Origin, SlotKey, TaskId};
use crate::sys::instant::saturating_add;
use crate::sys::panics::drop_quietly;

/// A job whose last attempt has failed, as the pool's dead-letter callback receives it.
#[derive(Debug)]
pub struct DeadLetter<J> {
    /// The task's id.
    pub id: TaskId,
    /// The job.
    pub job: J,
    /// Attempts that were made.
    pub attempts: u32,
    /// How the last one ended.
    pub error: TaskError,
}

type OnDead<J> = Box<dyn Fn(DeadLetter<J>)>;

/// An executor's end of a pool, before its executor runs.
pub struct Lane<J, O> {
    pool: Arc<PoolShared<J, O>>,
    executor: usize,
    credits: usize,
    sleeping_max: usize,
    finishes: Vec<Consumer<FinishMessage<J, O>>>,
    on_dead: Option<Box<dyn Fn(DeadLetter<J>) + Send>>,
}

/// A lane on its executor's thread.
pub(crate) struct Installed<J, O> {
    pub(crate) pool: Arc<PoolShared<J, O>>,
    pub(crate) executor: usize,
    /// Jobs that may still be put into the queue. One is taken for each attempt as it is put there,
    /// and given back when its finish is popped.
    pub(crate) credits_left: Cell<usize>,
    pub(crate) credits: usize,
    /// Tasks whose outcome was not delivered.
    pub(crate) in_flight: Cell<usize>,
    sequence: Cell<u64>,
    pub(crate) rings: RefCell<Vec<Consumer<FinishMessage<J, O>>>>,
    pub(crate) slots: RefCell<Slots<J, O>>,
    pub(crate) delay_queue: RefCell<DelayQueue>,
    /// Finishes whose future was dropped after they came. At most one a dropped future.
    pub(crate) orphans: RefCell<VecDeque<Finish<O>>>,
    /// Who waits for a credit.
    pub(crate) wait_queue: RefCell<WaitQueue>,
    /// Of which priorities a place in the queue is kept for them.
    pub(crate) kept_room: Cell<[bool; 3]>,
    /// Jobs that hold no credit: they wait for their time, for the end of a pause, or in line.
    pub(crate) sleeping: Cell<usize>,
    pub(crate) sleeping_max: usize,
    /// An entry of the delay queue will have the line looked at again.
    pub(crate) looks_again: Cell<bool>,
    /// When the drain ends, once it has begun: what is due later is not waited for.
    pub(crate) drain_end: Cell<Option<Instant>>,
    pub(crate) on_finish: Box<dyn Fn(Finish<O>)>,
    pub(crate) on_dead: Option<OnDead<J>>,
    /// The wake that is left to a later dispatch, or to the loop, where the executor is busy.
    pub(crate) wake_batch: WakeBatch,
}

/// What a dispatch with a slot comes to.
pub(crate) type Dispatched = (TaskId, SlotKey, Option<Arc<Control>>);

/// A job with all that its dispatch says of it.
pub(crate) struct Order<J, O> {
    pub(crate) job: J,
    pub(crate) options: Options,
    pub(crate) sink: Sink<O>,
    pub(crate) again: Option<fn(&J) -> J>,
    /// Whether a handle may cancel it.
    pub(crate) controlled: bool,
}

impl<J: Send + 'static, O: Send + 'static> Lane<J, O> {
    pub(crate) fn new(
        pool: Arc<PoolShared<J, O>>,
        executor: usize,
        LaneBounds { credits, sleeping_max }: LaneBounds,
        finishes: Vec<Consumer<FinishMessage<J, O>>>,
    ) -> Self {
        Lane { pool, executor, credits, sleeping_max, finishes, on_dead: None }
    }

    /// Receives the jobs whose last attempt has failed, on this executor, before their outcome is
    /// delivered.
    pub fn on_dead_letter(mut self, on_dead: impl Fn(DeadLetter<J>) + Send + 'static) -> Self {
        self.on_dead = Some(Box::new(on_dead));
        self
    }

    /// Installs the lane on the thread of its executor, so that [`Tasks`](crate::pool::Tasks) work there. Finishes
    /// that no future awaits go to `on_finish`. Drained by the loop once it
    /// is [added](crate::executor::add_inbox); [`uninstall`](crate::pool::Tasks::uninstall) undoes it.
    pub fn install(self, on_finish: impl Fn(Finish<O>) + 'static) -> Rc<dyn Inbox> {
        let room = self.credits.min(self.pool.queues.depth());
        let installed = Rc::new(Installed {
            pool: self.pool.clone(),
            executor: self.executor,
            credits_left: Cell::new(self.credits),
            credits: self.credits,
            in_flight: Cell::new(0),
            sequence: Cell::new(0),
            rings: RefCell::new(self.finishes),
            slots: RefCell::new(Slots::new()),
            delay_queue: RefCell::default(),
            orphans: RefCell::default(),
            wait_queue: RefCell::default(),
            kept_room: Cell::default(),
            sleeping: Cell::new(0),
            sleeping_max: self.sleeping_max,
            looks_again: Cell::new(false),
            drain_end: Cell::new(None),
            on_finish: Box::new(on_finish),
            on_dead: self.on_dead.map(|on_dead| -> OnDead<J> { on_dead }),
            wake_batch: WakeBatch::new(room),
        });
        installed::install(&self.pool, installed.clone());
        installed
    }
}

impl<J: Send + 'static, O: Send + 'static> Installed<J, O> {
    pub(crate) fn outside(&self) -> &Arc<LaneShared> {
        &self.pool.lanes[self.executor]
    }

    /// Whether somebody waits for a credit, who comes first.
    pub(crate) fn somebody_waits(&self) -> bool {
        !self.wait_queue.borrow().is_empty()
    }

    /// Whether somebody waits who comes before a job for this task worker, or for any.
    pub(crate) fn somebody_waits_before(&self, task_worker: Option<usize>) -> bool {
        let queue = self.wait_queue.borrow();
        !queue.is_empty() || task_worker.is_some_and(|task_worker| queue.waits_for(task_worker))
    }

    /// Dispatches for `on_finish`; gives the job back without a credit or room, and where somebody
    /// waits for one.
    pub(crate) fn dispatch(&self, job: J) -> Result<TaskId, J> {
        match self.somebody_waits() {
            true => Err(self.refuse(job)),
            false => self.dispatch_first(job),
        }
    }

    pub(crate) fn dispatch_first(&self, job: J) -> Result<TaskId, J> {
        let envelope = self.envelope(job, self.next_id(), None, Instant::now());
        self.with_credit(envelope, |envelope| self.push(envelope, &Options::default(), false))
            .map_err(|envelope| envelope.job)
    }

    pub(crate) fn refuse<T>(&self, value: T) -> T {
        self.outside().stats.refused.add(1);
        value
    }

    /// Dispatches a job with a slot; gives it back as [`dispatch`](Self::dispatch) does.
    pub(crate) fn dispatch_order(&self, order: Order<J, O>) -> Result<Dispatched, J> {
        let waits = || self.somebody_waits_before(order.options.task_worker);
        match order.options.delay.is_none() && waits() {
            true => Err(self.refuse(order.job)),
            false => self.dispatch_order_first(order),
        }
    }

    /// A job that is to run at once needs a credit and room, a delayed one a place among those that
    /// sleep.
    pub(crate) fn dispatch_order_first(&self, order: Order<J, O>) -> Result<Dispatched, J> {
        let Order { job, options, sink, again, controlled } = order;
        let id = self.next_id();
        let control = controlled.then(|| Arc::new(Control::new()));
        let awaited = matches!(sink, Sink::Waiting(_));
        let now = Instant::now();
        let deadline = options.deadline.map(|after| saturating_add(now, after));
        let attempt = options.first_attempt();
        let slot = Slot {
            id,
            options,
            again,
            deadline,
            attempt,
            control: control.clone(),
            ..Slot::plain(sink)
        };
        let key = self.slots.borrow_mut().insert(slot);
        let accepted = match options.delay {
            Some(delay) => self.accept_sleeper(key, job, saturating_add(now, delay)),
            None => {
                let mut envelope = self.envelope(job, id, Some(key), now);
                envelope.attempt = attempt;
                envelope.control = control.clone();
                envelope.deadline = deadline;
                envelope.again = again;
                self.with_credit(envelope, |envelope| self.push(envelope, &options, awaited))
                    .map_err(|envelope| envelope.job)
            }
        };
        if let Err(job) = accepted {
            let refused = self.slots.borrow_mut().remove(key);
            // With nothing borrowed: a callback's destructor may dispatch.
            drop_quietly(refused);
            return Err(job);
        }
        if let Some(deadline) = deadline {
            self.add_due(deadline, Due::Expire(key));
        }
        Ok((id, key, control))
    }

    /// The slot keeps its job: no task worker has it.
    pub(crate) fn keep(&self, key: SlotKey, job: J, whereabouts: Whereabouts) {
        let mut slots = self.slots.borrow_mut();
        let left = match slots.get(key) {
            Some(slot) => {
                slot.whereabouts = whereabouts;
                slot.job.replace(job)
            }
            None => Some(job),
        };
        drop(slots);
        drop_quietly(left);
    }

    pub(crate) fn add_due(&self, at: Instant, due: Due) {
        let slots = self.slots.borrow();
        let queue = self.wait_queue.borrow();
        let is_live = |due| match due {
            Due::Start(key) | Due::Expire(key) => slots.contains(key),
            Due::Sender(ticket) => queue.waits(ticket),
            Due::WaitQueue => true,
        };
        self.delay_queue.borrow_mut().add(at, due, slots.len(), is_live);
    }

    fn next_id(&self) -> TaskId {
        let shared = &self.pool;
        let executors = shared.lanes.len() as u64;
        shared.id_base + self.sequence.get() * executors + self.executor as u64 + 1
    }

    pub(crate) fn envelope(
        &self,
        job: J,
        id: TaskId,
        slot: Option<SlotKey>,
        dispatched: Instant,
    ) -> Envelope<J, O> {
        Envelope {
            job,
            id,
            attempt: 1,
            dispatched,
            deadline: None,
            origin: Origin::Lane { executor: self.executor, slot },
            control: None,
            again: None,
        }
    }

    /// Accepts a task by `accept`, if there is a credit for it.
    fn with_credit<T>(
        &self,
        value: T,
        accept: impl FnOnce(T) -> Result<(), T>,
    ) -> Result<TaskId, T> {
        let stats = &self.outside().stats;
        if self.credits_left.get() == 0 {
            stats.refused.add(1);
            return Err(value);
        }
        accept(value).inspect_err(|_| stats.refused.add(1))?;
        self.credits_left.set(self.credits_left.get() - 1);
        Ok(self.accept())
    }

    /// Counts a task that is accepted.
    pub(crate) fn accept(&self) -> TaskId {
        let id = self.next_id();
        self.sequence.set(self.sequence.get() + 1);
        self.in_flight.set(self.in_flight.get() + 1);
        self.outside().stats.accepted.add(1);
        id
    }

    pub(crate) fn push(
        &self,
        envelope: Envelope<J, O>,
        options: &Options,
        awaited: bool,
    ) -> Result<(), Envelope<J, O>> {
        let shared = &self.pool;
        if let Some(worker) = options.task_worker {
            shared.queues.push_to(worker, envelope)?;
            shared.park.post(worker);
            return Ok(());
        }
        let now = envelope.dispatched;
        if self.kept_room.get()[options.priority as usize] {
            shared.queues.push_to_kept(self.executor, options.priority, envelope)?;
            self.release_room(options.priority);
        } else {
            shared.queues.push(Some(self.executor), options.priority, envelope)?;
        }
        // Who awaits a task has nothing else to do, and a high priority is not for waiting.
        let at_once = awaited || options.priority == Priority::High;
        if self.wake_batch.push(now, at_once) {
            shared.park.notify();
        }
        Ok(())
    }
}

impl<J, O> Installed<J, O> {
    /// A kept place was taken, or nobody wants it any more.
    pub(crate) fn release_room(&self, priority: Priority) {
        let mut kept = self.kept_room.get();
        if std::mem::take(&mut kept[priority as usize]) {
            self.kept_room.set(kept);
            self.pool.queues.release_room(self.executor, priority);
        }
    }
}

impl<J, O> Drop for Installed<J, O> {
    fn drop(&mut self) {
        // The executor may go on: a panic of one value's destructor costs that value only.
        self.slots.get_mut().drain().into_iter().for_each(drop_quietly);
        self.orphans.get_mut().drain(..).for_each(drop_quietly);
        for ring in self.rings.get_mut() {
            while let Ok(message) = ring.pop() {
                drop_quietly(message);
            }
        }
        Priority::ALL.into_iter().for_each(|priority| self.release_room(priority));
        // The tasks that are in the queue are run, whether or not somebody is left to be told.
        self.pool.park.notify();
    }
}
