//! What became of an event, and what went wrong with a listener.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use sidecore_runtime::pool::{DispatchError, Failure};

/// What became of one raised event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Raised {
    /// Listeners that were called and did not fail.
    pub called: u64,
    /// Listeners whose task was accepted.
    pub deferred: u64,
    /// The others.
    pub faults: Faults,
}

/// How often listeners did not hear an event, or failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Tasks of listeners that the pool did not accept.
    pub refused: u64,
    /// Listeners that failed where the event was raised.
    pub failed: u64,
    /// Listeners that panicked there.
    pub panicked: u64,
}

/// What was wrong with one listener and one event.
#[derive(Debug)]
pub struct Fault {
    /// The event's type, as the compiler names it.
    pub event: &'static str,
    /// Which listener: its place among those of this type, from 0.
    pub listener: usize,
    /// What was wrong.
    pub cause: Cause,
}

/// Why a listener did not hear an event, or failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Cause {
    /// The pool did not accept its task.
    Refused(DispatchError<()>),
    /// It failed.
    Failed(Failure),
    /// It panicked, with this message.
    Panicked(String),
}

/// Only a listener that goes wrong writes here: executors do not contend for it.
#[derive(Default)]
pub(crate) struct FaultCounters {
    refused: AtomicU64,
    failed: AtomicU64,
    panicked: AtomicU64,
}

impl FaultCounters {
    pub(crate) fn read(&self) -> Faults {
        let FaultCounters { refused, failed, panicked } = self;
        Faults {
            refused: refused.load(Ordering::Relaxed),
            failed: failed.load(Ordering::Relaxed),
            panicked: panicked.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn count(&self, cause: &Cause) {
        let counter = match cause {
            Cause::Refused(_) => &self.refused,
            Cause::Failed(_) => &self.failed,
            Cause::Panicked(_) => &self.panicked,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl Faults {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.refused + self.failed + self.panicked
    }

    pub(crate) fn count(&mut self, cause: &Cause) {
        match cause {
            Cause::Refused(_) => self.refused += 1,
            Cause::Failed(_) => self.failed += 1,
            Cause::Panicked(_) => self.panicked += 1,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { event, listener, cause } = self;
        write!(f, "listener {listener} of {event}: {cause}")
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Refused(refused) => write!(f, "its task was refused: {refused}"),
            Cause::Failed(failure) => write!(f, "it failed: {failure}"),
            Cause::Panicked(message) => write!(f, "it panicked: {message}"),
        }
    }
}

impl std::error::Error for Fault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.cause {
            Cause::Refused(refused) => Some(refused),
            Cause::Failed(failure) => Some(failure),
            Cause::Panicked(_) => None,
        }
    }
}
