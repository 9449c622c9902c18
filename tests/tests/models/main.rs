//! Models of the lock-free protocols: loom runs the very source files of the runtime and the
//! journal, through every interleaving and every value that the memory model allows.
//!
//! The files are compiled here against a module `sync` of loom's types. Each protocol has seeded
//! faults, which that module commits when told to: a fence that is none, a swap that orders
//! nothing or is torn. The model must find each of them, or it proves nothing.

mod afar;
mod armed;
mod beats;
mod capture;
mod control;
mod credits;
mod gate;
mod notified;
mod owed;
mod park;
mod published;
mod purse;
mod queue;
mod roster;
mod running;
mod schedule;
mod sites;
mod sync;

#[allow(dead_code, rustdoc::broken_intra_doc_links)]
#[path = "../../../runtime/src/pool/afar.rs"]
mod afar_protocol;
#[allow(dead_code)]
#[path = "../../../runtime/src/armed.rs"]
mod armed_protocol;
#[allow(dead_code)]
#[path = "../../../runtime/src/pool/beats.rs"]
mod beats_protocol;
#[allow(dead_code)]
#[path = "../../../runtime/src/pool/stack/capture.rs"]
mod capture_protocol;
#[allow(dead_code, unreachable_pub)]
#[path = "../../../runtime/src/pool/control.rs"]
mod control_protocol;
#[allow(dead_code)]
#[path = "../../../runtime/src/pool/gate.rs"]
mod gate_protocol;
#[allow(dead_code)]
#[path = "../../../server/journal/src/notified.rs"]
mod notified_protocol;
#[allow(dead_code)]
#[path = "../../../runtime/src/pool/owed.rs"]
mod owed_protocol;
#[allow(dead_code)]
#[path = "../../../runtime/src/pool/park.rs"]
mod park_protocol;
#[allow(dead_code, unreachable_pub)]
#[path = "../../../runtime/src/published.rs"]
mod published_protocol;
#[allow(dead_code)]
#[path = "../../../runtime/src/pool/purse.rs"]
mod purse_protocol;
#[allow(dead_code)]
#[path = "../../../runtime/src/pool/roster.rs"]
mod roster_protocol;
#[allow(dead_code)]
#[path = "../../../runtime/src/pool/running.rs"]
mod running_protocol;
#[allow(dead_code)]
#[path = "../../../runtime/src/executor/schedule.rs"]
mod schedule_protocol;

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
