//! The access log: a line for each request that was answered.
//!
//! ```no_run
//! use sidecore_access_log::{AccessLog, Format};
//! use sidecore::{Config, Incoming, Request, Response, Server};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let log = AccessLog::to_file("access.log", Format::combined())?;
//!     log.reopen_on_sighup()?;
//!     let logging = log.clone();
//!     Server::new(Config::load()?).serve(move |_worker| {
//!         logging.app(tower::service_fn(async |_: Request<Incoming>| {
//!             Ok::<_, std::convert::Infallible>(Response::new("OK".to_owned()))
//!         }))
//!     })?;
//!     // Here `log` goes, and with it all that was logged is in the file.
//!     Ok(())
//! }
//! ```
//!
//! It replaces mezzio-swoole's access logger and its formats, which writes within the request;
//! here the executors push finished lines into rings, and a thread writes them (`writer.rs`). A
//! disk that is slow, full or stuck costs lines, which are counted, and never a request.
//!
//! A line is written when its answer has been handed to the connection whole, or was given up. What
//! the connection itself refuses (a request that is malformed, too large or too slow, a connection
//! there is no room for) reaches no application and is logged too, where the log was put around one
//! by [`AccessLog::app`]: with the request line as far as it had arrived, with the answer's status
//! and size, a dash for each field of the request, and 0 for its time. Around a service, as a layer,
//! the log does not hear of them. Of HTTP/2 what is malformed, or has too large a head, is answered
//! beneath the project's own code, and no log hears of it.

#![forbid(unsafe_code)]

mod escape;
mod format;
mod line;
mod service;
mod time;
mod writer;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub use crate::format::{Format, FormatError};
pub use crate::service::{Logged, LoggedApp, LoggedBody, LoggedService};

use crate::service::Target;
use crate::writer::{Output, Writer};

/// A log that is open. Around an application by [`app`](Self::app), around a service as a
/// [`Layer`](tower_layer::Layer). Clones write to the same output.
///
/// As a layer it knows a peer's address only where something tells it of: put the application into
/// [`WithPeers`](sidecore::WithPeers), or use `app`.
///
/// When the last clone is dropped all lines are written and the output is closed: keep one until
/// the server has ended. What is logged after that is dropped.
#[derive(Clone)]
pub struct AccessLog {
    format: Arc<Format>,
    writer: Arc<Writer>,
}

/// An access log that cannot be written.
#[derive(Debug)]
pub struct AccessLogError {
    /// Where it should go.
    output: PathBuf,
    cause: io::Error,
}

impl AccessLog {
    /// Appends to a file, which is made if it is not there.
    pub fn to_file(path: impl AsRef<Path>, format: Format) -> Result<Self, AccessLogError> {
        let path = path.as_ref().to_owned();
        AccessLog::start(Output::File(path.clone()), path, format)
    }

    /// Writes to standard output.
    pub fn to_stdout(format: Format) -> Result<Self, AccessLogError> {
        AccessLog::start(Output::Stdout, "standard output".into(), format)
    }

    /// Writes to standard error.
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
        self.writer.shared.reopen.store(true, Ordering::Relaxed);
        self.writer.shared.wake();
    }

    /// Reopens at SIGHUP, as log rotation sends it: with the first line after it.
    pub fn reopen_on_sighup(&self) -> Result<(), AccessLogError> {
        let reopen = self.writer.shared.reopen.clone();
        signal_hook::flag::register(signal_hook::consts::SIGHUP, reopen)
            .map(drop)
            .map_err(|cause| AccessLogError { output: "SIGHUP".into(), cause })
    }

    /// Lines that were dropped so far, because they came faster than they could be written or
    /// could not be written at all; standard error tells of them as well.
    pub fn dropped(&self) -> u64 {
        self.writer.shared.dropped()
    }

    /// Lines that were written so far.
    pub fn written(&self) -> u64 {
        self.writer.shared.written()
    }

    fn target(&self) -> Target {
        Target { format: self.format.clone(), shared: self.writer.shared.clone() }
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

impl std::error::Error for AccessLogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}
