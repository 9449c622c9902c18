//! The gate: a dispatch that came through is seen by who has shut it, and none follows.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::close_barrier_protocol::CloseBarrier;
use crate::sites::{Protocol, each_is_needed};
use crate::{Model, holds};

/// Two dispatchers; the queue is a relaxed count, so that only the gate orders it.
fn model() {
    let close_barrier = Arc::new(CloseBarrier::new());
    let queue = Arc::new(AtomicUsize::new(0));
    let dispatchers: Vec<_> = (0..2)
        .map(|_| {
            let (close_barrier, queue) = (close_barrier.clone(), queue.clone());
            thread::spawn(move || {
                let accepted = close_barrier.enter();
                if accepted {
                    queue.fetch_add(1, Ordering::Relaxed);
                    close_barrier.leave();
                }
                usize::from(accepted)
            })
        })
        .collect();
    close_barrier.shut();
    let seen = queue.load(Ordering::Relaxed);
    let accepted: usize =
        dispatchers.into_iter().map(|dispatcher| dispatcher.join().unwrap()).sum();
    assert_eq!(seen, accepted, "what was accepted is there when the close_barrier is shut");
}

const MODEL: Model = Model::new(3, model);

const PROTOCOL: Protocol =
    Protocol { file: "runtime/src/pool/shared/close_barrier.rs", models: &[MODEL] };

#[test]
fn who_shuts_the_gate_sees_all_that_was_accepted() {
    holds(MODEL);
}

#[test]
fn each_ordering_is_needed() {
    each_is_needed(&PROTOCOL);
}
