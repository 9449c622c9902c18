//! A task's control: it runs or is withdrawn, never both, and somebody always tells its end.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::control_protocol::{Control, TaskState};
use crate::sync::Fault;
use crate::{finds, holds};

/// A task worker, one that cancels and a deadline, all at once.
fn one_outcome() {
    let control = Arc::new(Control::new());
    let ends = Arc::new(AtomicUsize::new(0));
    let withdrawers: Vec<_> = (0..2)
        .map(|_| {
            let (control, ends) = (control.clone(), ends.clone());
            thread::spawn(move || {
                control.ask_to_stop();
                if control.withdraw() {
                    ends.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let runs = control.begin();
    if runs {
        ends.fetch_add(1, Ordering::Relaxed);
        control.end();
    }
    withdrawers.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(ends.load(Ordering::Relaxed), 1, "one outcome a task");
    let expected = if runs { TaskState::Ended } else { TaskState::Withdrawn };
    assert_eq!(control.state(), expected);
    assert!(control.is_asked_to_stop());
}

#[test]
fn a_task_runs_or_is_withdrawn_never_both() {
    holds(3, one_outcome);
}

#[test]
fn an_exchange_in_two_steps_ends_a_task_twice() {
    finds(Fault::TornExchange, 3, one_outcome);
}
