//! The numbers of a pool, and the bounds derived from them.

use crate::pool::notice::{self, OnNotice};
use crate::pool::task::kinds::Kinds;
use std::sync::Arc;
use std::time::Duration;

use crate::pool::queue::Places;
use crate::pool::task::error::PoolError;
use crate::stack;

/// How long a worker on a CPU of its own looks for the next job before it sleeps.
const SPIN_DEFAULT: Duration = Duration::from_micros(10);

/// Jobs that may sleep on an executor, by default.
pub const DELAYED_MAX_DEFAULT: usize = 1 << 16;

/// Where a task worker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The CPU it is pinned to.
    pub cpu: usize,
    /// Whether something else of this server is pinned there too; then it does not spin.
    pub shared: bool,
    /// The cache domain of that CPU; each that has task workers has queues of its own. Counts only
    /// where [`PoolConfig::executor_domains`] are given.
    pub domain: usize,
}

/// The shape of a pool.
#[derive(Clone, Debug)]
pub struct PoolConfig {
    /// A seat for each task worker; at least one.
    pub seats: Vec<Seat>,
    /// Jobs of each priority that may wait in the queue, those that run not counted; at least one.
    /// As many may wait for each task worker alone. With several cache domains each has queues of
    /// this depth.
    pub queue_depth: usize,
    /// The cache domain of each executor, by its number. Empty: all share one.
    pub executor_domains: Vec<usize>,
    /// Jobs that an executor may have in the queue and with task workers, together. `None` derives
    /// it from the others, so that one executor alone can fill the queue and the workers: with
    /// several, the queue's depth is the bound. The finish rings take this number times executors
    /// times task workers times some 100 bytes of address space; give it where that is too much.
    pub credits: Option<usize>,
    /// Jobs of an executor that may sleep: delayed, or in the pause before another attempt. They
    /// take nothing from those that could run. Without a place a delayed job is refused, and a
    /// pause keeps what the attempt before it had. Each costs its job and some 200 bytes.
    pub delayed_max: usize,
    /// How long an idle worker spins before it sleeps. `None`: 10 µs on a CPU of its own, else 0.
    pub spin: Option<Duration>,
    /// Jobs after which a task worker is made anew: another thread, with state of its own. `None`:
    /// never. Replaces Swoole's `task_max_request`.
    pub recycle_after: Option<u64>,
    /// How long a job may run before it is reported as [`Notice::Stuck`](crate::pool::Notice::Stuck).
    /// `None`: nobody looks.
    pub stuck_after: Option<Duration>,
    /// The real-time signal, counted from `SIGRTMIN`, by which the threads of stuck jobs are asked
    /// for their [`Stack`](crate::stack::Stack). `None`: they are not asked. Needs the cargo feature
    /// `stacks`. Without `stuck_after` none is asked either.
    ///
    /// The handler is set when the first such pool starts and stays for the life of the process,
    /// since a signal may come late. A signal that the process handles or ignores already is
    /// refused ([`PoolError::Stacks`]). It interrupts a stuck job once a report: see
    /// [`Stack`](crate::stack::Stack) for what system calls of the job see of that.
    pub stack_signal: Option<u32>,
    /// Task workers that stand in for those whose job is stuck. Each costs its finish rings from
    /// the start; their threads are made when needed. Without `stuck_after` none is.
    pub spares: usize,
}

/// What bounds a lane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LaneBounds {
    pub(crate) credits: usize,
    pub(crate) sleeping_max: usize,
}

/// What a pool is told of its jobs and tells of itself.
pub struct PoolSetup<J> {
    /// The pool's number, which its tasks' ids carry.
    pub number: u8,
    /// The pool's name, in notices.
    pub name: Arc<str>,
    /// What the threads' names begin with.
    pub thread_name: Arc<str>,
    /// The kinds of its jobs.
    pub kinds: Kinds<J>,
    /// Receives its notices.
    pub on_notice: OnNotice,
}

impl<J> Default for PoolSetup<J> {
    /// One kind of jobs, threads `task-0`, `task-1`, ..., notices on standard error.
    fn default() -> Self {
        PoolSetup {
            number: 0,
            name: "default".into(),
            thread_name: "task".into(),
            kinds: Kinds::one(),
            on_notice: notice::on_standard_error(),
        }
    }
}

impl PoolConfig {
    /// A pool of these seats and this depth; all else as it is by default.
    pub fn new(seats: Vec<Seat>, queue_depth: usize) -> Self {
        PoolConfig {
            seats,
            queue_depth,
            executor_domains: Vec::new(),
            credits: None,
            delayed_max: DELAYED_MAX_DEFAULT,
            spin: None,
            recycle_after: None,
            stuck_after: None,
            stack_signal: None,
            spares: 0,
        }
    }

    /// The credits of each executor. The finish rings' capacity is the same number, so that a worker
    /// never meets a full ring.
    pub fn credits(&self) -> usize {
        self.async_credits(1)
    }

    /// The same where each worker runs up to `concurrency` jobs at once.
    pub fn async_credits(&self, concurrency: usize) -> usize {
        let all_in_flight = self.queue_depth + self.seats.len() * concurrency;
        self.credits.unwrap_or(all_in_flight).max(1)
    }

    pub(crate) fn lane_bounds(&self, concurrency: usize) -> LaneBounds {
        LaneBounds { credits: self.async_credits(concurrency), sleeping_max: self.delayed_max }
    }

    pub(crate) fn spin(configured: Option<Duration>, seat: Seat) -> Duration {
        configured.unwrap_or(if seat.shared { Duration::ZERO } else { SPIN_DEFAULT })
    }

    pub(crate) fn places(&self) -> Places {
        match &*self.executor_domains {
            [] => Places::default(),
            executors => Places::of(
                executors,
                &self.seats.iter().map(|seat| seat.domain).collect::<Vec<_>>(),
            ),
        }
    }

    /// What reads the stacks of stuck jobs, where they are wanted.
    pub(crate) fn stack_reader(&self) -> Result<Option<stack::Reader>, PoolError> {
        self.stack_signal.map(stack::Reader::install).transpose().map_err(PoolError::Stacks)
    }

    pub(crate) fn check(&self, executors: usize) -> Result<(), PoolError> {
        match () {
            () if executors == 0 => Err(PoolError::NoExecutors),
            () if self.seats.is_empty() => Err(PoolError::NoSeats),
            () if self.queue_depth == 0 => Err(PoolError::NoDepth),
            () if self.recycle_after == Some(0) => Err(PoolError::RecycleAtOnce),
            () => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(task_workers: usize, queue_depth: usize) -> PoolConfig {
        let seats = vec![Seat { cpu: 0, shared: true, domain: 0 }; task_workers];
        PoolConfig::new(seats, queue_depth)
    }

    #[test]
    fn one_executor_can_fill_the_queue_and_the_workers() {
        assert_eq!(config(1, 4).credits(), 5);
        assert_eq!(config(2, 1024).credits(), 1026);
        assert_eq!(config(2, 1024).async_credits(8), 1040);
        assert_eq!(PoolConfig { credits: Some(3), ..config(2, 1024) }.credits(), 3);
    }
}
