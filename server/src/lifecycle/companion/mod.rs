//! The companion: a thread that runs tokio's drivers beside the executors, for what needs them.
//!
//! ```text
//!  companion    current_thread runtime: timers, sockets, tokio::spawn     ── wakes ──┐
//!  exec-0..     the handle of that runtime is entered for the thread's whole life  ◄─┘
//! ```
//!
//! Futures that executors poll find the runtime by the thread that polls them, so they make its
//! timers and sockets, wait for them here and are woken across threads. What they hand to
//! `tokio::spawn` runs on the companion itself.
//!
//! It starts before the executors. Each of them holds it ([`Companion::within`]) until the last
//! future on its thread is dropped, and it ends when nobody holds it any more: a timer of tokio
//! that outlives its runtime panics.

use std::sync::Arc;
use std::thread::JoinHandle;

use sidecore_runtime::machine::placement::Placement;
use sidecore_runtime::machine::topology::Topology;
use sidecore_runtime::sys::panics;

use crate::lifecycle::error::Result;
use crate::lifecycle::shutdown::Shutdown;

#[cfg(feature = "tokio")]
mod tokio;

#[cfg(feature = "tokio")]
pub(crate) use crate::lifecycle::companion::tokio::start;

/// Starts a companion, where a server has one.
pub(crate) type StartCompanion = fn(&Topology, &Placement, &Shutdown) -> Result<Companion>;

/// Runs what it is given with the companion entered on the thread.
pub(crate) type Within = Arc<dyn Fn(&mut dyn FnMut()) + Send + Sync>;

/// A running companion.
pub(crate) struct Companion {
    within: Within,
    thread: JoinHandle<()>,
    /// Its start-up line.
    pub(crate) place: String,
}

impl Companion {
    /// What a thread shall run in to find the companion; holding it keeps the companion alive.
    pub(crate) fn within(&self) -> Within {
        self.within.clone()
    }

    /// Ends it, once all others that hold it have let go, and waits for that. The error: it has
    /// panicked, and the shutdown was raised then.
    pub(crate) fn end(self) -> std::result::Result<(), String> {
        drop(self.within);
        self.thread
            .join()
            .map_err(|payload| format!("the companion panicked: {}", panics::message(payload)))
    }
}

/// Where there is no companion.
pub(crate) fn without() -> Within {
    Arc::new(|run| run())
}
