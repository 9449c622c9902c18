//! Whether an executor is near the end of its CPU: what turns waiting into batching.
//!
//! An executor with time to spare does everything at once. One that has none does better to wait
//! a little and do several things together: serve several requests by one entry of the kernel
//! (`ring/coalesce.rs`), wake a task worker once for several jobs, look for finishes by itself
//! instead of being woken for each.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// How often the load is looked at: a system call each.
const SAMPLE: Duration = Duration::from_millis(10);
/// The load from which on an executor is busy, and below which it no longer is: batching itself
/// lowers the load.
const BUSY_FROM: f64 = 0.75;
const BUSY_UNTIL: f64 = 0.5;

/// Compares a thread's CPU time with the clock.
pub(super) struct Load {
    busy: bool,
    sampled: Instant,
    cpu_time: Duration,
}

impl Load {
    /// Measures the calling thread.
    pub(super) fn new() -> Self {
        Load { busy: false, sampled: Instant::now(), cpu_time: thread_cpu_time() }
    }

    /// Looks again, if it is time to; whether the thread is busy.
    pub(super) fn is_busy(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.sampled) >= SAMPLE {
            // `now` may be as old as the turn: both clocks are read at one moment.
            let (now, cpu_time) = (Instant::now(), thread_cpu_time());
            let elapsed = now.saturating_duration_since(self.sampled);
            self.judge(elapsed, cpu_time.saturating_sub(self.cpu_time));
            (self.sampled, self.cpu_time) = (now, cpu_time);
        }
        self.busy
    }

    fn judge(&mut self, elapsed: Duration, cpu_time: Duration) {
        let load = cpu_time.as_secs_f64() / elapsed.as_secs_f64();
        self.busy = load > if self.busy { BUSY_UNTIL } else { BUSY_FROM };
    }
}

fn thread_cpu_time() -> Duration {
    // The clock counts up from the thread's start.
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_begins_high_and_ends_low() {
        let mut load = Load::new();
        let of_ten = |load: &mut Load, busy_ms| {
            load.judge(Duration::from_millis(10), Duration::from_millis(busy_ms));
            load.busy
        };
        assert!(!of_ten(&mut load, 7));
        assert!(of_ten(&mut load, 8));
        assert!(of_ten(&mut load, 6));
        assert!(!of_ten(&mut load, 5));
        assert!(!of_ten(&mut load, 7));
    }

    #[test]
    fn a_thread_that_computes_is_busy_and_one_that_sleeps_is_not() {
        let mut load = Load::new();
        let start = Instant::now();
        std::thread::sleep(2 * SAMPLE);
        assert!(!load.is_busy(Instant::now()));
        // Other tests may share this CPU: some of the samples must find it busy.
        while !load.is_busy(Instant::now()) {
            assert!(start.elapsed() < Duration::from_secs(20), "never busy");
        }
    }
}
