//! Executors: one pinned thread a CPU, hosted by glommio, running a loop of the project's own.
//!
//! [`Executor::start`] places a thread with glommio and runs a main future on it, until that
//! ends. Code on the thread uses [`spawn_local`], [`sleep`], [`Deadline`] and the sockets of
//! [`net`](crate::net); all of it stays on the thread and none of it locks.

mod inbox;
mod load;
mod schedule;
mod stats;
mod time;
mod timer;
mod turn;
mod watch;

pub mod hosted;

pub(crate) mod core;
pub(crate) mod tasks;
pub(crate) mod waker;

use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};

pub use self::inbox::{Inbox, add_inbox};
pub use self::stats::{ExecutorSnapshot, ExecutorStats};
pub use self::time::{Deadline, Sleep, sleep, unix_seconds};
pub use self::turn::yield_now;
pub use self::watch::{Blocked, ExecutorWatch, Watching};

use self::core::Core;
use self::turn::{Turns, spawn_main};
use self::waker::Remote;
use crate::machine::probe::NO_THREAD;
use crate::ring::RingConfig;
use crate::stack;
use crate::sys::doorbell::Doorbell;
use crate::sys::{panics, stderr};

/// What glommio's reactor may lock for its own buffers; the serving path does not use it.
const GLOMMIO_IO_MEMORY_BYTES: usize = 64 << 10;

/// Where and how an executor runs.
#[derive(Clone, Debug)]
pub struct ExecutorConfig {
    /// Its number, from 0, unique in the process.
    pub index: usize,
    /// The CPU it is pinned to, which must be in the affinity mask (see `placement`).
    pub cpu: usize,
    /// Sizes of its ring.
    pub ring: RingConfig,
    /// How long it looks for work before it sleeps; zero by default.
    pub spin: Duration,
}

/// A running executor, from outside.
#[derive(Debug)]
pub struct Executor {
    handle: ExecutorJoinHandle<Result<(), Fault>>,
    stats: Arc<ExecutorStats>,
}

/// An executor could not start, or ended other than by the end of its main future.
pub enum ExecutorError {
    /// glommio could not place the thread or make its rings.
    Host {
        /// The executor's number.
        index: usize,
        /// The CPU it should run on.
        cpu: usize,
        /// What glommio said.
        cause: io::Error,
    },
    /// The executor's own ring failed.
    Ring {
        /// The executor's number.
        index: usize,
        /// The failed call's error.
        cause: io::Error,
    },
    /// Its main future or its loop panicked.
    Panicked {
        /// The executor's number.
        index: usize,
        /// The panic's text.
        message: String,
    },
}

/// Why an executor has ended too early.
#[derive(Debug)]
enum Fault {
    Ring(io::Error),
    Panicked(String),
}

impl Executor {
    /// Starts the executor; `main` makes its main future, on its thread.
    ///
    /// `doorbell` is rung by other threads to wake it. The executor ends when the main future does, by a
    /// panic too, or when its loop fails, which one line on standard error says: tasks that are left
    /// are dropped, their sockets closed. `main` is dropped in any case, called or not.
    ///
    /// # Errors
    /// [`ExecutorError::Host`], where there is no thread, memory or descriptor for it.
    pub fn start<F>(
        config: ExecutorConfig,
        doorbell: Arc<Doorbell>,
        main: impl FnOnce() -> F + Send + 'static,
    ) -> Result<Executor, ExecutorError>
    where
        F: Future<Output = ()> + 'static,
    {
        Executor::start_within(config, doorbell, |run| run(), main)
    }

    /// Starts the executor within a scope: on its thread, `within` calls what it is given, once,
    /// and that returns when the last of the executor's tasks is dropped. What `within` has set up
    /// on the thread by then is there for all of them.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_within<F>(
        config: ExecutorConfig,
        doorbell: Arc<Doorbell>,
        within: impl FnOnce(&mut dyn FnMut()) + Send + 'static,
        main: impl FnOnce() -> F + Send + 'static,
    ) -> Result<Executor, ExecutorError>
    where
        F: Future<Output = ()> + 'static,
    {
        let stats = Arc::new(ExecutorStats::default());
        let (index, cpu) = (config.index, config.cpu);
        let mut hosted = Some((config, doorbell, stats.clone(), main));
        let handle = LocalExecutorBuilder::new(Placement::Fixed(cpu))
            .name(&format!("exec-{index}"))
            .io_memory(GLOMMIO_IO_MEMORY_BYTES)
            .spawn(move || async move {
                let mut ended = Ok(());
                within(&mut || {
                    if let Some((config, doorbell, stats, main)) = hosted.take() {
                        ended = host(config, doorbell, stats, main);
                    }
                });
                if let Err(fault) = &ended {
                    stderr::line(format_args!("exec-{index} has ended: {fault}"));
                }
                ended
            })
            .map_err(|cause| ExecutorError::Host { index, cpu, cause: cause.into() })?;
        Ok(Executor { handle, stats })
    }

    /// The counters of this executor.
    pub fn stats(&self) -> &Arc<ExecutorStats> {
        &self.stats
    }

    /// Waits for the end of the executor.
    ///
    /// # Errors
    /// [`ExecutorError`], where it ended otherwise than by the end of its main future.
    pub fn join(self, index: usize, cpu: usize) -> Result<(), ExecutorError> {
        match self.handle.join() {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Fault::Ring(cause))) => Err(ExecutorError::Ring { index, cause }),
            Ok(Err(Fault::Panicked(message))) => Err(ExecutorError::Panicked { index, message }),
            Err(cause) => Err(ExecutorError::Host { index, cpu, cause: cause.into() }),
        }
    }
}

