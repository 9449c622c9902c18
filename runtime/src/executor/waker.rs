//! Wakers of local tasks: how a task gets back on its executor's ready list, from any thread.
//!
//! A waker is an `Arc<TaskHeader>`; it holds no future, so a future is owned by its executor's
//! slab alone and dropped there, exactly once, whatever wakers are left and wherever they are.
//!
//! ```text
//!            request() by any thread               begin_poll() by the executor
//!   Idle ───────────────────────────► Scheduled ───────────────────────────► Idle (polled now)
//!                                        │ retire() by the executor, when the future is gone
//!                                        ▼
//!                                     Scheduled for ever: no waker can queue it again
//! ```
//!
//! - Only the `request` that turns Idle into Scheduled queues the task's key: on the executor's
//!   own thread to its ready list, from elsewhere to the inbox (then the doorbell rings if the loop
//!   sleeps). So a task has at most one entry in both together, and the inbox holds at most one
//!   entry for each task that still has a waker.
//! - `request` is a swap with Release: what the waking thread wrote before happens before the poll,
//!   whose `begin_poll` swap (Acquire) reads from it or from a later swap of the same release
//!   sequence. `begin_poll` comes before the poll, so a wake during the poll queues it again. A
//!   request reads nothing that the executor or another waker wrote, so it acquires nothing.
//! - A key names slot and generation; the entry of a task that ended is dropped when it is popped.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Wake, Waker};

use crossbeam_queue::SegQueue;

use super::schedule::Schedule;
use super::tasks::TaskKey;
use crate::sys::doorbell::Doorbell;

thread_local! {
    /// The ready list of the executor that runs on this thread, with its identity.
    static READY: RefCell<Ready> = const { RefCell::new(Ready::none()) };
}

struct Ready {
    remote: Option<Arc<Remote>>,
    keys: VecDeque<TaskKey>,
    /// Woken for each key that is queued here: the task that hosts the polls, where that is one of
    /// another scheduler (`hosted.rs`).
    host: Option<Waker>,
}

impl Ready {
    const fn none() -> Self {
        Ready { remote: None, keys: VecDeque::new(), host: None }
    }

    fn push(&mut self, key: TaskKey) {
        self.keys.push_back(key);
        if let Some(host) = &self.host {
            // It only queues the host on this thread; nothing is polled here.
            host.wake_by_ref();
        }
    }
}

/// What other threads know of an executor.
pub(crate) struct Remote {
    pub(crate) doorbell: Arc<Doorbell>,
    inbox: SegQueue<TaskKey>,
}

impl Remote {
    pub(crate) fn new(doorbell: Arc<Doorbell>) -> Self {
        Remote { doorbell, inbox: SegQueue::new() }
    }

    /// Moves the wakes that came from elsewhere to the ready list.
    pub(crate) fn drain_wakes(&self) {
        // A pop of an empty queue costs a fence, and each turn looks.
        while self.has_wakes()
            && let Some(key) = self.inbox.pop()
        {
            push_ready(key);
        }
    }

    pub(crate) fn has_wakes(&self) -> bool {
        !self.inbox.is_empty()
    }
}

/// The part of a task that its wakers share.
pub(crate) struct TaskHeader {
    pub(crate) schedule: Schedule,
    key: TaskKey,
    remote: Arc<Remote>,
}

impl TaskHeader {
    pub(crate) fn new(key: TaskKey, remote: Arc<Remote>) -> Self {
        TaskHeader { schedule: Schedule::scheduled(), key, remote }
    }
}

impl Wake for TaskHeader {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.schedule.request() {
            return;
        }
        // The thread-local may be gone when a thread ends: then this is no executor any more.
        let local = READY.try_with(|ready| {
            let mut ready = ready.borrow_mut();
            let here = ready.remote.as_ref().is_some_and(|r| Arc::ptr_eq(r, &self.remote));
            if here {
                ready.push(self.key);
            }
            here
        });
        if local != Ok(true) {
            self.remote.inbox.push(self.key);
            self.remote.doorbell.ring();
        }
    }
}

/// Makes this thread the executor of `remote`; `None` ends that.
pub(crate) fn enter_thread(remote: Option<Arc<Remote>>) {
    READY.with_borrow_mut(|ready| {
        *ready = Ready { remote, ..Ready::none() };
    });
}

/// Makes this thread an executor whose polls another task of this thread hosts: it is woken by
/// each wake of a local task.
pub(crate) fn enter_hosted(remote: Arc<Remote>, host: Waker) {
    READY.with_borrow_mut(|ready| {
        *ready = Ready { remote: Some(remote), host: Some(host), ..Ready::none() };
    });
}

/// Wakes the task that hosts the polls on this thread, if one does.
pub(crate) fn wake_host() {
    READY.with_borrow(|ready| {
        if let Some(host) = &ready.host {
            host.wake_by_ref();
        }
    });
}

/// Queues a task on this thread's executor.
pub(crate) fn push_ready(key: TaskKey) {
    READY.with_borrow_mut(|ready| ready.push(key));
}

/// The next task to poll on this thread.
pub(crate) fn pop_ready() -> Option<TaskKey> {
    READY.with_borrow_mut(|ready| ready.keys.pop_front())
}

/// Tasks that wait to be polled on this thread.
pub(crate) fn ready_len() -> usize {
    READY.with_borrow(|ready| ready.keys.len())
}
