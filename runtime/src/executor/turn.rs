//! The executor's loop: the one permanent task that glommio hosts on a serving core.
//!
//! ```text
//! loop {
//!     finish rings → on_finish, waiting futures       and polls those at once
//!     completions → streams, listeners, the doorbell      wake their tasks
//!     inbox of wakes from other threads
//!     ready tasks, at most POLLS_PER_TURN
//!     timers
//!     nothing ready: arm the doorbell, look at every inbound queue again, then
//!     submit and wait in the ring for a completion, the doorbell or the next timer
//! }
//! ```
//!
//! The loop never returns to glommio before the executor ends: glommio's scheduler can park with
//! runnable tasks (see ARCHITECTURE.md). It sleeps in its own ring and costs nothing when idle.

use std::cell::Cell;
use std::io;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use super::core::Core;
use super::inbox::Inbox;
use super::load::Load;
use super::stats::ExecutorSnapshot;
use super::waker::{pop_ready, push_ready, ready_len};
use crate::ring::{Completion, Kind};
use crate::sys::instant::after;
use crate::sys::panics::{self, drop_quietly, wake_by_ref_quietly, wake_quietly};

/// Polls between two looks at completions, finishes and timers: what bounds their delay.
const POLLS_PER_TURN: usize = 256;
/// How long a busy executor with tasks in flight sleeps at most: it looks for finishes by itself.
const BUSY_LOOK: Duration = Duration::from_micros(100);
/// How long the end of an executor waits for its cancelled operations.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// The loop and its scratch space.
pub(super) struct Turns {
    core: Rc<Core>,
    spin: Duration,
    load: Load,
    completions: Vec<Completion>,
    due: Vec<Waker>,
    counts: ExecutorSnapshot,
    /// See `watch.rs`.
    pulse: u64,
}

impl Turns {
    pub(super) fn new(core: Rc<Core>, spin: Duration) -> Self {
        Turns {
            core,
            spin,
            load: Load::new(),
            completions: Vec::new(),
            due: Vec::new(),
            counts: ExecutorSnapshot::default(),
            pulse: 0,
        }
    }

    /// Turns until `done` is set, which the main task does when it ends.
    pub(super) fn run(&mut self, done: &Cell<bool>) -> io::Result<()> {
        loop {
            self.turn();
            if done.get() {
                return Ok(());
            }
            self.wait()?;
        }
    }

    fn turn(&mut self) {
        self.counts.turns += 1;
        self.code_begins();
        self.core.forget_clock();
        // What an executor is most often woken for by others. Whoever awaits it has waited for the
        // wake already, and not for completions and the clock too.
        if self.deliver_finishes() {
            self.poll_ready();
        }
        self.core.remote.doorbell.disarm();
        self.take_completions();
        self.core.remote.drain_wakes();
        self.poll_ready();
        self.fire_timers();
        self.code_ends();
    }

    /// Submits what the turn queued and, with nothing left to do, sleeps.
    ///
    /// What is for the looker-on and for the next turns is done here, before the sleep: a wake
    /// then has less to do, and the counters of an executor that sleeps are up to date.
    fn wait(&mut self) -> io::Result<()> {
        let busy = self.load.is_busy(self.core.now());
        self.core.ring.borrow_mut().set_busy(busy);
        let batching = busy && self.core.in_flight() > 0;
        self.core.inboxes.borrow().iter().for_each(|inbox| inbox.flush_wakes(batching));
        let wait = match ready_len() {
            0 => self.sleep_limit(batching),
            _ => None,
        };
        if wait.is_some() {
            self.counts.sleeps += 1;
        }
        self.publish();
        self.core.ring.borrow_mut().enter(wait)
    }

