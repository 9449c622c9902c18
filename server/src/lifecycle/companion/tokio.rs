//! The companion's thread and its runtime.

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use sidecore_runtime::machine::cpu_list::CpuList;
use sidecore_runtime::machine::placement::Placement;
use sidecore_runtime::machine::topology::{Topology, run_on};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

use crate::lifecycle::companion::Companion;
use crate::lifecycle::error::{Error, Result};
use crate::lifecycle::shutdown::{RaiseOnDrop, Shutdown};

/// Threads for what blocks: `spawn_blocking`, files, the look-up of names. More calls wait in
/// tokio's queue, which has no bound of its own.
const BLOCKING_THREADS_MAX: usize = 64;
/// How long the end waits for blocking calls that have begun.
const END_LIMIT: Duration = Duration::from_secs(1);
/// How long it waits for spawned futures before that. They are to say good-bye, no more: one that
/// goes on for ever, as many do, costs each end this time.
const LAST_TURNS_LIMIT: Duration = Duration::from_millis(100);
/// Between two looks whether there are any.
const LAST_TURN: Duration = Duration::from_millis(1);

/// Starts the thread and waits until its runtime runs.
pub(crate) fn start(
    topology: &Topology,
    placement: &Placement,
    shutdown: &Shutdown,
) -> Result<Companion> {
    let cpus = cpus(topology, placement);
    let place = format!("companion on CPUs {cpus}, for what needs tokio");
    let (end, ended) = oneshot::channel::<Infallible>();
    let (tell, told) = mpsc::channel();
    let ended_early = RaiseOnDrop(shutdown.clone());
    let thread = thread::Builder::new()
        .name("companion".to_owned())
        .spawn(move || {
            // Nothing that needs tokio works without it. Its good end comes after the shutdown.
            let _ended_early = ended_early;
            let runtime = match build(cpus) {
                Ok(runtime) => runtime,
                Err(error) => return drop(tell.send(Err(error))),
            };
            let _ = tell.send(Ok(runtime.handle().clone()));
            // Ends with an error as the last sender is dropped: nobody holds the companion.
            let _ = runtime.block_on(ended);
            runtime.block_on(last_turns(runtime.handle()));
            runtime.shutdown_timeout(END_LIMIT);
        })
        .map_err(failed)?;
    let handle: Handle =
        told.recv().unwrap_or(Err(io::ErrorKind::BrokenPipe.into())).map_err(failed)?;
    let within = Arc::new(move |run: &mut dyn FnMut()| {
        let _kept = &end;
        let _entered = handle.enter();
        run();
    });
    Ok(Companion { within, thread, place })
}

/// Lets what was spawned end by itself, as far as it does so soon: a future that drives a database's
/// connection takes leave of the server when its client is gone, and clients go with the executors.
async fn last_turns(handle: &Handle) {
    let start = Instant::now();
    while handle.metrics().num_alive_tasks() > 0 && start.elapsed() < LAST_TURNS_LIMIT {
        tokio::time::sleep(LAST_TURN).await;
    }
}

/// The runtime, on this thread and within these CPUs. Threads for blocking calls are started by
/// whoever calls first, as a rule a pinned executor, whose mask they would inherit.
fn build(cpus: CpuList) -> io::Result<Runtime> {
    run_on(&cpus)?;
    Builder::new_current_thread()
        .enable_all()
        .thread_name("companion-io")
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .on_thread_start(move || {
            // The mask was right for the companion; it has changed since, if it is wrong now.
            let _ = run_on(&cpus);
        })
        .build()
}

/// The CPUs that are no executor's, for the kernel to choose among; all where executors have all.
/// None is its own: it sleeps most of the time, as task workers may.
fn cpus(topology: &Topology, placement: &Placement) -> CpuList {
    let usable = || topology.usable().map(|cpu| cpu.id);
    let spare: CpuList = usable().filter(|cpu| !placement.executors.contains(cpu)).collect();
    match spare.is_empty() {
        true => usable().collect(),
        false => spare,
    }
}

fn failed(cause: io::Error) -> Error {
    Error::io("the companion (`with_tokio`) could not start its thread and tokio's runtime", cause)
}
