//! What the journal's thread is told.

use std::fmt;
use std::sync::mpsc::SyncSender;
use std::time::SystemTime;

use sidecore_runtime::sys::panics::catch;
use sidecore_runtime::sys::stderr;

use crate::error::JournalError;
use crate::record::{DeadLetter, Due, Sequence};

/// A command to the writer, in the order of the channel.
#[derive(Debug)]
pub(crate) enum Command {
    /// A record to make durable.
    Append(Append),
    /// The settlements are no longer empty.
    Settle,
    /// A look at the dead letters.
    DeadLetters { after: Sequence, max: usize, done: Completion<Vec<DeadLetter>> },
    /// Flush, close and reply.
    Close { reply: SyncSender<Result<(), JournalError>> },
}

impl Command {
    /// The payload of an append that the channel refused; its `done` is not called.
    pub(crate) fn into_refused_payload(self) -> Vec<u8> {
        match self {
            Command::Append(append) => {
                append.done.forget();
                append.payload
            }
            _ => Vec::new(),
        }
    }
}

/// A record to make durable.
#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) payload: Vec<u8>,
    pub(crate) priority: i32,
    pub(crate) due: Option<Due>,
    pub(crate) done: Completion<Sequence>,
}

/// What became of a pending record.
#[derive(Debug)]
pub(crate) struct Settlement {
    pub(crate) sequence: Sequence,
    pub(crate) outcome: Outcome,
}

#[derive(Debug)]
pub(crate) enum Outcome {
    Ack,
    Retry { due: Option<Due> },
    Dead { reason: String, at: SystemTime, further_attempts: u32 },
}

impl Outcome {
    /// Whether the record is no longer pending.
    pub(crate) fn is_final(&self) -> bool {
        !matches!(self, Outcome::Retry { .. })
    }
}

type Callback<T> = Box<dyn FnOnce(Result<T, JournalError>) + Send>;

/// A callback that is called exactly once: when dropped uncalled, with [`JournalError::closed`],
/// so that what the channel still held when its writer ended is answered too.
pub(crate) struct Completion<T>(Option<Callback<T>>);

impl<T> Completion<T> {
    pub(crate) fn new(callback: impl FnOnce(Result<T, JournalError>) + Send + 'static) -> Self {
        Completion(Some(Box::new(callback)))
    }

    pub(crate) fn call(mut self, result: Result<T, JournalError>) {
        self.call_once(result);
    }

    /// Drops it uncalled.
    pub(crate) fn forget(mut self) {
        self.0 = None;
    }

    fn call_once(&mut self, result: Result<T, JournalError>) {
        let Some(callback) = self.0.take() else { return };
        // A panic of one callback must not keep the others, or the journal, from going on.
        if catch(|| callback(result)).is_none() {
            stderr::line(format_args!("a journal's callback panicked"));
        }
    }
}

impl<T> Drop for Completion<T> {
    fn drop(&mut self) {
        self.call_once(Err(JournalError::closed()));
    }
}

impl<T> fmt::Debug for Completion<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Completion")
    }
}
