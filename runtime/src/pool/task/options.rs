//! How one task is to be treated: its priority, its times, its task worker, its retries.

use std::time::Duration;

/// Which of the waiting jobs a task worker takes first.
///
/// The low ones do not starve: of sixteen jobs that a worker takes at least one is low and at
/// least three are not high, where such ones wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// Before the others.
    High,
    /// The usual one.
    #[default]
    Normal,
    /// After the others.
    Low,
}

impl Priority {
    pub(crate) const ALL: [Priority; 3] = [Priority::High, Priority::Normal, Priority::Low];
}

/// In this many jobs that are taken, or credits that are given, one is for the low ones first.
pub(crate) const LOW_EVERY: u32 = 16;
/// One in this many for the normal ones first.
pub(crate) const NORMAL_EVERY: u32 = 4;

/// What happens to a task whose job failed or panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Attempts after the first.
    pub retries: u32,
    /// Before the second attempt; it doubles with each further one.
    pub backoff: Duration,
    /// What it doubles up to.
    pub backoff_max: Duration,
}

impl Retry {
    /// So many retries, the first after 100 ms, none more than 30 s after the one before.
    pub fn times(retries: u32) -> Self {
        let (backoff, backoff_max) = (Duration::from_millis(100), Duration::from_secs(30));
        Retry { retries, backoff, backoff_max }
    }

    /// A pause after attempt `attempt` (from 1): the upper half of it is random, so that tasks that
    /// failed together do not come back together.
    pub fn pause(&self, attempt: u32) -> Duration {
        self.pause_of(attempt, fastrand::u32(..))
    }

    fn pause_of(&self, attempt: u32, random: u32) -> Duration {
        let doubled = self.backoff.saturating_mul(1 << attempt.saturating_sub(1).min(20));
        let full = doubled.min(self.backoff_max);
        (full / 2).saturating_add((full / 2).mul_f64(f64::from(random) / f64::from(u32::MAX)))
    }
}

/// The options of one dispatch.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    pub(crate) priority: Priority,
    pub(crate) delay: Option<Duration>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) task_worker: Option<usize>,
    pub(crate) retry: Option<Retry>,
    /// Attempts that were made before this dispatch.
    pub(crate) attempts_before: u32,
}

impl Options {
    /// The number of the first attempt that this dispatch makes.
    pub(crate) fn first_attempt(&self) -> u32 {
        self.attempts_before.saturating_add(1)
    }

    /// The same when so much of its times has passed.
    pub(crate) fn after(self, passed: Duration) -> Self {
        let left = |time: Duration| time.saturating_sub(passed);
        // Without a rest of it there is nothing to wait for.
        let delay = self.delay.map(left).filter(|delay| !delay.is_zero());
        Options { delay, deadline: self.deadline.map(left), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_bound_and_lie_in_their_upper_half() {
        let retry = Retry::times(99);
        for (attempt, full_ms) in [(1, 100), (2, 200), (5, 1_600), (9, 25_600), (40, 30_000)] {
            let full = Duration::from_millis(full_ms);
            assert_eq!(retry.pause_of(attempt, 0), full / 2);
            assert_eq!(retry.pause_of(attempt, u32::MAX), full);
        }
    }
}
