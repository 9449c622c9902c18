//! Shared credits: no more are out than there are, and who takes one sees the end of what it stood
//! for before.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use crate::shared_credits_protocol::SharedCredits;
use crate::sites::{Protocol, each_is_needed};
use crate::{Model, holds};

/// Three threads share one credit, and what only its holder may touch.
fn model() {
    let shared = Arc::new((SharedCredits::new(1), UnsafeCell::new(0)));
    let hold = |shared: &(SharedCredits, UnsafeCell<u32>)| {
        if shared.0.take() {
            // SAFETY: loom reports an access that is not ordered against every other.
            shared.1.with_mut(|held| unsafe { *held += 1 });
            shared.0.give_back();
        }
    };
    let threads = [0, 1].map(|_| {
        let shared = shared.clone();
        thread::spawn(move || hold(&shared))
    });
    hold(&shared);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(shared.0.take() && !shared.0.take(), "credits are conserved");
}

const MODEL: Model = Model::new(3, model);

const PROTOCOL: Protocol =
    Protocol { file: "runtime/src/pool/shared/shared_credits.rs", models: &[MODEL] };

#[test]
fn a_credit_is_held_by_one_at_a_time() {
    holds(MODEL);
}

#[test]
fn each_ordering_is_needed() {
    each_is_needed(&PROTOCOL);
}
