//! The stacks of stuck jobs and of blocked executors: what a report says of where the thread is, in
//! the user's own code.
//!
//! With the cargo feature `stacks` and a [signal](crate::pool::PoolConfig::stack_signal) the watchdog
//! interrupts the thread of a stuck job for some microseconds. The handler copies registers and the
//! inner part of the stack and returns; the watchdog unwinds the copy and finds the names, on its own
//! thread and CPU time.

// The handler is in `signal.rs`, by the protocol of `capture.rs`; `unwind.rs` makes the frames.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "stacks")]
mod capture;
mod doing;
#[cfg(feature = "stacks")]
mod modules;
#[cfg(feature = "stacks")]
mod reader;
#[cfg(feature = "stacks")]
mod signal;
#[cfg(feature = "stacks")]
mod unwind;

pub(crate) use self::doing::doing;
#[cfg(feature = "stacks")]
pub(crate) use self::reader::Reader;
#[cfg(feature = "stacks")]
pub(crate) use self::signal::publish;

/// Frames of a report; those beyond are left out.
pub const STACK_FRAMES_MAX: usize = 64;

/// How long a thread may take to hand its stack over: it may have to wait for its CPU, and where jobs
/// hang CPUs are often busy. The spare works meanwhile.
#[cfg(feature = "stacks")]
const ANSWER_MAX: Duration = Duration::from_millis(200);

/// Where a stuck job was when it was reported: innermost frame first, down to the pool's call of it.
///
/// Its thread was interrupted by a [signal](crate::pool::PoolConfig::stack_signal) for that, for some
/// microseconds. System calls of the job go on (`SA_RESTART`) but for those that the kernel never
/// restarts (signal(7)), which return `EINTR` once: `nanosleep`, `clock_nanosleep`, `poll`, `ppoll`,
/// `select`, `epoll_wait`, `io_uring_enter`, `sigtimedwait`, semaphores and queues of System V, and
/// `accept`, `connect`, `recv` and `send` of a socket that has a time limit (in Rust
/// `set_read_timeout` and `set_write_timeout`: `ErrorKind::Interrupted`). Rust's `thread::sleep`,
/// its locks, conditions and channels wait on, and so do `Read::read_exact`, `read_to_end` and
/// `Write::write_all`. A handler that is set with `SA_RESTART` for any other signal has the same
/// effects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stack {
    /// Its frames, at most [`STACK_FRAMES_MAX`]. Functions that were inlined have frames too.
    pub frames: Vec<StackFrame>,
    /// Why there are no more.
    pub end: StackEnd,
}

/// One call on a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackFrame {
    /// The address of the code: where it goes on after the call of the next inner frame.
    pub address: u64,
    /// The function, where the executable says (one that was stripped does not).
    pub function: Option<String>,
    /// The file of its source, where the executable has line tables.
    pub file: Option<String>,
    /// The line in it.
    pub line: Option<u32>,
    /// The executable or library that the code is of.
    pub module: Option<Arc<str>>,
}

/// Where a [`Stack`] ends, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StackEnd {
    /// No stack was asked for: there is no [signal](crate::pool::PoolConfig::stack_signal).
    #[default]
    Off,
    /// At the call of the job.
    Job,
    /// At the outermost frame of the thread: the executable has no names.
    Thread,
    /// At frames or bytes beyond what a report holds, or at code without unwind tables.
    Cut,
    /// The thread did not answer within so much time.
    NoAnswer(Duration),
    /// The job was over by then, or the thread could not be asked; why.
    NotAsked(String),
    /// Modules or tables could not be read; what went wrong.
    Unreadable(String),
}

/// Why stacks cannot be read.
#[non_exhaustive]
pub enum NoStacks {
    /// The feature `stacks` was not compiled in.
    NotBuilt,
    /// There is no such real-time signal.
    NoSuchSignal {
        /// The configured one, counted from `SIGRTMIN`.
        signal: u32,
        /// The greatest there is.
        max: u32,
    },
    /// The process handles or ignores that signal already.
    Taken {
        /// The configured one, counted from `SIGRTMIN`.
        signal: u32,
    },
    /// The system refused to set the handler.
    Refused(std::io::Error),
}

impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for frame in &self.frames {
            write!(f, "\n    at {frame}")?;
        }
        match &self.end {
            StackEnd::Off | StackEnd::Job => Ok(()),
            end => write!(f, "\n    {end}"),
        }
    }
}

impl fmt::Display for StackFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.function, &self.module) {
            (Some(function), _) => f.write_str(function)?,
            (None, Some(module)) => write!(f, "{:#x} in {module}", self.address)?,
            (None, None) => write!(f, "{:#x}", self.address)?,
        }
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, " ({file}:{line})"),
            (Some(file), None) => write!(f, " ({file})"),
            (None, _) => Ok(()),
        }
    }
}

impl fmt::Display for StackEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StackEnd::Off => f.write_str("no stack was asked for"),
            StackEnd::Job => f.write_str("called by the pool"),
            StackEnd::Thread => f.write_str("the thread begins here"),
            StackEnd::Cut => f.write_str("... and more that was not followed"),
            StackEnd::NoAnswer(limit) => write!(
                f,
                "no stack: the thread did not answer its signal within {} ms; it waits for a \
                 device, gets no CPU, or blocks the signal",
                limit.as_millis()
            ),
            StackEnd::NotAsked(cause) => write!(f, "no stack: {cause}"),
            StackEnd::Unreadable(cause) => write!(f, "the stack could not be read: {cause}"),
        }
    }
}

impl fmt::Display for NoStacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoStacks::NotBuilt => f.write_str(
                "task_stack_signal is set, but stacks are not compiled in: build with the cargo \
                 feature `stacks`, or leave it out",
            ),
            NoStacks::NoSuchSignal { signal, max } => write!(
                f,
                "there is no real-time signal SIGRTMIN+{signal}: set task_stack_signal from 1 to \
                 {max}, or to 0 for reports without stacks"
            ),
            NoStacks::Taken { signal } => write!(
                f,
                "this process handles or ignores SIGRTMIN+{signal} already, by which the stacks of \
                 stuck tasks would be read: set task_stack_signal to another, or to 0 for reports \
                 without stacks"
            ),
            NoStacks::Refused(cause) => write!(
                f,
                "the handler by which the stacks of stuck tasks are read could not be set: {cause}; \
                 set task_stack_signal to 0 for reports without stacks"
            ),
        }
    }
}

/// As it is displayed, for a `main` that returns it.
impl fmt::Debug for NoStacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for NoStacks {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            NoStacks::Refused(cause) => Some(cause),
            _ => None,
        }
    }
}

/// Without the feature nobody is asked.
#[cfg(not(feature = "stacks"))]
pub(crate) struct Reader;

#[cfg(not(feature = "stacks"))]
impl Reader {
    pub(crate) fn install(_: u32) -> Result<Self, NoStacks> {
        Err(NoStacks::NotBuilt)
    }

    pub(crate) fn read(&self, _: u32, _: impl FnOnce() -> bool) -> Stack {
        Stack::default()
    }
}

/// Without the feature there is nothing to tell.
#[cfg(not(feature = "stacks"))]
pub(crate) fn publish() {}