/// Runs the loop inside glommio's one task, which it does not leave before the end.
///
/// Whatever ends the loop, a panic in it too: tasks are dropped and sockets closed after it, so that
/// nobody waits for this executor any more.
fn host<F>(
    config: ExecutorConfig,
    doorbell: Arc<Doorbell>,
    stats: Arc<ExecutorStats>,
    main: impl FnOnce() -> F,
) -> Result<(), Fault>
where
    F: Future<Output = ()> + 'static,
{
    // glommio appends a number of its own; the name says role and index.
    if let Ok(name) = std::ffi::CString::new(format!("exec-{}", config.index)) {
        let _ = rustix::thread::set_name(&name);
    }
    stats.set_thread_id(rustix::thread::gettid());
    stack::publish();
    let remote = Arc::new(Remote::new(doorbell));
    let core = Core::enter(config.index, remote, stats, config.ring).map_err(Fault::Ring)?;
    let mut turns = Turns::new(core.clone(), config.spin);
    let ran = caught(|| {
        let end = spawn_main(&core, main());
        turns.run(&end.done).map_err(Fault::Ring)?;
        end.panicked.take().map_or(Ok(()), |message| Err(Fault::Panicked(message)))
    });
    // It may have ended in the middle of a task, which blocks nobody any more.
    core.stats.set_pulse(0);
    let closed = caught(|| turns.close().map_err(Fault::Ring));
    Core::leave();
    let dropped = caught(|| {
        drop((turns, core));
        Ok(())
    });
    ran.and(closed).and(dropped)
}

fn caught(run: impl FnOnce() -> Result<(), Fault>) -> Result<(), Fault> {
    panics::caught(run).unwrap_or_else(|message| Err(Fault::Panicked(message)))
}

/// Runs `future` on this executor, as a task of its own.
///
/// A panic in it ends that task only; it is counted in [`ExecutorSnapshot::panics`].
///
/// # Panics
/// On a thread that is not an executor's.
pub fn spawn_local(future: impl Future<Output = ()> + 'static) {
    current().spawn(future);
}

/// The number of the executor that runs this thread, if one does.
pub fn current_index() -> Option<usize> {
    Core::current().map(|core| core.index)
}

/// Says that the executor drains until `end`: what begins by itself begins no more, such as a
/// periodic task, and what its [inboxes](Inbox) would wait for longer ends now.
///
/// # Panics
/// On a thread that is not an executor's.
pub fn begin_drain(end: Instant) {
    let core = current();
    core.draining.set(true);
    // Hooks may block from here on, maybe in this very turn: nobody looks any more (`watch.rs`).
    core.stats.set_pulse(0);
    // With nothing borrowed: what is told of an end may add an inbox.
    let inboxes = core.inboxes.borrow().clone();
    inboxes.iter().for_each(|inbox| inbox.begin_drain(end));
}

/// Whether [`begin_drain`] was called on this executor.
pub(crate) fn is_draining() -> bool {
    Core::current().is_some_and(|core| core.draining.get())
}

/// Waits until every task that this executor dispatched has finished and was delivered.
///
/// # Panics
/// On a thread that is not an executor's.
pub async fn tasks_quiet() {
    let core = current();
    std::future::poll_fn(|context| {
        if core.in_flight() == 0 {
            return std::task::Poll::Ready(());
        }
        let mut wakers = core.quiet_wakers.borrow_mut();
        if !wakers.iter().any(|waker| waker.will_wake(context.waker())) {
            wakers.push(context.waker().clone());
        }
        std::task::Poll::Pending
    })
    .await;
}

pub(crate) fn current() -> Rc<Core> {
    Core::current().expect("called on a thread that is not an executor's")
}

impl fmt::Display for ExecutorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExecutorError::Host { index, cpu, cause } => {
                write!(f, "exec-{index} could not run on CPU {cpu}: {cause}")?;
                match cause.to_string().contains("os error 11") {
                    true => write!(f, "; {NO_THREAD}"),
                    false => Ok(()),
                }
            }
            ExecutorError::Ring { index, cause } => {
                write!(f, "the io_uring of exec-{index} failed: {cause}")
            }
            ExecutorError::Panicked { index, message } => {
                write!(f, "exec-{index} panicked: {message}")
            }
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Ring(cause) => write!(f, "its io_uring failed: {cause}"),
            Fault::Panicked(message) => write!(f, "it panicked: {message}"),
        }
    }
}

/// As it is displayed, for a `main` that returns it.
impl fmt::Debug for ExecutorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for ExecutorError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ExecutorError::Host { cause, .. } | ExecutorError::Ring { cause, .. } => Some(cause),
            ExecutorError::Panicked { .. } => None,
        }
    }
}
