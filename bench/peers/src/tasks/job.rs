//! The job, the same for every subject: a function of a `u64`, and what a thread can say of itself.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How long the worker is at it in [`State::ExecutorIdle`](crate::measure::State).
const SPIN: Duration = Duration::from_micros(200);

/// A job, which every subject carries to its worker and calls there.
#[derive(Clone, Copy)]
pub(crate) struct Job {
    function: fn(u64) -> u64,
    input: u64,
}

impl Job {
    /// The trivial job: one addition.
    pub(crate) fn trivial(input: u64) -> Self {
        Job { function: |input| input.wrapping_add(1), input }
    }

    /// Works for [`SPIN`] and returns when it ended, by [`now_ns`].
    pub(crate) fn spin() -> Self {
        Job { function: |_| spin(), input: 0 }
    }

    /// Works for [`SPIN`] and returns whether thread `id` sleeps then.
    pub(crate) fn spin_and_look_at(id: u64) -> Self {
        let function = |id| {
            spin();
            u64::from(is_asleep(id))
        };
        Job { function, input: id }
    }

    /// Returns the CPU that it runs on.
    pub(crate) fn cpu() -> Self {
        Job { function: |_| rustix::thread::sched_getcpu() as u64, input: 0 }
    }

    /// Returns the id of the thread that it runs on.
    pub(crate) fn thread() -> Self {
        Job { function: |_| thread_id(), input: 0 }
    }

    /// Runs it.
    pub(crate) fn call(self) -> u64 {
        (self.function)(self.input)
    }
}

fn spin() -> u64 {
    let start = Instant::now();
    while start.elapsed() < SPIN {
        std::hint::spin_loop();
    }
    now_ns()
}

/// Nanoseconds on a clock that all threads share.
pub(crate) fn now_ns() -> u64 {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    EPOCH.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// The id of this thread.
pub(crate) fn thread_id() -> u64 {
    rustix::thread::gettid().as_raw_nonzero().get() as u64
}

/// Whether a thread of this process sleeps: state S in its `stat`.
pub(crate) fn is_asleep(thread: u64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat"));
    // After the name, which is in parentheses and may hold some.
    stat.is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" S")))
}
