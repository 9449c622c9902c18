//! Async task workers: pinned threads that take many jobs at once and poll them side by side.
//!
//! A worker is one task of an executor that hosts it (`executor/hosted.rs`); its jobs are local
//! tasks with wakers of our own. A turn of it:
//!
//! ```text
//! beat: those that were cancelled, or are past their deadline, are polled to their end
//! wakes from other threads
//! until nothing is left, or TURN_MAX is over:   one job from the queue, if there is room
//!                                               one poll of a job that was woken
//! something left: through the host's reactor, and again
//! nothing left: arm the doorbell, then join the sleepers, look at each inbound queue again, and return to
//! the host, until a job's file or timer, the doorbell or a beat wakes the worker
//! ```

mod job;
pub(crate) mod start;

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use slab::Slab;

use crate::executor::hosted::{Listener, listen};
use crate::executor::tasks::LocalTasks;
use crate::executor::waker::{self, Remote};
use crate::pool::async_worker::job::{PendingFinish, Watch, attend};
use crate::pool::finish_guard::FinishSender;
use crate::pool::queue;
use crate::pool::shared::PoolShared;
use crate::pool::shared::external::External;
use crate::pool::task::error::{Failure, PoolError, TaskError};
use crate::pool::task::{Envelope, Origin, TaskContext};
use crate::pool::wake::Hosted;
use crate::pool::worker::withdrawn_as;
use crate::sys::doorbell::Doorbell;
use crate::sys::panics::drop_quietly;

/// How long jobs are taken and polled before timers and files have their turn again.
const TURN_MAX: Duration = Duration::from_millis(1);

/// An async worker, on its thread. It outlives the executor that hosts it, should that end by a
/// panic: so it, and not the host, owns the jobs.
pub(crate) struct AsyncWorker<J: Send + 'static, O: Send + 'static> {
    pub(crate) index: usize,
    pub(crate) cpu: usize,
    /// Jobs that it has at once, at most.
    concurrency: usize,
    shared: Arc<PoolShared<J, O>>,
    pub(crate) senders: RefCell<Vec<FinishSender<J, O>>>,
    tasks: RefCell<LocalTasks>,
    remote: Arc<Remote>,
    pub(crate) watched: RefCell<Slab<Watch>>,
    running: Cell<usize>,
    /// Jobs taken, for the queues' order.
    turns: queue::PriorityTurn<J, O>,
    /// It was called, and has not taken a job since (`sleepers.rs`).
    called: Cell<bool>,
    /// It told the heartbeat thread that it rests.
    rests: Cell<bool>,
    /// A beat came since the last turn.
    beat: Cell<bool>,
    /// The doorbell was heard.
    rang: Cell<bool>,
    panics: Cell<u64>,
}

/// What a turn leaves.
enum Turn {
    /// More to do.
    More,
    /// Nothing, for now.
    Idle,
    /// Nothing, and the pool closes.
    Over,
}

impl<J: Send + 'static, O: Send + 'static> AsyncWorker<J, O> {
    pub(crate) fn new(
        index: usize,
        cpu: usize,
        concurrency: usize,
        shared: Arc<PoolShared<J, O>>,
        senders: Vec<FinishSender<J, O>>,
    ) -> Self {
        let doorbell = hosted(&shared).doorbells[index].clone();
        let remote = Arc::new(Remote::new(doorbell));
        AsyncWorker {
            index,
            cpu,
            concurrency,
            shared,
            senders: RefCell::new(senders),
            tasks: RefCell::new(LocalTasks::new(remote.clone())),
            remote,
            watched: RefCell::default(),
            running: Cell::new(0),
            turns: queue::PriorityTurn::default(),
            called: Cell::new(false),
            rests: Cell::new(false),
            beat: Cell::new(false),
            rang: Cell::new(false),
            panics: Cell::new(0),
        }
    }

    pub(crate) fn hosted(&self) -> &Hosted {
        hosted(&self.shared)
    }

    pub(crate) fn external(&self) -> &External<O> {
        &self.shared.external
    }

    /// Listens to the doorbell and the beats, in the executor of this thread.
    pub(crate) fn listen(self: &Rc<Self>) -> Result<Vec<Listener>, PoolError> {
        let Hosted { doorbells, heartbeat, .. } = self.hosted();
        let wakeups =
            heartbeat.beat_fds(self.index).iter().map(|beat_fd| Wakeup::Beat(beat_fd.clone()));
        wakeups
            .chain([Wakeup::Doorbell(doorbells[self.index].clone())])
            .map(|wakeup| {
                let worker = self.clone();
                let (is_beat, to_read) = (matches!(wakeup, Wakeup::Beat(_)), wakeup.clone());
                let on_ring = move || {
                    let _ = rustix::io::read(&to_read, &mut [0; 8]);
                    match is_beat {
                        true => worker.beat.set(true),
                        false => worker.rang.set(true),
                    }
                    waker::wake_host();
                };
                listen(wakeup, on_ring)
            })
            .collect::<io::Result<_>>()
            .map_err(|cause| {
                let cpu = self.cpu;
                PoolError::Host { task_worker: self.index, cpu, cause }
            })
    }

