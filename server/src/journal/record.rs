//! A record, and the check sum that covers all of it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crc32fast::Hasher;

/// A record's number: strictly increasing in a journal, never used twice, from 1.
pub type Sequence = u64;

/// What is kept of a record besides its payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Its priority; the journal only keeps it.
    pub priority: i32,
    /// When it may run, to the millisecond; `None` for at once.
    pub due_at: Option<SystemTime>,
}

/// A pending record, as it was found at an open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub sequence: Sequence,
    /// What was appended.
    pub payload: Vec<u8>,
    /// Attempts so far, at most.
    pub attempts: u32,
    /// As appended.
    pub priority: i32,
    /// As appended, or as the last retry said.
    pub due_at: Option<SystemTime>,
}

/// A record that was given up, or whose check sum did not match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its number.
    pub sequence: Sequence,
    /// What was appended.
    pub payload: Vec<u8>,
    /// Attempts it had.
    pub attempts: u32,
    /// As appended.
    pub priority: i32,
    /// Why it was given up.
    pub reason: String,
    /// When.
    pub died_at: SystemTime,
}

/// The columns of a row but its payload, as SQLite holds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) sequence: i64,
    pub(super) priority: i32,
    pub(super) due_at_ms: Option<i64>,
    /// The run of the process in which `attempts` was written.
    pub(super) run: i64,
    /// Attempts before that run.
    pub(super) attempts: u32,
}

impl Header {
    /// The row's check sum: the payload's in the upper half, in the lower the header's and that,
    /// so that a retry can write a new one without reading the payload.
    pub(super) fn check_sum(&self, payload: u32) -> i64 {
        let mut hasher = Hasher::new();
        hasher.update(&self.sequence.to_le_bytes());
        hasher.update(&self.priority.to_le_bytes());
        hasher.update(&[u8::from(self.due_at_ms.is_some())]);
        hasher.update(&self.due_at_ms.unwrap_or(0).to_le_bytes());
        hasher.update(&self.run.to_le_bytes());
        hasher.update(&self.attempts.to_le_bytes());
        hasher.update(&payload.to_le_bytes());
        (i64::from(payload) << 32) | i64::from(hasher.finalize())
    }

    /// Attempts until the run `run` began.
    pub(super) fn attempts_at(&self, run: i64) -> u32 {
        let runs = u32::try_from(run.saturating_sub(self.run).max(0)).unwrap_or(u32::MAX);
        self.attempts.saturating_add(runs)
    }
}

/// The payload's part of a row's check sum.
pub(super) fn payload_part(check_sum: i64) -> u32 {
    (check_sum >> 32) as u32
}

/// Milliseconds since 1970; an earlier time is 1970.
pub(super) fn to_ms(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn from_ms(ms: i64) -> SystemTime {
    let since = Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
}
