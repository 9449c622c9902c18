//! A job as a durable pool's queue holds it.

use crate::journal::Sequence;

/// A job and its record. Made by [`DurableTasks`](super::DurableTasks) and the redelivery alone.
#[derive(Clone, Debug)]
pub struct Entry<J> {
    pub(super) job: J,
    pub(super) sequence: Sequence,
    /// Attempts after the first, over all lives of the process.
    pub(super) retries: u32,
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
