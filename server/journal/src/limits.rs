//! The bounds of a journal.

use std::time::Duration;

/// What a journal holds at most. By the defaults about 66 MiB wait in memory; the pending records
/// lie on the disk, and are in memory in the [`Recovery`](crate::Recovery) of an open only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalLimits {
    /// Appends that may wait for the writer; more are refused. Some 100 bytes each.
    pub queue_max: usize,
    /// Bytes of the payloads that wait; more are refused.
    pub queue_bytes_max: usize,
    /// Appends in one commit.
    pub group_max: usize,
    /// Bytes of one payload.
    pub payload_bytes_max: usize,
    /// Records that may be pending, those that wait included; more are refused.
    pub pending_max: u64,
    /// Dead letters that are kept; beyond it those of the lowest sequences go, and are counted.
    pub dead_max: u64,
    /// How long an ack may wait for a commit to share.
    pub settle_delay: Duration,
}

impl Default for JournalLimits {
    fn default() -> Self {
        JournalLimits {
            queue_max: 16 * 1024,
            queue_bytes_max: 64 * 1024 * 1024,
            group_max: 1024,
            payload_bytes_max: 1024 * 1024,
            pending_max: 1024 * 1024,
            dead_max: 100_000,
            settle_delay: Duration::from_millis(10),
        }
    }
}
