//! Why a server did not start, or did not end well.

use std::fmt;
use std::io;

use sidecore_runtime::executor::ExecutorError;
use sidecore_runtime::machine::cpu_list::CpuListError;
use sidecore_runtime::machine::placement::PlacementError;
use sidecore_runtime::machine::probe::{NO_THREAD, ProbeError};
use sidecore_runtime::machine::topology::TopologyError;
use sidecore_runtime::net::BindError;
use sidecore_runtime::pool::PoolError;

use crate::config::ConfigError;
use crate::config::listen::{Listen, ListenError};
use crate::lifecycle::report::Report;

/// The result of what can fail with an [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// An error of a server. Its text is one line that names cause and cure; `{:?}` gives the same, so
/// that a `main` which returns it says it. So it is with all errors of a start, and each becomes this
/// one by `?`, as an [`io::Error`] does; [`other`](Self::other) takes those of the application.
///
/// ```no_run
/// use sidecore::{Config, Server, service_fn};
///
/// fn main() -> sidecore::Result<()> {
///     let host = std::fs::read_to_string("/proc/sys/kernel/hostname")?;
///     Server::new(Config::load()?).listen("127.0.0.1:0".parse()?).serve(move |_executor| {
///         let host = host.clone();
///         service_fn(move |_request| std::future::ready(host.clone()))
///     })?;
///     Ok(())
/// }
/// ```
pub struct Error {
    kind: ErrorKind,
}

#[derive(Debug)]
enum ErrorKind {
    Config(ConfigError),
    ListenText(ListenError),
    CpuList(CpuListError),
    MissingCallback {
        name: &'static str,
        task_workers: usize,
    },
    Topology(TopologyError),
    Placement(PlacementError),
    Probe(ProbeError),
    Bind(BindError),
    Nowhere,
    /// The shutdown was raised before it served.
    ToldToEnd,
    Listen {
        listen: String,
        problem: &'static str,
    },
    #[cfg(feature = "tls")]
    Certificate(crate::http::tls::CertificateError),
    #[cfg(feature = "durable")]
    Journal(sidecore_journal::JournalError),
    /// A pool's that has no name.
    BarePool(PoolError),
    Pool {
        name: String,
        error: PoolError,
    },
    PoolName {
        name: String,
        problem: &'static str,
    },
    PoolPlace {
        name: String,
        error: PlacementError,
    },
    Executor(ExecutorError),
    /// A thread of the server's own has ended, and with it the server.
    Failed {
        cause: String,
        report: Report,
    },
    Io {
        what: &'static str,
        cause: io::Error,
    },
    /// A thread could not be started.
    Thread {
        what: &'static str,
        cause: io::Error,
    },
    /// The application's own.
    Other(Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// An error of the application's own, for a `main` or a start that can fail by either. Its text
    /// is kept, and it is the [`source`](std::error::Error::source).
    pub fn other(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Error { kind: ErrorKind::Other(error.into()) }
    }

    pub(crate) fn missing_callback(name: &'static str, task_workers: usize) -> Self {
        Error { kind: ErrorKind::MissingCallback { name, task_workers } }
    }

    pub(crate) fn pool(name: &str, error: PoolError) -> Self {
        Error { kind: ErrorKind::Pool { name: name.to_owned(), error } }
    }

    pub(crate) fn pool_name(name: &str, problem: &'static str) -> Self {
        Error { kind: ErrorKind::PoolName { name: name.to_owned(), problem } }
    }

    pub(crate) fn pool_place(name: &str, error: PlacementError) -> Self {
        Error { kind: ErrorKind::PoolPlace { name: name.to_owned(), error } }
    }

    pub(crate) fn listen(listen: &Listen, problem: &'static str) -> Self {
        Error { kind: ErrorKind::Listen { listen: listen.to_string(), problem } }
    }

    pub(crate) fn nowhere() -> Self {
        Error { kind: ErrorKind::Nowhere }
    }

    pub(crate) fn failed(cause: String, report: Report) -> Self {
        Error { kind: ErrorKind::Failed { cause, report } }
    }

    /// What became of the tasks, where the server has served and an executor ended before it was
    /// told to.
    pub fn report(&self) -> Option<Report> {
        match &self.kind {
            ErrorKind::Failed { report, .. } => Some(*report),
            _ => None,
        }
    }

    pub(crate) fn told_to_end() -> Self {
        Error { kind: ErrorKind::ToldToEnd }
    }

    pub(crate) fn is_told_to_end(&self) -> bool {
        matches!(self.kind, ErrorKind::ToldToEnd)
    }

    pub(crate) fn io(what: &'static str, cause: io::Error) -> Self {
        Error { kind: ErrorKind::Io { what, cause } }
    }

    pub(crate) fn thread(what: &'static str, cause: io::Error) -> Self {
        Error { kind: ErrorKind::Thread { what, cause } }
    }

    /// Whether the configuration is at fault.
    pub fn is_config(&self) -> bool {
        #[cfg(feature = "tls")]
        if let ErrorKind::Certificate(_) = self.kind {
            return true;
        }
        matches!(
            self.kind,
            ErrorKind::Config(_)
                | ErrorKind::ListenText(_)
                | ErrorKind::CpuList(_)
                | ErrorKind::Placement(_)
                | ErrorKind::PoolPlace { .. }
                | ErrorKind::Listen { .. }
                | ErrorKind::Nowhere
        )
    }

    /// Whether `on_task` or `on_finish` is missing.
    pub fn is_missing_callback(&self) -> bool {
        matches!(self.kind, ErrorKind::MissingCallback { .. })
    }

    /// Whether the system does not give what is needed: io_uring, memory, descriptors.
    pub fn is_system(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::Probe(_)
                | ErrorKind::Topology(_)
                | ErrorKind::Io { .. }
                | ErrorKind::Thread { .. }
        )
    }