    /// How long the loop may sleep (`Some(None)`: for ever), or that it may not.
    ///
    /// Arms the doorbell, then looks at every inbound queue again: a push that the look misses sees
    /// the armed doorbell and rings it. A busy executor leaves the doorbell unarmed and looks again soon:
    /// its task workers then need no system call to bring their finishes home.
    fn sleep_limit(&mut self, batching: bool) -> Option<Option<Duration>> {
        if !self.spin.is_zero() && self.spin_for_work() {
            return None;
        }
        let limit = self.until_next_due();
        if batching {
            let limit = limit.map_or(BUSY_LOOK, |limit| limit.min(BUSY_LOOK));
            return (!self.has_inbound()).then_some(Some(limit));
        }
        self.core.remote.doorbell.arm();
        (!self.has_inbound()).then_some(limit)
    }

    /// How long there is nothing to do by the clock, of timers and of tasks; None: for ever.
    fn until_next_due(&self) -> Option<Duration> {
        // The clock is read only where a task has a time.
        let until = |at: Instant| at.saturating_duration_since(Instant::now());
        let tasks = self.core.inboxes.borrow().iter().filter_map(|s| s.next_due()).min();
        self.core.until_next_timer().into_iter().chain(tasks.map(until)).min()
    }

    fn has_inbound(&self) -> bool {
        self.core.remote.has_wakes()
            || self.core.inboxes.borrow().iter().any(|inbox| inbox.has_arrivals())
    }

    /// Looks for work without sleeping, for the configured time.
    fn spin_for_work(&mut self) -> bool {
        if self.core.ring.borrow_mut().enter(None).is_err() {
            return true;
        }
        let start = Instant::now();
        let limit = self.until_next_due().map_or(self.spin, |next| next.min(self.spin));
        while start.elapsed() < limit {
            if self.has_inbound() || self.core.ring.borrow_mut().has_completions() {
                return true;
            }
            std::hint::spin_loop();
        }
        false
    }

    fn take_completions(&mut self) {
        let core = self.core.clone();
        let (mut ring, mut streams) = (core.ring.borrow_mut(), core.streams.borrow_mut());
        ring.completions(&mut self.completions);
        for completion in self.completions.drain(..) {
            let waker = match completion.token.kind {
                // The kernel ends the poll where it found no room for a completion.
                Kind::Doorbell if !completion.more => {
                    ring.listen_to_doorbell(core.remote.doorbell.fd().as_raw_fd());
                    continue;
                }
                Kind::Doorbell | Kind::CancelDoorbell => continue,
                Kind::Accept | Kind::CancelAccept => {
                    let mut listeners = core.listeners.borrow_mut();
                    if let Some(waker) = listeners.complete(&mut ring, completion) {
                        wake_by_ref_quietly(waker);
                    }
                    continue;
                }
                _ => streams.complete(&mut ring, completion),
            };
            if let Some(waker) = waker {
                wake_by_ref_quietly(waker);
            }
        }
        streams.feed_starved(&mut ring);
    }

    /// Whether there were any.
    fn deliver_finishes(&mut self) -> bool {
        let (mut at, mut delivered) = (0, 0);
        // Cloned one by one: a callback may add an inbox.
        while let Some(inbox) = self.inbox(at) {
            delivered += inbox.drain();
            at += 1;
        }
        self.counts.finishes += delivered as u64;
        if at > 0 && !self.core.quiet_wakers.borrow().is_empty() && self.core.in_flight() == 0 {
            self.core.quiet_wakers.take().into_iter().for_each(wake_quietly);
        }
        delivered > 0
    }

    fn inbox(&self, at: usize) -> Option<Rc<dyn Inbox>> {
        self.core.inboxes.borrow().get(at).cloned()
    }

    fn poll_ready(&mut self) {
        for _ in 0..POLLS_PER_TURN.min(ready_len().max(1)) {
            let Some(key) = pop_ready() else { return };
            let Some(mut polling) = self.core.tasks.borrow_mut().begin_poll(key) else { continue };
            self.counts.polls += 1;
            self.code_goes_on();
            match polling.poll(&self.core.panics) {
                Poll::Pending => self.core.tasks.borrow_mut().put_back(polling),
                Poll::Ready(()) => {
                    let future = self.core.tasks.borrow_mut().remove(polling);
                    drop_quietly(future);
                }
            }
        }
    }

