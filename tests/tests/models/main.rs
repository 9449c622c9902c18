//! Models of the lock-free protocols: loom runs the very source files of the runtime and the
//! journal, through every interleaving and every value that the memory model allows.
//!
//! The files are compiled here against a module `sync` of loom's types. Each protocol has seeded
//! faults, which that module commits when told to: a fence that is none, a swap that orders
//! nothing or is torn. The model must find each of them, or it proves nothing.

mod armed;
mod capture;
mod close_barrier;
mod control;
mod credits;
mod heartbeat_state;
mod notified;
mod park;
mod published;
mod queue;
mod running;
mod schedule;
mod shared_credits;
mod sites;
mod sleepers;
mod steal;
mod sync;
mod wake_batch;

#[allow(dead_code)]
#[path = "../../../runtime/src/sys/armed.rs"]
mod armed_protocol;
#[allow(dead_code)]
#[path = "../../../runtime/src/stack/capture.rs"]
mod capture_protocol;
#[allow(dead_code)]
#[path = "../../../runtime/src/pool/shared/close_barrier.rs"]
mod close_barrier_protocol;
#[allow(dead_code, unreachable_pub)]
#[path = "../../../runtime/src/pool/task/control.rs"]
mod control_protocol;
#[allow(dead_code)]
#[path = "../../../runtime/src/pool/wake/heartbeat_state.rs"]
mod heartbeat_state_protocol;
#[allow(dead_code)]
#[path = "../../../server/journal/src/notified.rs"]
mod notified_protocol;
#[allow(dead_code)]
#[path = "../../../runtime/src/pool/wake/park.rs"]
mod park_protocol;
#[allow(dead_code, unreachable_pub)]
#[path = "../../../runtime/src/sys/published.rs"]
mod published_protocol;
#[allow(dead_code)]
#[path = "../../../runtime/src/pool/stats/running.rs"]
mod running_protocol;
#[allow(dead_code)]
#[path = "../../../runtime/src/executor/schedule.rs"]
mod schedule_protocol;
#[allow(dead_code)]
#[path = "../../../runtime/src/pool/shared/shared_credits.rs"]
mod shared_credits_protocol;
#[allow(dead_code)]
#[path = "../../../runtime/src/pool/wake/sleepers.rs"]
mod sleepers_protocol;
#[allow(dead_code, rustdoc::broken_intra_doc_links)]
#[path = "../../../runtime/src/pool/queue/steal.rs"]
mod steal_protocol;
#[allow(dead_code)]
#[path = "../../../runtime/src/pool/lane/wake_batch.rs"]
mod wake_batch_protocol;

/// The room of the runtime from which its protocols have their atomics.
mod sys {
    pub(crate) use crate::sync;

    pub(crate) mod armed {
        pub(crate) use crate::armed_protocol::Armed;
    }
}

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sync::Fault;

/// A model, and how often a thread of it may be interrupted where it could go on.
#[derive(Clone, Copy)]
struct Model {
    preemptions: usize,
    run: fn(),
}

impl Model {
    const fn new(preemptions: usize, run: fn()) -> Self {
        Model { preemptions, run }
    }
}

/// Names the fault, in the process of its own that runs a model with one.
const SEEDED: &str = "SIDECORE_TEST_SEEDED_FAULT";

/// Runs a model to its end; there must have been something to explore.
fn holds(model: Model) {
    let runs = explore(Fault::None, model, usize::MAX);
    assert!(runs > 1, "only one interleaving was explored");
}

/// Runs a model with a seeded fault, which must be found.
fn finds(fault: Fault, model: Model) {
    if seeded().is_some() {
        explore(fault, model, usize::MAX);
        return;
    }
    let (found, text) = is_found(&format!("{fault:?}"));
    assert!(found, "the seeded fault {fault:?} was not found: {text}");
}

/// The fault that this process is to commit.
fn seeded() -> Option<String> {
    std::env::var(SEEDED).ok()
}

/// Whether the calling test fails in a process with that fault, as a deadlock, a data race or an
/// assertion of a model; and what that process has said.
///
/// In a process of its own, since loom may abort when it unwinds threads that wait for ever.
fn is_found(fault: &str) -> (bool, String) {
    let test = std::thread::current().name().expect("tests have names").to_owned();
    let mut command = Command::new(std::env::current_exe().expect("this binary has a path"));
    command.args([&test, "--exact", "--nocapture", "--test-threads=1"]).env(SEEDED, fault);
    let output = command.stdin(Stdio::null()).output().expect("this binary runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let found = ["deadlock; threads", "Causality violation", "panicked at tests/tests/"]
        .into_iter()
        .any(|sign| text.contains(sign));
    assert_eq!(found, !output.status.success(), "neither found nor left: {text}");
    (found, text)
}

/// Runs a model, until all is seen or so many executions were; returns how many.
fn explore(fault: Fault, model: Model, limit: usize) -> usize {
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = runs.clone();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(model.preemptions);
    builder.max_branches = 50_000;
    builder.max_permutations = Some(limit);
    builder.checkpoint_interval = 1_000;
    // All threads of a model are coroutines of this one, so a thread-local reaches them.
    sync::commit(fault);
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        (model.run)();
    });
    runs.load(Ordering::Relaxed)
}
