//! What a wait in the kernel is for, so that one entry serves more than one event.
//!
//! **Sends.** A small send that does not wait for room completes while it is submitted. Where no
//! task waits for that, its completion alone is no reason to come back: the same entry that sends
//! an answer waits for the next request too. It is looked at after [`TICK`] at the latest, because
//! it may say that the socket took a part only. That is not a limit of the wait, for which the
//! kernel would start and stop a timer each time, but a timeout operation of its own, one at a
//! time, that lets a wait end: many waits for one timer. While it is in flight no limit that is
//! as long has to be given either.
//!
//! **Requests.** Near the end of its CPU an executor wakes for each request that arrives, only to
//! find the next one right behind it. Like a network card that coalesces its interrupts, it then
//! waits for as many requests as it found last time, for a bounded time (the minimum wait of
//! `io_uring_enter(2)`, Linux 6.12). Waiting for what it found settles by itself: found more,
//! waits for more; the time was over first, waits for fewer.

use std::num::NonZeroU64;
use std::time::Duration;

use rustix::thread::set_current_timer_slack;

/// Requests waited for at most: the first of them waits for its answer until the last is served.
const TARGET_MAX: u32 = 4;
/// How long the end of a send may stay unseen.
pub(super) const TICK: Duration = Duration::from_millis(5);
/// A wait without limit, where the kernel asks for one.
const LONG: Duration = Duration::from_secs(3600);

/// What the next wait is for.
pub(super) struct Coalesce {
    /// Zero: requests are not gathered.
    limit_us: u32,
    busy: bool,
    found: u32,
    /// The timeout of [`TICK`] is in flight.
    ticking: bool,
}

/// A wait: for so many completions, and when fewer are enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wait {
    pub(super) completions: u32,
    /// After this one is enough; 0: the number stands.
    pub(super) min_wait_us: u32,
    /// After this none is needed; None: never.
    pub(super) limit: Option<Duration>,
}

impl Coalesce {
    /// Waits for more than one request at most `limit`. Called on the executor's thread.
    pub(super) fn new(limit: Duration) -> Self {
        if !limit.is_zero() {
            // Else the kernel may end the wait 50 us late (prctl(2), PR_SET_TIMERSLACK).
            let _ = set_current_timer_slack(NonZeroU64::new(1));
        }
        let limit_us = u32::try_from(limit.as_micros()).unwrap_or(u32::MAX);
        Coalesce { limit_us, busy: false, found: 0, ticking: false }
    }

    /// Whether the executor is near the end of its CPU; until then it waits for one request.
    pub(super) fn set_busy(&mut self, busy: bool) {
        self.busy = busy;
    }

    /// A wait has ended, and so many receives completed.
    pub(super) fn found(&mut self, receives: u32) {
        self.found = receives;
    }

    /// Whether the timeout is to be submitted before the next wait, which lets the completions of
    /// `sends` be unseen; from then on it counts as in flight.
    pub(super) fn begins_tick(&mut self, sends: u32) -> bool {
        let begins = sends > 0 && !self.ticking;
        self.ticking |= begins;
        begins
    }

    /// The timeout has completed.
    pub(super) fn end_tick(&mut self) {
        self.ticking = false;
    }

    /// The next wait, of `limit` at most, where the completions of `sends` are there or will be at
    /// once and no task waits for them.
    pub(super) fn next_wait(&self, sends: u32, limit: Option<Duration>) -> Wait {
        let limit = limit.filter(|limit| !self.ticking || *limit < TICK);
        let target = if self.busy && self.limit_us > 0 { self.found } else { 1 };
        match target.clamp(1, TARGET_MAX) {
            1 => Wait { completions: sends + 1, min_wait_us: 0, limit },
            // The kernel looks at the minimum wait only beside a limit.
            target => Wait {
                completions: sends + target,
                min_wait_us: self.limit_us,
                limit: limit.or(Some(LONG)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(coalesce: &Coalesce, sends: u32, completions: u32, min_wait_us: u32) {
        let wait = coalesce.next_wait(sends, None);
        assert_eq!((wait.completions, wait.min_wait_us), (completions, min_wait_us));
    }

    #[test]
    fn a_busy_executor_waits_for_what_it_found_last() {
        let mut coalesce = Coalesce::new(Duration::from_micros(10));
        coalesce.set_busy(true);
        for (found, completions, min_wait_us) in [(3, 3, 10), (0, 1, 0), (1, 1, 0), (1000, 4, 10)] {
            coalesce.found(found);
            check(&coalesce, 0, completions, min_wait_us);
        }
        coalesce.set_busy(false);
        check(&coalesce, 0, 1, 0);
    }

    #[test]
    fn without_a_time_for_it_no_requests_are_gathered() {
        let mut coalesce = Coalesce::new(Duration::ZERO);
        coalesce.set_busy(true);
        coalesce.found(9);
        check(&coalesce, 0, 1, 0);
        check(&coalesce, 1, 2, 0);
    }

    #[test]
    fn the_end_of_a_send_is_no_reason_to_come_back_but_is_not_left_unseen() {
        let mut coalesce = Coalesce::new(Duration::from_micros(10));
        let (second, none) = (Some(Duration::from_secs(1)), Some(Duration::ZERO));
        assert!(!coalesce.begins_tick(0));
        assert_eq!(coalesce.next_wait(0, None).limit, None);
        assert_eq!(coalesce.next_wait(0, second).limit, second);
        assert!(coalesce.begins_tick(2));
        assert!(!coalesce.begins_tick(2));
        assert_eq!(coalesce.next_wait(2, second).limit, None);
        assert_eq!(coalesce.next_wait(0, second).limit, None);
        assert_eq!(coalesce.next_wait(2, none).limit, none);
        check(&coalesce, 2, 3, 0);
        coalesce.end_tick();
        assert_eq!(coalesce.next_wait(0, second).limit, second);
        assert!(coalesce.begins_tick(1));
        coalesce.set_busy(true);
        coalesce.found(4);
        check(&coalesce, 2, 6, 10);
    }
}
