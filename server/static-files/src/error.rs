//! Why static files cannot be served.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Static files cannot be served so.
pub enum StaticFilesError {
    /// The root cannot be opened.
    Root {
        /// Where it should be.
        root: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A value cannot be that of a field.
    Value {
        /// The pattern or extension it was given for.
        of: String,
        /// The value.
        value: String,
    },
    /// A prefix that is no path: it begins with a slash and does not end with one.
    Prefix(String),
    /// An index that is no file's name.
    Index(String),
}

impl fmt::Display for StaticFilesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StaticFilesError::Root { root, cause } => write!(
                f,
                "static files: the root {} cannot be opened: {cause}; it must be a directory that \
                 the server may read, and openat2(2) must be permitted",
                root.display()
            ),
            StaticFilesError::Value { of, value } => write!(
                f,
                "static files: {value:?}, given for {of:?}, cannot be the value of a field: use \
                 printable ASCII"
            ),
            StaticFilesError::Prefix(prefix) => write!(
                f,
                "static files: the prefix {prefix:?} must begin with a slash and not end with one"
            ),
            StaticFilesError::Index(index) => {
                write!(f, "static files: the index {index:?} must be the name of a file")
            }
        }
    }
}

/// As it is displayed, for a `main` that returns it.
impl fmt::Debug for StaticFilesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for StaticFilesError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StaticFilesError::Root { cause, .. } => Some(cause),
            _ => None,
        }
    }
}

impl From<StaticFilesError> for sidecore::Error {
    fn from(error: StaticFilesError) -> Self {
        sidecore::Error::other(error)
    }
}
