//! Wakers: no wake is lost, a task is queued at most once, and a poll sees what came before it.

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use crate::schedule_protocol::Schedule;
use crate::sites::{Protocol, each_is_needed};
use crate::sync::Fault;
use crate::{Model, finds, holds};

/// A task, its executor's inbox, and two values that two wakers write before they wake.
struct Task {
    schedule: Schedule,
    /// Keys in the inbox.
    inbox: Mutex<usize>,
    arrived: Condvar,
    queued_max: AtomicUsize,
    written: [UnsafeCell<bool>; 2],
    flags: [loom::sync::atomic::AtomicBool; 2],
}

// SAFETY: the model checks each access of `written`; that is what it is for.
unsafe impl Sync for Task {}

impl Task {
    fn wake(&self) {
        if self.schedule.request() {
            let mut inbox = self.inbox.lock().unwrap();
            *inbox += 1;
            self.queued_max.fetch_max(*inbox, Ordering::Relaxed);
            drop(inbox);
            self.arrived.notify_one();
        }
    }

    fn pop(&self) {
        let mut inbox = self.inbox.lock().unwrap();
        while *inbox == 0 {
            inbox = self.arrived.wait(inbox).unwrap();
        }
        *inbox -= 1;
    }
}

fn model() {
    let task = Arc::new(Task {
        schedule: Schedule::scheduled(),
        inbox: Mutex::new(1),
        arrived: Condvar::new(),
        queued_max: AtomicUsize::new(1),
        written: [UnsafeCell::new(false), UnsafeCell::new(false)],
        flags: Default::default(),
    });
    let wakers: Vec<_> = (0..2)
        .map(|at| {
            let task = task.clone();
            thread::spawn(move || {
                // SAFETY: written once, here, before the flag says so.
                task.written[at].with_mut(|written| unsafe { *written = true });
                task.flags[at].store(true, Ordering::Relaxed);
                task.wake();
            })
        })
        .collect();
    // The task is done when it has seen both values; until then it waits to be woken.
    let mut seen = [false; 2];
    while seen != [true; 2] {
        task.pop();
        task.schedule.begin_poll();
        for (at, seen) in seen.iter_mut().enumerate() {
            *seen |= task.flags[at].load(Ordering::Relaxed);
        }
    }
    task.schedule.retire();
    wakers.into_iter().for_each(|waker| waker.join().unwrap());
    assert!(task.queued_max.load(Ordering::Relaxed) <= 1, "a task was queued twice");
}

/// What a waker wrote is seen by the poll that its wake causes, also where the wake found the
/// task queued already: the values are read without a flag's help.
fn publishes() {
    let schedule = Arc::new(Schedule::scheduled());
    let value = Arc::new(loom::sync::atomic::AtomicBool::new(false));
    let waker = thread::spawn({
        let (schedule, value) = (schedule.clone(), value.clone());
        move || {
            value.store(true, Ordering::Relaxed);
            schedule.request()
        }
    });
    schedule.begin_poll();
    let seen = value.load(Ordering::Relaxed);
    let must_poll_again = waker.join().unwrap();
    assert!(seen || must_poll_again, "the wake before this poll was not seen by it");
}

const WOKEN: Model = Model::new(3, model);
const PUBLISHES: Model = Model::new(3, publishes);

const PROTOCOL: Protocol =
    Protocol { file: "runtime/src/executor/schedule.rs", models: &[PUBLISHES, WOKEN] };

#[test]
fn no_wake_is_lost_and_no_task_is_queued_twice() {
    holds(WOKEN);
}

#[test]
fn a_poll_sees_what_was_written_before_the_wake() {
    holds(PUBLISHES);
}

#[test]
fn a_torn_swap_loses_or_doubles_a_wake() {
    finds(Fault::TornSwap, WOKEN);
}

#[test]
fn a_request_that_writes_nothing_hides_what_was_written() {
    finds(Fault::SkippedSwap, PUBLISHES);
}

#[test]
fn each_ordering_is_needed() {
    each_is_needed(&PROTOCOL);
}