    /// Whether the address cannot be listened on.
    pub fn is_bind(&self) -> bool {
        matches!(self.kind, ErrorKind::Bind(_))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ErrorKind::Config(error) => error.fmt(f),
            ErrorKind::ListenText(error) => error.fmt(f),
            ErrorKind::CpuList(error) => error.fmt(f),
            ErrorKind::MissingCallback { name, task_workers } => write!(
                f,
                "task_worker_num is {task_workers} and {name} is missing: give the server \
                 `.{name}(...)`{}, or set task_worker_num = 0",
                match *name {
                    "on_finish" => ", or `.awaited()` where every task is awaited",
                    _ => "",
                }
            ),
            ErrorKind::Topology(error) => error.fmt(f),
            ErrorKind::Placement(error) => error.fmt(f),
            ErrorKind::Probe(error) => error.fmt(f),
            ErrorKind::Bind(error) => error.fmt(f),
            ErrorKind::Nowhere => f.write_str(
                "the server would listen nowhere: host is none and no other listener is there; \
                 name one in listen, such as unix:/run/app.sock, or give host an address",
            ),
            ErrorKind::ToldToEnd => f.write_str("it was told to end before it served"),
            ErrorKind::Listen { listen, problem } => write!(f, "{listen}: {problem}"),
            #[cfg(feature = "tls")]
            ErrorKind::Certificate(error) => error.fmt(f),
            #[cfg(feature = "durable")]
            ErrorKind::Journal(error) => error.fmt(f),
            ErrorKind::BarePool(error) => error.fmt(f),
            ErrorKind::Pool { name, error } => write!(f, "pool {name}: {error}"),
            ErrorKind::PoolName { name, problem } => write!(f, "pool {name}: {problem}"),
            ErrorKind::PoolPlace { name, error } => write!(f, "pool {name}: {error}"),
            ErrorKind::Executor(error) => error.fmt(f),
            ErrorKind::Failed { cause, report } => {
                write!(f, "{cause}; the server has ended: {report}")
            }
            ErrorKind::Other(error) => error.fmt(f),
            ErrorKind::Io { what, cause } => write!(f, "{what}: {cause}"),
            ErrorKind::Thread { what, cause } => write!(f, "{what}: {cause}; {NO_THREAD}"),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The type of what lies beneath, and an `io::Error` where one is the cause, can be had back by
/// `downcast_ref` of the sources.
impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            ErrorKind::Config(error) => Some(error),
            ErrorKind::ListenText(error) => Some(error),
            ErrorKind::CpuList(error) => Some(error),
            ErrorKind::Topology(error) => Some(error),
            ErrorKind::Placement(error) | ErrorKind::PoolPlace { error, .. } => Some(error),
            ErrorKind::Probe(error) => Some(error),
            ErrorKind::Bind(error) => Some(error),
            #[cfg(feature = "tls")]
            ErrorKind::Certificate(error) => Some(error),
            #[cfg(feature = "durable")]
            ErrorKind::Journal(error) => Some(error),
            ErrorKind::BarePool(error) | ErrorKind::Pool { error, .. } => Some(error),
            ErrorKind::Executor(error) => Some(error),
            ErrorKind::Io { cause, .. } | ErrorKind::Thread { cause, .. } => Some(cause),
            ErrorKind::Other(error) => Some(&**error),
            ErrorKind::MissingCallback { .. }
            | ErrorKind::Nowhere
            | ErrorKind::ToldToEnd
            | ErrorKind::Listen { .. }
            | ErrorKind::PoolName { .. }
            | ErrorKind::Failed { .. } => None,
        }
    }
}

macro_rules! from {
    ($($error:ty => $kind:ident),* $(,)?) => {
        $(impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Error { kind: ErrorKind::$kind(error) }
            }
        })*
    };
}

from! {
    ConfigError => Config,
    ListenError => ListenText,
    CpuListError => CpuList,
    TopologyError => Topology,
    PlacementError => Placement,
    ProbeError => Probe,
    BindError => Bind,
    PoolError => BarePool,
    ExecutorError => Executor,
}

#[cfg(feature = "durable")]
from! { sidecore_journal::JournalError => Journal }

/// What a `main` does beside serving, such as reading a file; its text is kept.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Error::other(error)
    }
}

#[cfg(feature = "tls")]
from! { crate::http::tls::CertificateError => Certificate }
