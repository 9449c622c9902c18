//! The gate: a dispatch that came through is seen by who has shut it, and none follows.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::gate_protocol::Gate;
use crate::sync::Fault;
use crate::{finds, holds};

/// Two dispatchers; the queue is a relaxed count, so that only the gate orders it.
fn model() {
    let gate = Arc::new(Gate::new());
    let queue = Arc::new(AtomicUsize::new(0));
    let dispatchers: Vec<_> = (0..2)
        .map(|_| {
            let (gate, queue) = (gate.clone(), queue.clone());
            thread::spawn(move || {
                let accepted = gate.enter();
                if accepted {
                    queue.fetch_add(1, Ordering::Relaxed);
                    gate.leave();
                }
                usize::from(accepted)
            })
        })
        .collect();
    gate.shut();
    let seen = queue.load(Ordering::Relaxed);
    let accepted: usize =
        dispatchers.into_iter().map(|dispatcher| dispatcher.join().unwrap()).sum();
    assert_eq!(seen, accepted, "what was accepted is there when the gate is shut");
}

#[test]
fn who_shuts_the_gate_sees_all_that_was_accepted() {
    holds(3, model);
}

#[test]
fn without_its_fences_a_dispatch_comes_after_the_gate_is_shut() {
    finds(Fault::NoFence, 3, model);
}
