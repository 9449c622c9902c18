//! Why a durable dispatch was not made.

use std::fmt;

use sidecore_journal::{AppendError, JournalError};
use sidecore_runtime::pool::{DispatchError, TaskError};

/// A job is not known to be durable and in the pool. It comes back where the pool will not run it.
pub enum DurableError<J> {
    /// Too much waits for the journal or is pending in it: try again later.
    Full(J),
    /// Written out, it is above the journal's `payload_bytes_max`.
    TooLarge(J),
    /// It cannot be written as JSON.
    Unwritable(J, serde_json::Error),
    /// The journal took it and could not make it durable, or takes no more since a write failed,
    /// or is closed. In the first case it may be there, and run, after a restart.
    Journal(J, JournalError),
    /// The pool does not take it; it was not written.
    Refused(DispatchError<J>),
    /// The executor ended before the job was in the pool. If it had become durable by then, it runs
    /// after the next start.
    Ended,
}

/// An awaited durable task brought no output.
pub enum DurableRunError<J> {
    /// It was not dispatched.
    Refused(DurableError<J>),
    /// It was dispatched and failed.
    Failed(TaskError),
}

impl<J> DurableError<J> {
    pub(super) fn of_append(job: J, error: AppendError) -> Self {
        match error {
            AppendError::Full(_) => DurableError::Full(job),
            AppendError::TooLarge(_) => DurableError::TooLarge(job),
            AppendError::Poisoned(_, failure) => DurableError::Journal(job, failure),
            AppendError::Closed(_) => DurableError::Journal(job, JournalError::closed()),
        }
    }

    /// The job, where it comes back.
    pub fn into_job(self) -> Option<J> {
        match self {
            DurableError::Full(job)
            | DurableError::TooLarge(job)
            | DurableError::Unwritable(job, _)
            | DurableError::Journal(job, _) => Some(job),
            DurableError::Refused(refused) => Some(refused.into_job()),
            DurableError::Ended => None,
        }
    }

    /// Whether the job may be accepted later: HTTP's 503 with Retry-After.
    pub fn is_full(&self) -> bool {
        matches!(self, DurableError::Full(_))
    }
}

impl<J> fmt::Display for DurableError<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DurableError::Full(_) => f.write_str(
                "the journal is full: try again later, or raise pending_max or the number of task \
                 workers",
            ),
            DurableError::TooLarge(_) => f.write_str(
                "the job is too large for the journal: make it smaller, or raise \
                             payload_bytes_max",
            ),
            DurableError::Unwritable(_, cause) => {
                write!(f, "the job cannot be written as JSON: {cause}")
            }
            DurableError::Journal(_, error) => error.fmt(f),
            DurableError::Refused(refused) => refused.fmt(f),
            DurableError::Ended => {
                f.write_str("the server ended first; if the job was written, it runs after a start")
            }
        }
    }
}

impl<J> fmt::Debug for DurableError<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            DurableError::Full(_) => "Full",
            DurableError::TooLarge(_) => "TooLarge",
            DurableError::Unwritable(..) => "Unwritable",
            DurableError::Journal(..) => "Journal",
            DurableError::Refused(_) => "Refused",
            DurableError::Ended => "Ended",
        };
        write!(f, "{name}({self})")
    }
}

impl<J> std::error::Error for DurableError<J> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            DurableError::Unwritable(_, cause) => Some(cause),
            DurableError::Journal(_, error) => Some(error),
            _ => None,
        }
    }
}

impl<J> fmt::Display for DurableRunError<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DurableRunError::Refused(refused) => refused.fmt(f),
            DurableRunError::Failed(failed) => failed.fmt(f),
        }
    }
}

impl<J> fmt::Debug for DurableRunError<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DurableRunError::Refused(refused) => f.debug_tuple("Refused").field(refused).finish(),
            DurableRunError::Failed(failed) => f.debug_tuple("Failed").field(failed).finish(),
        }
    }
}

impl<J> std::error::Error for DurableRunError<J> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            DurableRunError::Failed(error) => Some(error),
            DurableRunError::Refused(_) => None,
        }
    }
}
