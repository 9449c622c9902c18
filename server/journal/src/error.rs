//! Why a journal does not open, and why a record was not taken.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An error of a journal. Its text is one line that names the file and the cause.
#[derive(Clone)]
pub struct JournalError {
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Name { name: String },
    Locked { file: PathBuf },
    Foreign { file: PathBuf, cause: Arc<rusqlite::Error> },
    Version { file: PathBuf, version: i64 },
    Io { what: &'static str, file: PathBuf, cause: Arc<io::Error> },
    Sqlite { what: &'static str, file: PathBuf, cause: Arc<rusqlite::Error> },
    Poisoned { file: Arc<Path>, cause: Arc<str> },
    Deadline { file: Arc<Path> },
    Busy,
    Closed,
}

impl JournalError {
    pub(crate) fn name(name: &str) -> Self {
        JournalError { kind: Kind::Name { name: name.to_owned() } }
    }

    pub(crate) fn locked(file: &Path) -> Self {
        JournalError { kind: Kind::Locked { file: file.to_owned() } }
    }

    pub(crate) fn foreign(file: &Path, cause: rusqlite::Error) -> Self {
        JournalError { kind: Kind::Foreign { file: file.to_owned(), cause: Arc::new(cause) } }
    }

    pub(crate) fn version(file: &Path, version: i64) -> Self {
        JournalError { kind: Kind::Version { file: file.to_owned(), version } }
    }

    pub(crate) fn io(what: &'static str, file: &Path, cause: io::Error) -> Self {
        JournalError { kind: Kind::Io { what, file: file.to_owned(), cause: Arc::new(cause) } }
    }

    pub(crate) fn sqlite(what: &'static str, file: &Path, cause: rusqlite::Error) -> Self {
        JournalError { kind: Kind::Sqlite { what, file: file.to_owned(), cause: Arc::new(cause) } }
    }

    pub(crate) fn poisoned(file: &Arc<Path>, cause: &Arc<str>) -> Self {
        JournalError { kind: Kind::Poisoned { file: file.clone(), cause: cause.clone() } }
    }

    pub(crate) fn deadline(file: &Arc<Path>) -> Self {
        JournalError { kind: Kind::Deadline { file: file.clone() } }
    }

    pub(crate) fn busy() -> Self {
        JournalError { kind: Kind::Busy }
    }

    /// What a call on a journal that was closed is answered with.
    pub fn closed() -> Self {
        JournalError { kind: Kind::Closed }
    }

    /// Whether another process, or this one, has the journal open.
    pub fn is_locked(&self) -> bool {
        matches!(self.kind, Kind::Locked { .. })
    }

    /// Whether a write failed and the journal takes no more.
    pub fn is_poisoned(&self) -> bool {
        matches!(self.kind, Kind::Poisoned { .. })
    }

    /// Whether the journal was closed.
    pub fn is_closed(&self) -> bool {
        matches!(self.kind, Kind::Closed)
    }
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Name { name } => write!(
                f,
                "{name:?} cannot name a journal: use up to 64 letters, digits, '-' and '_'"
            ),
            Kind::Locked { file } => write!(
                f,
                "the journal {} is open elsewhere: end that process, or name another directory",
                file.display()
            ),
            Kind::Foreign { file, cause } => write!(
                f,
                "{} is not a journal ({cause}): move it away, or name another directory",
                file.display()
            ),
            Kind::Version { file, version } => write!(
                f,
                "the journal {} is of version {version}, which this build does not know: let the \
                 build that wrote it finish what is pending, then move the file away",
                file.display()
            ),
            Kind::Io { what, file, cause } => {
                write!(f, "cannot {what} {}: {cause}", file.display())
            }
            Kind::Sqlite { what, file, cause } => {
                write!(f, "cannot {what} the journal {}: {cause}", file.display())
            }
            Kind::Poisoned { file, cause } => write!(
                f,
                "the journal {} takes no more records since a write failed: {cause}",
                file.display()
            ),
            Kind::Deadline { file } => {
                write!(f, "the journal {} did not close in time", file.display())
            }
            Kind::Busy => f.write_str("too many requests wait for the journal"),
            Kind::Closed => f.write_str("the journal is closed"),
        }
    }
}

/// As it is displayed, for a `main` that returns it.
impl fmt::Debug for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for JournalError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            Kind::Foreign { cause, .. } | Kind::Sqlite { cause, .. } => Some(&**cause),
            Kind::Io { cause, .. } => Some(&**cause),
            _ => None,
        }
    }
}

/// A record that was not taken; its payload comes back.
#[derive(Clone, Debug)]
pub enum AppendError {
    /// Too much waits or is pending: try again later.
    Full(Vec<u8>),
    /// The payload is above `payload_bytes_max`.
    TooLarge(Vec<u8>),
    /// A write failed before: the journal takes no more.
    Poisoned(Vec<u8>, JournalError),
    /// The journal is closed.
    Closed(Vec<u8>),
}

impl AppendError {
    /// The payload.
    pub fn into_payload(self) -> Vec<u8> {
        match self {
            AppendError::Full(payload)
            | AppendError::TooLarge(payload)
            | AppendError::Poisoned(payload, _)
            | AppendError::Closed(payload) => payload,
        }
    }
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AppendError::Full(_) => f.write_str("the journal is full: try again later"),
            AppendError::TooLarge(payload) => {
                write!(f, "a payload of {} bytes is too large for the journal", payload.len())
            }
            AppendError::Poisoned(_, failure) => failure.fmt(f),
            AppendError::Closed(_) => f.write_str("the journal is closed"),
        }
    }
}

impl std::error::Error for AppendError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            AppendError::Poisoned(_, failure) => Some(failure),
            _ => None,
        }
    }
}
