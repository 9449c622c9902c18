//! The handle: what a user does with an open journal.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use sidecore_runtime::sys::instant;

use crate::command::{Append, Command, Completion, Outcome, Settlement};
use crate::error::{AppendError, JournalError};
use crate::limits::JournalLimits;
use crate::paths::Paths;
use crate::record::{DeadLetter, Due, Meta, Sequence};
use crate::recovery::{self, Recovery};
use crate::shared::{JournalShared, JournalStats};
use crate::writer::Writer;

/// Between two tries to tell a writer whose channel is full that it shall close.
const CLOSE_RETRY: Duration = Duration::from_millis(1);

/// An open journal. Cheap to clone; used from any thread, and never waits but in
/// [`open`](Journal::open) and [`close`](Journal::close).
///
/// When the last handle is dropped, the thread closes the journal on its own.
#[derive(Clone, Debug)]
pub struct Journal {
    shared: Arc<JournalShared>,
    commands: SyncSender<Command>,
}

impl Journal {
    /// Opens or creates `<name>.sqlite` in `directory`, and returns what is pending in it.
    ///
    /// A name holds letters, digits, `-` and `_`. Of all processes one may have a journal open.
    ///
    /// # Errors
    /// [`JournalError`]: the name is none, somebody has the journal open, or its files cannot be read
    /// or made.
    pub fn open(
        directory: &Path,
        name: &str,
        limits: JournalLimits,
    ) -> Result<(Journal, Recovery), JournalError> {
        let paths = Paths::new(directory, name)?;
        let (store, mark, attempts, recovery) = recovery::open(&paths)?;
        let pending = recovery.pending.len() as u64;
        let shared =
            Arc::new(JournalShared::new(paths.database.clone(), attempts, pending, limits));
        let (commands, received) = sync_channel(limits.queue_max.max(1));
        let writer = Writer::new(store, mark, received, shared.clone(), limits);
        let poisoned = shared.clone();
        thread::Builder::new()
            .name(format!("journal-{name}"))
            .spawn(move || {
                // It has no code of the user's; should it panic all the same, who appends is told.
                if sidecore_runtime::sys::panics::catch(|| writer.run()).is_none() {
                    poisoned.poison(&"its thread has panicked");
                }
            })
            .map_err(|cause| JournalError::io("start the thread of", &paths.database, cause))?;
        Ok((Journal { shared, commands }, recovery))
    }

    /// Makes a record durable, then calls `done` with its sequence, on the journal's thread.
    ///
    /// `done` is called once if this returns `Ok`, and never otherwise. It shall be short; a panic
    /// in it is caught and reported.
    ///
    /// # Errors
    /// [`AppendError`], which has the payload.
    pub fn append(
        &self,
        payload: Vec<u8>,
        meta: Meta,
        done: impl FnOnce(Result<Sequence, JournalError>) + Send + 'static,
    ) -> Result<(), AppendError> {
        if let Some(failure) = self.shared.failure() {
            return Err(AppendError::Poisoned(payload, failure));
        }
        if self.shared.closing.load(Ordering::Relaxed) {
            return Err(AppendError::Closed(payload));
        }
        let payload = self.shared.reserve(payload)?;
        let Meta { priority, due_in } = meta;
        let (due, done) = (due_in.map(Due::after), Completion::new(done));
        let command = Command::Append(Append { payload, priority, due, done });
        let (refused, full) = match self.commands.try_send(command) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Full(refused)) => (refused, true),
            Err(TrySendError::Disconnected(refused)) => (refused, false),
        };
        let payload = refused.into_refused_payload();
        self.shared.release(1, payload.len());
        Err(if full { AppendError::Full(payload) } else { AppendError::Closed(payload) })
    }

    /// An attempt of a record begins, on this thread: its number, from 1 over all lives of the
    /// process. Should the process end before the record is settled, the next open counts so many.
    ///
    /// One small write into the page cache, which waits for no disk.
    pub fn begin(&self, sequence: Sequence, attempt: u32) {
        self.shared.attempts.record(sequence, attempt);
    }

    /// The record was dealt with: it is deleted, some milliseconds later.
    ///
    /// Once a record: a sequence that is not pending is ignored.
    pub fn ack(&self, sequence: Sequence) {
        self.settle(Settlement { sequence, outcome: Outcome::Ack });
    }

    /// The attempt under way failed and another will come, in so long or at once: counted, and
    /// remembered beyond a crash.
    pub fn retry(&self, sequence: Sequence, due_in: Option<Duration>) {
        let outcome = Outcome::Retry { due: due_in.map(Due::after) };
        self.settle(Settlement { sequence, outcome });
    }

    /// The attempt under way was the last: the record moves to the dead letters with the attempts it
    /// had, this one too.
    pub fn dead(&self, sequence: Sequence, reason: impl Into<String>) {
        self.move_to_dead_letters(sequence, reason.into(), 1);
    }

    /// The record is not attempted any more: it moves to the dead letters with the attempts it had.
    pub fn give_up(&self, sequence: Sequence, reason: impl Into<String>) {
        self.move_to_dead_letters(sequence, reason.into(), 0);
    }

    fn move_to_dead_letters(&self, sequence: Sequence, reason: String, further_attempts: u32) {
        let outcome = Outcome::Dead { reason, at: SystemTime::now(), further_attempts };
        self.settle(Settlement { sequence, outcome });
    }

    /// Reads up to `max` dead letters with sequences above `after`, and calls `done` with them on
    /// the journal's thread; with an error at once, on this one, if too much waits for the journal.
    pub fn dead_letters(
        &self,
        after: Sequence,
        max: usize,
        done: impl FnOnce(Result<Vec<DeadLetter>, JournalError>) + Send + 'static,
    ) {
        let command = Command::DeadLetters { after, max, done: Completion::new(done) };
        if let Err(TrySendError::Full(Command::DeadLetters { done, .. })) =
            self.commands.try_send(command)
        {
            done.call(Err(JournalError::busy()));
        }
    }

    /// Makes all that was appended and settled before durable, closes the files and gives the lock
    /// back. An attempt that is under way counts at the next open.
    ///
    /// After `deadline` it returns an error while the thread goes on.
    ///
    /// # Errors
    /// [`JournalError`], where it does not close in time, or a write has failed.
    pub fn close(&self, deadline: Duration) -> Result<(), JournalError> {
        let end = instant::after(deadline);
        self.shared.closing.store(true, Ordering::Relaxed);
        let (reply, replied) = sync_channel(1);
        let mut command = Command::Close { reply };
        loop {
            match self.commands.try_send(command) {
                Ok(()) => break,
                Err(TrySendError::Disconnected(_)) => return Err(JournalError::closed()),
                Err(TrySendError::Full(refused)) => command = refused,
            }
            if Instant::now() >= end {
                return Err(JournalError::deadline(&self.shared.file));
            }
            thread::sleep(CLOSE_RETRY);
        }
        match replied.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => Err(JournalError::deadline(&self.shared.file)),
            Err(RecvTimeoutError::Disconnected) => Err(JournalError::closed()),
        }
    }

    /// What it did since it was opened.
    pub fn stats(&self) -> JournalStats {
        self.shared.stats()
    }

    fn settle(&self, settlement: Settlement) {
        self.shared.settlements.push(settlement);
        if self.shared.notified.set() {
            // A full channel needs no notice: see `notified.rs`.
            let _ = self.commands.try_send(Command::Settle);
        }
    }
}
