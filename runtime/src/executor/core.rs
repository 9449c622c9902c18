//! What the code that runs on an executor's thread reaches: its ring, tasks, timers, sources.
//!
//! Each part has a cell of its own, borrowed for one call and never across a poll or a callback.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::inbox::Inbox;
use super::stats::ExecutorStats;
use super::tasks::LocalTasks;
use super::timer::Wheel;
use super::waker::{self, Remote};
use crate::ring::{Ring, RingConfig};
use crate::socket::listeners::Listeners;
use crate::socket::streams::Streams;

thread_local! {
    static CURRENT: RefCell<Option<Rc<Core>>> = const { RefCell::new(None) };
}

/// The state of one executor, on its thread.
pub(crate) struct Core {
    pub(crate) index: usize,
    pub(crate) ring: RefCell<Ring>,
    pub(crate) streams: RefCell<Streams>,
    pub(crate) listeners: RefCell<Listeners>,
    pub(crate) tasks: RefCell<LocalTasks>,
    pub(crate) timers: RefCell<Wheel>,
    pub(crate) inboxes: RefCell<Vec<Rc<dyn Inbox>>>,
    /// Woken when no task of a pool is in flight any more; one for each waiting future at most.
    pub(crate) quiet_wakers: RefCell<Vec<Waker>>,
    /// What begins by itself, such as a periodic job, begins no more.
    pub(crate) draining: Cell<bool>,
    pub(crate) remote: Arc<Remote>,
    pub(crate) stats: Arc<ExecutorStats>,
    pub(crate) panics: Cell<u64>,
    started: Instant,
    /// The turn's clock, once something has asked for it.
    now: Cell<Option<Instant>>,
}

impl Core {
    /// Makes this thread an executor.
    pub(crate) fn enter(
        index: usize,
        remote: Arc<Remote>,
        stats: Arc<ExecutorStats>,
        config: RingConfig,
    ) -> io::Result<Rc<Core>> {
        let mut ring = Ring::new(config)?;
        ring.listen_to_doorbell(remote.doorbell.fd().as_raw_fd());
        let core = Rc::new(Core {
            index,
            ring: RefCell::new(ring),
            streams: RefCell::new(Streams::new()),
            listeners: RefCell::new(Listeners::new()),
            tasks: RefCell::new(LocalTasks::new(remote.clone())),
            timers: RefCell::new(Wheel::new()),
            inboxes: RefCell::new(Vec::new()),
            quiet_wakers: RefCell::default(),
            draining: Cell::new(false),
            remote: remote.clone(),
            stats,
            panics: Cell::new(0),
            started: Instant::now(),
            now: Cell::new(None),
        });
        waker::enter_thread(Some(remote));
        CURRENT.set(Some(core.clone()));
        Ok(core)
    }

    /// Ends what [`enter`](Self::enter) began.
    pub(crate) fn leave() {
        waker::enter_thread(None);
        CURRENT.set(None);
    }

    /// The executor of this thread, if it is one.
    pub(crate) fn current() -> Option<Rc<Core>> {
        CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
    }

    /// Adds a local task and queues it.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        let key = self.tasks.borrow_mut().insert(Box::pin(future));
        waker::push_ready(key);
    }

    /// Milliseconds since the executor started, as of this turn or later.
    pub(crate) fn now_ms(&self) -> u64 {
        self.ms_of(self.now())
    }

    /// Milliseconds since the executor started, as of now: the turn's clock stands still however
    /// long a task computes, and a time that is counted from it would be short by so much.
    pub(crate) fn read_clock_ms(&self) -> u64 {
        let now = Instant::now();
        self.now.set(Some(now));
        self.ms_of(now)
    }

    fn ms_of(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_millis() as u64
    }

    /// The turn's clock: read when it is first asked for, for what the turn begins with is in a
    /// hurry and has no use for it.
    pub(crate) fn now(&self) -> Instant {
        self.now.get().unwrap_or_else(|| {
            let now = Instant::now();
            self.now.set(Some(now));
            now
        })
    }

    /// A turn begins: its clock is another one.
    pub(crate) fn forget_clock(&self) {
        self.now.set(None);
    }

    /// How long the loop may sleep for its timers; None: for ever.
    pub(crate) fn until_next_timer(&self) -> Option<Duration> {
        let at = Duration::from_millis(self.timers.borrow().next_turn_ms()?);
        Some(at.saturating_sub(self.started.elapsed()))
    }

    /// What this executor has sent out and has not come back: tasks of pools.
    pub(crate) fn in_flight(&self) -> usize {
        self.inboxes.borrow().iter().map(|inbox| inbox.in_flight()).sum()
    }
}