    /// A turn begins, all of which counts as code that may block: callbacks, tasks, wakers.
    #[inline]
    fn code_begins(&mut self) {
        self.pulse += 1;
        self.tell_pulse();
    }

    /// The next task is polled.
    #[inline]
    fn code_goes_on(&mut self) {
        self.pulse += 2;
        self.tell_pulse();
    }

    /// While the executor drains nobody looks: hooks may block then.
    #[inline]
    fn tell_pulse(&self) {
        if !self.core.draining.get() {
            self.core.stats.set_pulse(self.pulse);
        }
    }

    #[inline]
    fn code_ends(&mut self) {
        self.pulse += 1;
        self.core.stats.set_pulse(self.pulse);
    }

    fn fire_timers(&mut self) {
        self.core.timers.borrow_mut().turn(self.core.now_ms(), &mut self.due);
        self.due.drain(..).for_each(wake_quietly);
    }

    fn publish(&mut self) {
        self.counts.enters = self.core.ring.borrow().enters();
        self.counts.streams = self.core.streams.borrow().len() as u64;
        self.counts.panics = self.core.panics.get();
        self.core.stats.publish(&self.counts);
    }

    /// Drops the tasks that are left and closes their sockets, so that none leaks.
    pub(super) fn close(&mut self) -> io::Result<()> {
        let left = self.core.tasks.borrow_mut().remove_all();
        left.into_iter().for_each(drop_quietly);
        while pop_ready().is_some() {}
        let give_up = after(CLOSE_LIMIT);
        {
            let mut ring = self.core.ring.borrow_mut();
            self.core.listeners.borrow_mut().close_all(&mut ring);
            self.core.streams.borrow_mut().close_all(&mut ring);
            ring.ignore_doorbell();
        }
        while self.core.ring.borrow().in_flight() > 0 && Instant::now() < give_up {
            self.core.ring.borrow_mut().enter(Some(Some(Duration::from_millis(10))))?;
            self.settle_completions();
        }
        self.publish();
        Ok(())
    }

    /// Like `take_completions`, with nobody left to wake and the doorbell not listened to again.
    fn settle_completions(&mut self) {
        let core = self.core.clone();
        let mut ring = core.ring.borrow_mut();
        ring.completions(&mut self.completions);
        for completion in self.completions.drain(..) {
            match completion.token.kind {
                Kind::Accept | Kind::CancelAccept => {
                    core.listeners.borrow_mut().complete(&mut ring, completion);
                }
                // The poll was missed between two of its states.
                Kind::CancelDoorbell if completion.result == -libc::EALREADY => {
                    ring.ignore_doorbell()
                }
                Kind::Doorbell | Kind::CancelDoorbell => {}
                _ => {
                    core.streams.borrow_mut().complete(&mut ring, completion);
                }
            }
        }
    }
}

/// Lets the other ready tasks run before the caller goes on.
pub async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// How the main task of an executor has ended.
#[derive(Default)]
pub(super) struct MainEnd {
    /// It has, by a panic too.
    pub(super) done: Cell<bool>,
    pub(super) panicked: Cell<Option<String>>,
}

/// Starts the main task of an executor: its end ends the loop.
pub(super) fn spawn_main(core: &Rc<Core>, main: impl Future<Output = ()> + 'static) -> Rc<MainEnd> {
    /// Its drop says that the task is gone.
    struct Gone(Rc<MainEnd>);
    impl Drop for Gone {
        fn drop(&mut self) {
            self.0.done.set(true);
        }
    }
    let end = Rc::new(MainEnd::default());
    let gone = Gone(end.clone());
    let mut main = Box::pin(main);
    let caught = std::future::poll_fn(move |context| {
        panics::caught(|| main.as_mut().poll(context)).unwrap_or_else(|message| {
            gone.0.panicked.set(Some(message));
            Poll::Ready(())
        })
    });
    let key = core.tasks.borrow_mut().insert(Box::pin(caught));
    push_ready(key);
    end
}
