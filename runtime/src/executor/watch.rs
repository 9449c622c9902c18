//! The thread that looks for executors which are blocked: one of their tasks, or a callback, has kept
//! the thread for too long, and nothing else of that executor is served meanwhile.
//!
//! An executor says whether it is in code that is not its own by its pulse (`stats.rs`), a word that
//! changes as a turn begins and ends, and with each task that is polled: a store. The watch looks at the
//! pulses a few times within the limit. One that is the same as before, and within a turn, has not moved
//! since: what is told is at least so long, and at most a look longer. An executor is reported once for
//! as long as it is blocked, and once in [`REPORT_EVERY`] at most; each time counts
//! ([`ExecutorSnapshot::blocked`](super::ExecutorSnapshot::blocked)). Of one that drains nothing is said.

use std::fmt;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::stats::ExecutorStats;
use crate::stack::{Reader, Stack, doing};
use crate::sys::published::Flag;

/// Looks within the limit, and the least pause between two.
const LOOKS: u32 = 4;
const PAUSE_MIN: Duration = Duration::from_millis(1);

/// The least time between two reports of one executor: what blocks once blocks often.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// An executor that is blocked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Blocked {
    /// Its number.
    pub executor: usize,
    /// Its thread, as the system numbers it: `gdb -p` and `/proc/PID/task/TID` take it.
    pub thread_id: u32,
    /// For how long it has been blocked, at least.
    pub blocked_for: Duration,
    /// What its thread does: `running`, or the place in the kernel where it waits.
    pub doing: String,
    /// How often it has been blocked since the start, this time included.
    pub times: u64,
    /// Where in its code the thread is, if it could be asked.
    pub stack: Stack,
}

/// A watch over executors that has not begun.
pub struct ExecutorWatch {
    limit: Duration,
    stacks: Option<Reader>,
}

/// The watch over some executors. It ends with its drop.
#[derive(Debug)]
pub struct Watching {
    over: Arc<Flag>,
    thread: Option<JoinHandle<()>>,
}

/// What is known of one executor.
struct Watched {
    stats: Arc<ExecutorStats>,
    /// Its pulse at the last looks, since when.
    pulse: u64,
    since: Instant,
    is_counted: bool,
    reported: Option<Instant>,
}

impl ExecutorWatch {
    /// A watch for executors that are blocked for `limit` or longer; to be made before they start.
    /// `stack_signal` is that of
    /// [`PoolConfig::stack_signal`](crate::pool::PoolConfig::stack_signal); where stacks cannot be read
    /// by it, the reports have none.
    pub fn new(limit: Duration, stack_signal: Option<u32>) -> Self {
        let stacks = stack_signal.and_then(|signal| Reader::install(signal).ok());
        ExecutorWatch { limit, stacks }
    }

    /// Starts its thread, on which `tell` is called.
    ///
    /// # Errors
    /// There is no thread for it.
    pub fn start(
        self,
        executors: impl IntoIterator<Item = Arc<ExecutorStats>>,
        tell: impl Fn(&Blocked) + Send + 'static,
    ) -> std::io::Result<Watching> {
        let ExecutorWatch { limit, stacks } = self;
        let over = Arc::new(Flag::new());
        let ends = over.clone();
        let now = Instant::now();
        let watched =
            |stats| Watched { stats, pulse: 0, since: now, is_counted: false, reported: None };
        let mut executors: Vec<Watched> = executors.into_iter().map(watched).collect();
        let watch = move || {
            while !ends.is_raised() {
                std::thread::park_timeout((limit / LOOKS).max(PAUSE_MIN));
                for (executor, watched) in executors.iter_mut().enumerate() {
                    if let Some(blocked) = watched.look(executor, limit, stacks.as_ref()) {
                        tell(&blocked);
                    }
                }
            }
        };
        let thread = std::thread::Builder::new().name("exec-watch".to_owned()).spawn(watch)?;
        Ok(Watching { over, thread: Some(thread) })
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.over.raise();
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It has nothing to say of how it ended: a panic of `tell` has been reported.
            let _ = thread.join();
        }
    }
}

impl Watched {
    /// What there is to report.
    fn look(
        &mut self,
        executor: usize,
        limit: Duration,
        stacks: Option<&Reader>,
    ) -> Option<Blocked> {
        let (pulse, now) = (self.stats.pulse(), Instant::now());
        if pulse != self.pulse || !ExecutorStats::is_in_code(pulse) {
            (self.pulse, self.since, self.is_counted) = (pulse, now, false);
            return None;
        }
        let blocked_for = now.saturating_duration_since(self.since);
        if blocked_for < limit || self.is_counted {
            return None;
        }
        self.is_counted = true;
        let times = self.stats.count_blocked();
        let is_late = |at: Instant| now.saturating_duration_since(at) >= REPORT_EVERY;
        if !self.reported.is_none_or(is_late) {
            return None;
        }
        self.reported = Some(now);
        let (thread_id, still) = (self.stats.thread_id(), || self.stats.pulse() == pulse);
        let doing = doing(thread_id);
        let stack = stacks.map(|stacks| stacks.read(thread_id, still)).unwrap_or_default();
        Some(Blocked { executor, thread_id, blocked_for, doing, times, stack })
    }
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Blocked { executor, thread_id, blocked_for, doing, times, stack } = self;
        let times = if *times == 1 { "the first time" } else { &format!("{times} times so far") };
        write!(
            f,
            "executor {executor} has been blocked for {} ms, {times} (thread {thread_id}, {doing}), \
             and serves nobody meanwhile: run what computes or blocks as a task, await what waits, or \
             raise executor_blocked_after_ms{stack}",
            blocked_for.as_millis()
        )
    }
}
