//! What became of a server's tasks, told at its end.

use sidecore_runtime::pool::Outcomes;
use std::fmt;

use crate::tasks::pool_start::Ended;

/// What became of the tasks of a server that has ended. The parts add up to `accepted`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Tasks that were accepted.
    pub accepted: u64,
    /// Tasks whose output was delivered.
    pub finished: u64,
    /// Tasks whose job failed, at its last attempt.
    pub failed: u64,
    /// Tasks that panicked.
    pub panicked: u64,
    /// Tasks whose deadline passed.
    pub timed_out: u64,
    /// Tasks that were cancelled.
    pub cancelled: u64,
    /// Tasks of durable pools that were not delivered when the drain's time was over: they are run
    /// at the next start.
    pub kept: u64,
    /// Tasks that were accepted and not delivered when the drain's time was over.
    pub lost: u64,
}

impl Report {
    pub(crate) fn add(&mut self, ended: &Ended) {
        let Ended { counters, kept } = ended;
        let Outcomes { finished, failed, panicked, timed_out, cancelled, lost } = counters.outcomes;
        self.accepted += counters.accepted;
        self.finished += finished;
        self.failed += failed;
        self.panicked += panicked;
        self.timed_out += timed_out;
        self.cancelled += cancelled;
        self.kept += kept;
        self.lost += lost + counters.outstanding() - kept;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { accepted, finished, failed, panicked, timed_out, cancelled, kept, lost } =
            self;
        write!(
            f,
            "accepted={accepted} finished={finished} failed={failed} panicked={panicked} \
             timed_out={timed_out} cancelled={cancelled} kept={kept} lost={lost}"
        )
    }
}