    /// Waits until its listeners listen: they do so in turn, the doorbell's last.
    pub(crate) async fn heard(&self) {
        self.enter().await;
        self.through_reactor().await;
    }

    /// Has wakes wake the task that calls this.
    async fn enter(&self) {
        let host = std::future::poll_fn(|context| Poll::Ready(context.waker().clone())).await;
        waker::enter_hosted(self.remote.clone(), host);
    }

    /// The worker's task: takes jobs and polls them until the pool closes, or its time is over.
    pub(crate) async fn work<R, F>(self: Rc<Self>, run: Rc<R>, listeners: Vec<Listener>)
    where
        R: Fn(TaskContext, J) -> F + 'static,
        F: Future<Output = Result<O, Failure>> + 'static,
    {
        self.enter().await;
        // With beats until it sleeps; an executor before this one may have ended while it slept.
        self.rests.set(true);
        self.wake_up();
        loop {
            match self.turn(&run) {
                Turn::More => self.through_reactor().await,
                Turn::Idle if self.may_sleep() => {
                    until_woken().await;
                    self.wake_up();
                }
                Turn::Idle => {}
                Turn::Over => break,
            }
        }
        // While the reactor is there for their files.
        self.drop_all();
        for listener in listeners {
            listener.stop().await;
        }
        drop_quietly(run);
    }

    /// Drops what runs: each job is lost. Where the time of `close` is over, those that wait too.
    pub(crate) fn drop_all(&self) {
        let left = self.tasks.borrow_mut().remove_all();
        left.into_iter().for_each(drop_quietly);
        waker::enter_thread(None);
    }

    /// Its executor has ended by a panic, or could not be made anew. True: the pool closes, and it
    /// is not to have another.
    pub(crate) fn give_up(&self) -> bool {
        self.drop_all();
        self.wake_up();
        if self.called.take() {
            // What was left to this worker is for others now.
            self.hosted().notify();
        }
        self.hosted().sleepers.is_closing()
    }

    /// Has every job that is still in the queue reported as lost.
    pub(crate) fn drop_queued(self: &Rc<Self>) {
        while let Some(envelope) = self.pop() {
            let (owed, job, _) = self.owe(envelope, Instant::now());
            drop_quietly(job);
            drop(owed);
        }
    }

