//! Models of the lock-free protocols: loom runs the very source files of the runtime and the
//! journal, through every interleaving and every value that the memory model allows.
//!
//! The files are compiled here against a module `sync` of loom's types. Each protocol has seeded
//! faults, which that module commits when told to: a fence that is none, a swap that orders
//! nothing or is torn. The model must find each of them, or it proves nothing.

mod afar;
mod armed;
mod capture;
mod control;
mod credits;
mod gate;
mod park;
mod queue;
mod roster;
mod running;
mod schedule;
mod sync;
mod told;

#[allow(dead_code, rustdoc::broken_intra_doc_links)]
#[path = "../../../runtime/src/pool/afar.rs"]
mod afar_protocol;
#[allow(dead_code)]
#[path = "../../../runtime/src/armed.rs"]
mod armed_protocol;
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
#[path = "../../../runtime/src/pool/park.rs"]
mod park_protocol;
#[allow(dead_code)]
#[path = "../../../runtime/src/pool/roster.rs"]
mod roster_protocol;
#[allow(dead_code)]
#[path = "../../../runtime/src/pool/running.rs"]
mod running_protocol;
#[allow(dead_code)]
#[path = "../../../runtime/src/executor/schedule.rs"]
mod schedule_protocol;
#[allow(dead_code)]
#[path = "../../../server/src/journal/told.rs"]
mod told_protocol;

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sync::Fault;

/// Set in the process of its own that runs a model with a seeded fault.
const FAULTY: &str = "SIDECORE_TEST_FAULTY_MODEL";

/// Runs a model to its end; there must have been something to explore.
fn holds(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let runs = explore(Fault::None, preemptions, model);
    assert!(runs > 1, "only one interleaving was explored");
}

/// Runs a model with a seeded fault, which must be found: as a deadlock, a data race or a failed
/// assertion.
///
/// In a process of its own, since loom may abort when it unwinds threads that wait for ever.
fn finds(fault: Fault, preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let test = std::thread::current().name().expect("tests have names").to_owned();
    if std::env::var_os(FAULTY).is_some() {
        explore(fault, preemptions, model);
        return;
    }
    let mut command = Command::new(std::env::current_exe().expect("this binary has a path"));
    command.args([&test, "--exact", "--nocapture", "--test-threads=1"]).env(FAULTY, "1");
    let output = command.stdin(Stdio::null()).output().expect("this binary runs");
    let text = String::from_utf8_lossy(&output.stderr);
    let found = ["deadlock; threads", "Causality violation", "panicked at tests/tests/"]
        .into_iter()
        .any(|sign| text.contains(sign));
    assert!(!output.status.success() && found, "the seeded fault {fault:?} was not found: {text}");
}

fn explore(fault: Fault, preemptions: usize, model: impl Fn() + Send + Sync + 'static) -> usize {
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = runs.clone();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 50_000;
    // All threads of a model are coroutines of this one, so a thread-local reaches them.
    sync::commit(fault);
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        model();
    });
    runs.load(Ordering::Relaxed)
}
