//! The handle of a log that is open.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::format::Format;
use crate::layer::LogTarget;
use crate::writer::{Output, Writer};

/// A log that is open: a [`Layer`](tower_layer::Layer) for services. Clones write to the same output.
///
/// A layer knows a peer's address only where something tells it of: with the feature `sidecore` put
/// the application into `sidecore::app::WithPeers`, or use `AccessLog::app` instead of the layer.
///
/// When the last clone is dropped all lines are written and the output is closed: keep one until
/// the server has ended. What is logged after that is dropped.
#[derive(Clone)]
pub struct AccessLog {
    format: Arc<Format>,
    writer: Arc<Writer>,
}

/// An access log that cannot be written.
pub struct AccessLogError {
    /// Where it should go.
    output: PathBuf,
    cause: io::Error,
}

impl AccessLog {
    /// Appends to a file, which is made if it is not there.
    ///
    /// # Errors
    /// Where the file cannot be opened, or there is no thread for it.
    pub fn to_file(path: impl AsRef<Path>, format: Format) -> Result<Self, AccessLogError> {
        let path = path.as_ref().to_owned();
        AccessLog::start(Output::File(path.clone()), path, format)
    }

    /// Writes to standard output.
    ///
    /// # Errors
    /// Where there is no thread for it.
    pub fn to_stdout(format: Format) -> Result<Self, AccessLogError> {
        AccessLog::start(Output::Stdout, "standard output".into(), format)
    }

    /// Writes to standard error.
    ///
    /// # Errors
    /// Where there is no thread for it.
    pub fn to_stderr(format: Format) -> Result<Self, AccessLogError> {
        AccessLog::start(Output::Stderr, "standard error".into(), format)
    }

    fn start(output: Output, name: PathBuf, format: Format) -> Result<Self, AccessLogError> {
        let writer =
            Writer::start(output).map_err(|cause| AccessLogError { output: name, cause })?;
        Ok(AccessLog { format: Arc::new(format), writer: Arc::new(writer) })
    }

    /// Goes on in a new file of the same name, for one that was moved away. A line that is
    /// not written yet goes there too. Comes back at once.
    pub fn reopen(&self) {
        self.writer.queue.reopen.store(true, Ordering::Relaxed);
        self.writer.queue.wake();
    }

    /// Reopens at SIGHUP, as log rotation sends it: with the first line after it.
    ///
    /// # Errors
    /// Where the handler cannot be set.
    pub fn reopen_on_sighup(&self) -> Result<(), AccessLogError> {
        let reopen = self.writer.queue.reopen.clone();
        signal_hook::flag::register(signal_hook::consts::SIGHUP, reopen)
            .map(drop)
            .map_err(|cause| AccessLogError { output: "SIGHUP".into(), cause })
    }

    /// Lines that were dropped so far, because they came faster than they could be written or
    /// could not be written at all; standard error tells of them as well.
    pub fn dropped(&self) -> u64 {
        self.writer.queue.dropped()
    }

    /// Lines that were written so far.
    pub fn written(&self) -> u64 {
        self.writer.queue.written()
    }

    pub(crate) fn target(&self) -> LogTarget {
        LogTarget { format: self.format.clone(), queue: self.writer.queue.clone() }
    }
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (written, dropped) = (self.written(), self.dropped());
        f.debug_struct("AccessLog").field("written", &written).field("dropped", &dropped).finish()
    }
}

impl fmt::Display for AccessLogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AccessLogError { output, cause } = self;
        write!(
            f,
            "the access log cannot go to {}: {cause}; choose a file that the server may append to",
            output.display()
        )
    }
}

/// As it is displayed, for a `main` that returns it.
impl fmt::Debug for AccessLogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for AccessLogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

#[cfg(feature = "sidecore")]
impl From<AccessLogError> for sidecore::Error {
    fn from(error: AccessLogError) -> Self {
        sidecore::Error::other(error)
    }
}