    /// Lets the reactor have its turn: rings the doorbell and returns when it is heard, which only the
    /// reactor brings about. A task that wakes itself keeps the host from its timers and files until
    /// the preempt timer fires, up to 100 ms.
    async fn through_reactor(&self) {
        self.rang.set(false);
        self.remote.doorbell.arm();
        // If another thread rings first, that is heard.
        self.remote.doorbell.ring();
        std::future::poll_fn(|_| match self.rang.get() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }

    fn turn<R, F>(self: &Rc<Self>, run: &Rc<R>) -> Turn
    where
        R: Fn(TaskContext, J) -> F + 'static,
        F: Future<Output = Result<O, Failure>> + 'static,
    {
        let began = Instant::now();
        if self.hosted().is_abandoned() {
            return Turn::Over;
        }
        if self.beat.take() {
            self.watched.borrow().iter().for_each(|(_, watch)| watch.look(began));
        }
        self.remote.drain_wakes();
        // Before the look at the queue: one that is found empty after this stays so.
        let closing = self.hosted().sleepers.is_closing();
        loop {
            let took = self.take_one(run);
            let polled = self.poll_one();
            if !took && !polled {
                break;
            }
            if began.elapsed() >= TURN_MAX {
                return Turn::More;
            }
        }
        match closing && self.running.get() == 0 {
            true => Turn::Over,
            false => Turn::Idle,
        }
    }

    /// Takes a job from the queue if there is room for it.
    fn take_one<R, F>(self: &Rc<Self>, run: &Rc<R>) -> bool
    where
        R: Fn(TaskContext, J) -> F + 'static,
        F: Future<Output = Result<O, Failure>> + 'static,
    {
        if self.running.get() >= self.concurrency {
            return false;
        }
        let Some(envelope) = self.pop() else { return false };
        if self.called.take() && !self.is_queue_empty() {
            // The chain call: others' jobs may have been left to this worker.
            self.hosted().notify();
        }
        self.begin(run, envelope);
        true
    }

    /// A job from the queues; of those that it moved to its own domain others are told.
    fn pop(&self) -> Option<Envelope<J, O>> {
        self.shared.queues.pop(self.index, &self.turns, || self.hosted().notify())
    }

    fn owe(
        self: &Rc<Self>,
        envelope: Envelope<J, O>,
        now: Instant,
    ) -> (PendingFinish<J, O>, J, Option<fn(&J) -> J>) {
        let Envelope { job, id, attempt, dispatched, deadline, origin, control, again } = envelope;
        let owed = PendingFinish {
            kind: self.shared.kinds.of(&job),
            worker: self.clone(),
            origin: Some(origin),
            id,
            attempt,
            waited: now.saturating_duration_since(dispatched),
            control,
            deadline,
            begun: None,
            kept: None,
            watch: None,
        };
        (owed, job, again)
    }

    /// Makes a task of a job, unless it was withdrawn or comes too late.
    fn begin<R, F>(self: &Rc<Self>, run: &Rc<R>, envelope: Envelope<J, O>)
    where
        R: Fn(TaskContext, J) -> F + 'static,
        F: Future<Output = Result<O, Failure>> + 'static,
    {
        let now = Instant::now();
        let (mut owed, job, again) = self.owe(envelope, now);
        if let Some(control) = owed.control.take_if(|control| !control.begin()) {
            // It stays withdrawn: only one that has begun ends.
            drop_quietly(job);
            return owed.finish(Err(withdrawn_as(&control)));
        }
        if owed.deadline.is_some_and(|deadline| deadline <= now) {
            drop_quietly(job);
            return owed.finish(Err(TaskError::TimedOut));
        }
        owed.begun = Some(now);
        self.running.set(self.running.get() + 1);
        self.shared.workers[self.index].begin_one_more(owed.kind, owed.waited);
        let task = TaskContext {
            id: owed.id,
            executor: match owed.origin {
                Some(Origin::Lane { executor, .. }) => Some(executor),
                _ => None,
            },
            task_worker: self.index,
            waited: owed.waited,
            attempt: owed.attempt,
            control: owed.control.clone(),
            deadline: owed.deadline,
        };
        let attended = attend(run.clone(), task, job, again, owed);
        let key = self.tasks.borrow_mut().insert(Box::pin(attended));
        waker::push_ready(key);
    }

    /// A job that had begun is over.
    pub(crate) fn end_one(&self, kind: usize, ran: Duration, panicked: bool, watch: Option<usize>) {
        self.running.set(self.running.get() - 1);
        self.shared.workers[self.index].end_one_of_many(kind, ran, panicked);
        let watch = watch.and_then(|watch| self.watched.borrow_mut().try_remove(watch));
        drop(watch);
    }

    /// Polls one job that was woken.
    fn poll_one(&self) -> bool {
        let Some(key) = waker::pop_ready() else { return false };
        let polling = self.tasks.borrow_mut().begin_poll(key);
        let Some(mut polling) = polling else { return true };
        match polling.poll(&self.panics) {
            Poll::Pending => self.tasks.borrow_mut().put_back(polling),
            Poll::Ready(()) => {
                let over = self.tasks.borrow_mut().remove(polling);
                drop_quietly(over);
            }
        }
        true
    }

    fn is_queue_empty(&self) -> bool {
        self.shared.queues.is_empty_for(self.index)
    }

    /// Whether the worker may return to its host until something wakes it. If not it is awake, as
    /// after [`wake_up`](Self::wake_up).
    fn may_sleep(&self) -> bool {
        let Hosted { sleepers, heartbeat, .. } = self.hosted();
        if self.running.get() == 0 {
            self.rests.set(true);
            heartbeat.rest(self.index);
        }
        // Before the sleepers, whose Release shows it to who calls; and before each look below.
        self.remote.doorbell.arm();
        let running = self.running.get();
        let nothing_to_take = match sleepers.is_closing() {
            // Its own jobs wake it when they have come further; there is no call any more.
            true => running > 0 && (running >= self.concurrency || self.is_queue_empty()),
            false if running >= self.concurrency => true,
            false => sleepers.sleep(self.index, || self.is_queue_empty()),
        };
        let may_sleep =
            nothing_to_take && !self.remote.has_wakes() && !self.hosted().is_abandoned();
        if !may_sleep {
            self.wake_up();
        }
        may_sleep
    }

    fn wake_up(&self) {
        let Hosted { sleepers, heartbeat, .. } = self.hosted();
        self.remote.doorbell.disarm();
        let called = sleepers.wake_up(self.index);
        self.called.set(self.called.get() || called);
        if self.rests.take() {
            heartbeat.beat_for(self.index);
        }
    }
}

/// A descriptor that a worker listens to.
#[derive(Clone)]
enum Wakeup {
    Doorbell(Arc<Doorbell>),
    Beat(Arc<OwnedFd>),
}

impl AsFd for Wakeup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Wakeup::Doorbell(doorbell) => doorbell.fd(),
            Wakeup::Beat(beat_fd) => beat_fd.as_fd(),
        }
    }
}

impl AsRawFd for Wakeup {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

/// Of a pool that was started as one of async workers.
fn hosted<J, O>(shared: &PoolShared<J, O>) -> &Hosted {
    shared.park.as_hosted().expect("async workers belong to a hosted pool")
}

/// Ready when it is polled again.
async fn until_woken() {
    let mut polled = false;
    std::future::poll_fn(|_| match std::mem::replace(&mut polled, true) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    })
    .await;
}
