//! What handles and writer share: counters, settlements, the failure.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use crossbeam_queue::SegQueue;

use sidecore_runtime::sys::stderr;

use crate::attempts::AttemptLog;
use crate::command::Settlement;
use crate::error::{AppendError, JournalError};
use crate::limits::JournalLimits;
use crate::notified::WriterNotified;

/// What a journal did since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalStats {
    /// Records made durable.
    pub appended: u64,
    /// Records deleted by an ack.
    pub acked: u64,
    /// Attempts recorded by a retry.
    pub retried: u64,
    /// Records moved to the dead letters.
    pub dead: u64,
    /// Dead letters deleted, as there were more than `dead_max`.
    pub dead_dropped: u64,
    /// Commits, each with an fsync.
    pub commits: u64,
    /// Records pending, those that wait to become durable included.
    pub pending: u64,
    /// Whether a write failed and it takes no more.
    pub poisoned: bool,
}

#[derive(Debug)]
pub(crate) struct JournalShared {
    pub(crate) file: Arc<Path>,
    limits: JournalLimits,
    /// No more appends are taken. Set by `close`. Relaxed: one that slips by is written, or told so
    /// when the channel goes.
    pub(crate) closing: AtomicBool,
    pub(crate) notified: WriterNotified,
    pub(crate) attempts: AttemptLog,
    /// Bounded by the pending records, as each is settled once.
    pub(crate) settlements: SegQueue<Settlement>,
    /// Raised by `reserve`, lowered by the writer, or by an append that the channel refused.
    pending: AtomicU64,
    /// The same of the payloads that wait.
    queued_bytes: AtomicUsize,
    // The writer alone adds to these.
    pub(crate) appended: AtomicU64,
    pub(crate) acked: AtomicU64,
    pub(crate) retried: AtomicU64,
    pub(crate) dead: AtomicU64,
    pub(crate) dead_dropped: AtomicU64,
    pub(crate) commits: AtomicU64,
    /// Why a write failed; set once, by the writer.
    failure: OnceLock<Arc<str>>,
}

impl JournalShared {
    pub(crate) fn new(
        file: PathBuf,
        attempts: AttemptLog,
        pending: u64,
        limits: JournalLimits,
    ) -> Self {
        JournalShared {
            file: file.into(),
            limits,
            closing: AtomicBool::new(false),
            notified: WriterNotified::new(),
            attempts,
            settlements: SegQueue::new(),
            pending: AtomicU64::new(pending),
            queued_bytes: AtomicUsize::new(0),
            appended: AtomicU64::new(0),
            acked: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            dead: AtomicU64::new(0),
            dead_dropped: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            failure: OnceLock::new(),
        }
    }

    /// Takes room for a payload, or gives it back.
    pub(crate) fn reserve(&self, payload: Vec<u8>) -> Result<Vec<u8>, AppendError> {
        let length = payload.len();
        if length > self.limits.payload_bytes_max {
            return Err(AppendError::TooLarge(payload));
        }
        let pending = self.pending.fetch_add(1, Ordering::Relaxed);
        let queued = self.queued_bytes.fetch_add(length, Ordering::Relaxed);
        if pending >= self.limits.pending_max || queued + length > self.limits.queue_bytes_max {
            self.release(1, length);
            return Err(AppendError::Full(payload));
        }
        Ok(payload)
    }

    /// Gives room back: of records that are no longer pending, of bytes that no longer wait.
    pub(crate) fn release(&self, records: u64, bytes: usize) {
        self.pending.fetch_sub(records, Ordering::Relaxed);
        self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// The error that poisoned it.
    pub(crate) fn failure(&self) -> Option<JournalError> {
        self.failure.get().map(|cause| JournalError::poisoned(&self.file, cause))
    }

    /// Poisons it, and says so the first time.
    pub(crate) fn poison(&self, cause: &dyn std::fmt::Display) -> JournalError {
        let mut first = false;
        let cause = self.failure.get_or_init(|| {
            first = true;
            cause.to_string().into()
        });
        let failure = JournalError::poisoned(&self.file, cause);
        if first {
            stderr::line(format_args!("{failure}"));
        }
        failure
    }

    pub(crate) fn stats(&self) -> JournalStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        JournalStats {
            appended: get(&self.appended),
            acked: get(&self.acked),
            retried: get(&self.retried),
            dead: get(&self.dead),
            dead_dropped: get(&self.dead_dropped),
            commits: get(&self.commits),
            pending: get(&self.pending),
            poisoned: self.failure.get().is_some(),
        }
    }
}
