//! What a durable pool has done.

use sidecore_journal::JournalStats;

/// The counters of a durable pool, since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DurableStats {
    /// Jobs made durable.
    pub appended: u64,
    /// Records of earlier lives of the process that were dispatched again.
    pub redelivered: u64,
    /// Such records that became dead letters instead: unreadable, or with too many attempts.
    pub given_up: u64,
    /// Such records that are still to be dispatched, delayed ones included.
    pub backlog: u64,
    /// Records whose task is over and that are gone from the journal.
    pub acked: u64,
    /// Records that became dead letters, those of `given_up` included.
    pub dead: u64,
    /// Records that are in the journal: what would be redelivered if the process ended now.
    pub kept: u64,
    /// The journal's own counters.
    pub journal: JournalStats,
}
