//! Time on an executor: a sleep, and a deadline that is cheap to move.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::core::Core;
use super::timer::TimerKey;

/// A moment that a task waits for and moves often, such as a connection's time-out.
///
/// Moving it later touches no timer: the timer of the earlier moment fires, finds that it is too
/// early and is set again. The resolution is a millisecond, and it is never early.
pub struct Deadline {
    core: Rc<Core>,
    at_ms: Option<u64>,
    timer: Option<(TimerKey, u64)>,
}

impl Deadline {
    /// A deadline that is not set.
    ///
    /// # Panics
    /// On a thread that is not an executor's.
    pub fn unset() -> Self {
        Deadline { core: super::current(), at_ms: None, timer: None }
    }

    /// Sets it to `after` from now; `Duration::MAX` and its like are no limit.
    ///
    /// Reads the clock, some 25 ns: the turn's own may have stood still for as long as the task
    /// that calls this has computed.
    pub fn set(&mut self, after: Duration) {
        // Rounded up, and one more tick for the clock in milliseconds, which is a floor: never early.
        let after_ms = u64::try_from(after.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        self.at_ms = Some(self.core.read_clock_ms().saturating_add(after_ms).saturating_add(1));
    }

    /// Unsets it; `poll` waits for ever.
    pub fn clear(&mut self) {
        self.at_ms = None;
    }

    /// How long it is until then, where it is set; reads the clock.
    pub fn left(&self) -> Option<Duration> {
        self.at_ms.map(|at| Duration::from_millis(at.saturating_sub(self.core.read_clock_ms())))
    }

    /// Whether it is set and has passed.
    pub fn is_past(&self) -> bool {
        self.at_ms.is_some_and(|at| at <= self.core.now_ms())
    }

    /// Ready when the deadline has passed; otherwise the task is woken then, or earlier.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(at_ms) = self.at_ms else { return Poll::Pending };
        if at_ms <= self.core.now_ms() {
            return Poll::Ready(());
        }
        let mut timers = self.core.timers.borrow_mut();
        if let Some((key, armed_ms)) = self.timer {
            if armed_ms <= at_ms && timers.is_pending(key) {
                timers.set_waker(key, context.waker());
                return Poll::Pending;
            }
            timers.cancel(key);
        }
        self.timer = Some((timers.insert(at_ms, context.waker().clone()), at_ms));
        Poll::Pending
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        if let Some((key, _)) = self.timer {
            self.core.timers.borrow_mut().cancel(key);
        }
    }
}

/// The future of [`sleep`]. Dropping it cancels the sleep.
pub struct Sleep {
    deadline: Deadline,
}

/// Waits for `duration`, with a resolution of a millisecond and never less.
///
/// # Panics
/// On a thread that is not an executor's.
pub fn sleep(duration: Duration) -> Sleep {
    let mut deadline = Deadline::unset();
    deadline.set(duration);
    Sleep { deadline }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.deadline.poll(context)
    }
}

/// Seconds since the epoch, from the kernel's coarse clock (a few milliseconds behind at most).
pub fn unix_seconds() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    u64::try_from(now.tv_sec).unwrap_or(0)
}
