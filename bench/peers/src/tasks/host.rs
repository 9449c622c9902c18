//! The runtimes on which producers run, as far as measurements need them, and where all run.

use std::future::Future;
use std::time::Duration;

use sidecore_runtime::executor;

/// Who runs where.
#[derive(Clone, Copy)]
pub(crate) struct Cpus {
    /// The thread that hands jobs over and awaits their outputs.
    pub(crate) producer: usize,
    /// The thread that runs them.
    pub(crate) worker: usize,
}

/// Pins the calling thread.
pub(crate) fn pin(cpu: usize) {
    assert!(
        core_affinity::set_for_current(core_affinity::CoreId { id: cpu }),
        "CPU {cpu} is not there or not permitted"
    );
}

/// The runtime of the thread that calls.
pub(crate) trait Host: 'static {
    /// Runs a future on this thread, beside the caller.
    fn spawn(future: impl Future<Output = ()> + Send + 'static);
    /// Lets the others run.
    fn yield_now() -> impl Future<Output = ()> + Send;
    /// Waits on the runtime's own timer.
    fn sleep(duration: Duration) -> impl Future<Output = ()>;
}

/// tokio's current-thread runtime.
pub(crate) struct Tokio;

/// An executor of sidecore.
pub(crate) struct Executor;

impl Host for Tokio {
    fn spawn(future: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(future);
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        tokio::task::yield_now()
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> {
        tokio::time::sleep(duration)
    }
}

impl Host for Executor {
    fn spawn(future: impl Future<Output = ()> + Send + 'static) {
        executor::spawn_local(future);
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        executor::yield_now()
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> {
        executor::sleep(duration)
    }
}
