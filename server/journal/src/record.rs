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
    /// In how long it may run, to the millisecond and from the append on; `None` for at once.
    pub due_in: Option<Duration>,
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
    /// What is left of the time that the append or the last retry said, from the open on; `None`
    /// where it has passed. Never longer than that time was, wherever the clock was set since.
    pub due_in: Option<Duration>,
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
pub(crate) struct Header {
    pub(crate) sequence: i64,
    pub(crate) priority: i32,
    pub(crate) due: Option<Due>,
    /// Those that ended and will be followed by another, or that an end of the process cut off.
    pub(crate) attempts: u32,
}

/// When a record may run: by the wall clock, which alone goes on while no process runs, and how far
/// off that was, which bounds it should the clock be set back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) at_ms: i64,
    pub(crate) pause_ms: i64,
}

impl Due {
    pub(crate) fn after(pause: Duration) -> Self {
        // Rounded up, so that it is never early.
        let pause_ms = i64::try_from(pause.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX);
        Due { at_ms: to_ms(SystemTime::now()).saturating_add(pause_ms), pause_ms }
    }

    /// None: it has passed.
    pub(crate) fn left(self, now: SystemTime) -> Option<Duration> {
        let left_ms = self.at_ms.saturating_sub(to_ms(now)).min(self.pause_ms);
        u64::try_from(left_ms).ok().filter(|left| *left > 0).map(Duration::from_millis)
    }
}

impl Header {
    /// The row's check sum: the payload's in the upper half, in the lower the header's and that,
    /// so that a retry can write a new one without reading the payload.
    pub(crate) fn check_sum(&self, payload: u32) -> i64 {
        let mut hasher = Hasher::new();
        hasher.update(&self.sequence.to_le_bytes());
        hasher.update(&self.priority.to_le_bytes());
        hasher.update(&[u8::from(self.due.is_some())]);
        hasher.update(&self.due.map_or(0, |due| due.at_ms).to_le_bytes());
        hasher.update(&self.due.map_or(0, |due| due.pause_ms).to_le_bytes());
        hasher.update(&self.attempts.to_le_bytes());
        hasher.update(&payload.to_le_bytes());
        (i64::from(payload) << 32) | i64::from(hasher.finalize())
    }
}

/// The payload's part of a row's check sum.
pub(crate) fn payload_part(check_sum: i64) -> u32 {
    (check_sum >> 32) as u32
}

/// Milliseconds since 1970; an earlier time is 1970.
pub(crate) fn to_ms(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

pub(crate) fn from_ms(ms: i64) -> SystemTime {
    let since = Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
}
