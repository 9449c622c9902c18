//! A task's control: it runs or is withdrawn, never both, and somebody always tells its end.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::control_protocol::{Control, Stopped, TaskState};
use crate::sites::{Protocol, each_is_needed};
use crate::sync::Fault;
use crate::{Model, finds, holds};

/// A task worker, one that cancels and a deadline, all at once.
fn one_outcome() {
    let control = Arc::new(Control::new());
    let ends = Arc::new(AtomicUsize::new(0));
    let stops: [fn(&Control) -> Stopped; 2] = [Control::cancel, Control::expire];
    let stoppers: Vec<_> = stops
        .into_iter()
        .map(|stop| {
            let (control, ends) = (control.clone(), ends.clone());
            thread::spawn(move || {
                if let Stopped::Withdrawn { .. } = stop(&control) {
                    ends.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let runs = control.begin();
    if runs {
        ends.fetch_add(1, Ordering::Relaxed);
        control.end(false);
    }
    stoppers.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(ends.load(Ordering::Relaxed), 1, "one outcome a task");
    let expected = if runs { TaskState::Ended } else { TaskState::Withdrawn };
    assert_eq!(control.state(), expected);
}

/// A task of which two attempts fail, with its lane, while a handle cancels it. What the handle is
/// told is what happens: withdrawn, and no attempt begins after that; asked, and no other attempt
/// is made; too late, and all were made.
fn cancelled_between_attempts() {
    const ATTEMPTS: usize = 2;
    let control = Arc::new(Control::new());
    let canceller = {
        let control = control.clone();
        thread::spawn(move || {
            let stopped = control.cancel();
            // While it may be tried again, nobody may be told that it is over.
            if stopped == Stopped::Over {
                assert_eq!(control.state(), TaskState::Ended);
            }
            stopped
        })
    };
    let (mut made, mut withdrawn) = (0, false);
    for attempt in 1..=ATTEMPTS {
        if !control.begin() {
            withdrawn = true;
            break;
        }
        made += 1;
        control.end(true);
        let goes_on = match attempt < ATTEMPTS {
            true => control.requeue(),
            false => false,
        };
        if !goes_on {
            withdrawn = !control.give_up();
            break;
        }
    }
    match canceller.join().unwrap() {
        Stopped::Withdrawn { attempted } => {
            assert!(withdrawn, "the lane learns that it was withdrawn");
            assert!(!attempted || made > 0);
            assert_eq!(control.state(), TaskState::Withdrawn);
        }
        Stopped::Asked => {
            assert!(!withdrawn && made > 0);
            assert_eq!(control.state(), TaskState::Ended);
        }
        Stopped::Over => assert_eq!((made, withdrawn), (ATTEMPTS, false)),
        Stopped::CancelledBefore => unreachable!("nobody else cancels it"),
    }
}

/// A control, and what is written before somebody else learns of it by the control alone.
struct Led {
    control: Control,
    written: UnsafeCell<u32>,
}

impl Led {
    fn new() -> Arc<Self> {
        Arc::new(Led { control: Control::new(), written: UnsafeCell::new(0) })
    }

    fn write(&self, value: u32) {
        // SAFETY: loom reports a write that is not ordered against each read and write.
        self.written.with_mut(|written| unsafe { *written = value });
    }

    fn see(&self, value: u32) {
        // SAFETY: as above.
        assert_eq!(self.written.with(|written| unsafe { *written }), value);
    }
}

/// A task worker, which writes while it runs the task.
fn run(led: &Arc<Led>, may_be_retried: bool) -> thread::JoinHandle<()> {
    let led = led.clone();
    thread::spawn(move || {
        if led.control.begin() {
            led.write(7);
            led.control.end(may_be_retried);
        }
    })
}

/// Who is told that it comes too late sees the run.
fn too_late_shows_the_run() {
    let led = Led::new();
    let worker = run(&led, false);
    if let Stopped::Over = led.control.cancel() {
        led.see(7);
    }
    worker.join().unwrap();
}

fn the_state_shows_the_run() {
    let led = Led::new();
    let worker = run(&led, false);
    if led.control.state() == TaskState::Ended {
        led.see(7);
    }
    worker.join().unwrap();
}

/// The lane, which requeues, sees the attempt, and so does the next one.
fn an_attempt_shows_the_one_before() {
    let led = Led::new();
    let first = run(&led, true);
    if led.control.requeue() {
        led.see(7);
        let second = run(&led, true);
        second.join().unwrap();
    }
    first.join().unwrap();
}

/// A run that finds that it is to stop sees what was done before it was asked to.
fn a_wish_shows_what_led_to_it(stop: fn(&Control) -> Stopped, is_asked: fn(&Control) -> bool) {
    let led = Led::new();
    let worker = {
        let led = led.clone();
        thread::spawn(move || {
            if led.control.begin() && is_asked(&led.control) {
                led.see(7);
            }
        })
    };
    led.write(7);
    let _ = stop(&led.control);
    worker.join().unwrap();
}

const ONE_OUTCOME: Model = Model::new(3, one_outcome);
const BETWEEN_ATTEMPTS: Model = Model::new(3, cancelled_between_attempts);
const TOO_LATE: Model = Model::new(3, too_late_shows_the_run);
const STATE: Model = Model::new(3, the_state_shows_the_run);
const ATTEMPT: Model = Model::new(3, an_attempt_shows_the_one_before);
const CANCELLED: Model =
    Model::new(3, || a_wish_shows_what_led_to_it(Control::cancel, Control::is_cancelled));
const LATE: Model =
    Model::new(3, || a_wish_shows_what_led_to_it(Control::expire, Control::is_late));

const PROTOCOL: Protocol = Protocol {
    file: "runtime/src/pool/task/control.rs",
    models: &[TOO_LATE, STATE, ATTEMPT, CANCELLED, LATE],
};

#[test]
fn a_task_runs_or_is_withdrawn_never_both() {
    holds(ONE_OUTCOME);
}

#[test]
fn a_task_is_withdrawn_between_attempts_or_tried_again_never_both() {
    holds(BETWEEN_ATTEMPTS);
}

#[test]
fn who_learns_of_a_change_sees_what_led_to_it() {
    PROTOCOL.models.iter().for_each(|model| holds(*model));
}

#[test]
fn an_exchange_in_two_steps_ends_a_task_twice() {
    finds(Fault::TornExchange, ONE_OUTCOME);
}

#[test]
fn an_exchange_in_two_steps_loses_a_cancellation_between_attempts() {
    finds(Fault::TornExchange, BETWEEN_ATTEMPTS);
}

#[test]
fn each_ordering_is_needed() {
    each_is_needed(&PROTOCOL);
}
