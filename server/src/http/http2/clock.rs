//! hyper's timer over the executor's wheel.
//!
//! hyper wants sleeps that are `Send` and `Sync`; a timer of the wheel is its thread's own. So a
//! sleep is a number, and what it stands for is in a table of the thread that made it, which is the
//! one that polls and drops it: a connection does not leave its executor.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use sidecore_runtime::executor::Deadline;
use slab::Slab;

thread_local! {
    /// The sleeps of this thread: as many as connections have, two each at most.
    static SLEEPS: RefCell<Slab<Deadline>> = const { RefCell::new(Slab::new()) };
}

/// The timer of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock;

/// Its key in the table.
struct Asleep {
    key: usize,
}

impl Timer for Clock {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        let mut deadline = Deadline::unset();
        deadline.set(duration);
        let key = SLEEPS.with_borrow_mut(|sleeps| sleeps.insert(deadline));
        Box::pin(Asleep { key })
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.sleep(deadline.saturating_duration_since(Instant::now()))
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, deadline: Instant) {
        let left = deadline.saturating_duration_since(Instant::now());
        match sleep.as_mut().downcast_mut_pin::<Asleep>() {
            Some(asleep) => SLEEPS.with_borrow_mut(|sleeps| {
                if let Some(deadline) = sleeps.get_mut(asleep.key) {
                    deadline.set(left);
                }
            }),
            None => *sleep = self.sleep(left),
        }
    }
}

impl Sleep for Asleep {}

impl Future for Asleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        SLEEPS.with_borrow_mut(|sleeps| {
            sleeps.get_mut(self.key).map_or(Poll::Pending, |deadline| deadline.poll(context))
        })
    }
}

impl Drop for Asleep {
    fn drop(&mut self) {
        // At a thread's end the table may be gone, and its deadlines with it.
        let _ = SLEEPS.try_with(|sleeps| sleeps.borrow_mut().try_remove(self.key));
    }
}
