//! A task's control: it runs or is withdrawn, never both, and somebody always tells its end.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::control_protocol::{Control, Stopped, TaskState};
use crate::sync::Fault;
use crate::{finds, holds};

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

/// What a run wrote is seen by who learns that the task is over, and what was written before the
/// dispatch by who withdraws it.
fn who_sees_the_state_sees_what_led_to_it() {
    let shared = Arc::new((Control::new(), UnsafeCell::new(0)));
    let worker = {
        let shared = shared.clone();
        thread::spawn(move || {
            if shared.0.begin() {
                // SAFETY: only the task's run writes, and only who sees its end reads.
                shared.1.with_mut(|value| unsafe { *value = 7 });
                shared.0.end(false);
            }
        })
    };
    if let Stopped::Over = shared.0.cancel() {
        // SAFETY: as above; loom reports a read that is not ordered after the write.
        assert_eq!(shared.1.with(|value| unsafe { *value }), 7);
    }
    worker.join().unwrap();
}

#[test]
fn a_task_runs_or_is_withdrawn_never_both() {
    holds(3, one_outcome);
}

#[test]
fn a_task_is_withdrawn_between_attempts_or_tried_again_never_both() {
    holds(3, cancelled_between_attempts);
}

#[test]
fn the_end_of_a_task_shows_its_run() {
    holds(3, who_sees_the_state_sees_what_led_to_it);
}

#[test]
fn an_exchange_in_two_steps_ends_a_task_twice() {
    finds(Fault::TornExchange, 3, one_outcome);
}

#[test]
fn an_exchange_in_two_steps_loses_a_cancellation_between_attempts() {
    finds(Fault::TornExchange, 3, cancelled_between_attempts);
}

#[test]
fn an_exchange_that_orders_nothing_hides_the_run() {
    finds(Fault::RelaxedExchange, 3, who_sees_the_state_sees_what_led_to_it);
}
