//! A job as a durable pool's queue holds it.

use sidecore_journal::Sequence;
use sidecore_runtime::pool::Retry;

/// A job and its record. Made by [`DurableTasks`](crate::durable::DurableTasks) and the redelivery alone.
#[derive(Clone, Debug)]
pub struct Entry<J> {
    pub(super) job: J,
    pub(super) sequence: Sequence,
    /// Of its attempts over all lives of the process.
    pub(super) retry: Option<Retry>,
}

impl<J> Entry<J> {
    /// The job.
    pub fn job(&self) -> &J {
        &self.job
    }

    /// The number of its record in the journal: it stays the same over restarts.
    pub fn sequence(&self) -> Sequence {
        self.sequence
    }
}
