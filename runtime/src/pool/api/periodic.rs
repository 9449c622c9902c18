//! Periodic tasks: a job at fixed times, on the executor's clock.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::executor::{is_draining, sleep, spawn_local};
use crate::pool::api::handle::TaskHandle;
use crate::pool::api::tasks::Tasks;
use crate::sys::panics::{catch, drop_quietly};

/// What happens when a job is due while the one before is not over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// It is left out, and counted.
    Skip,
    /// It is dispatched all the same.
    Queue,
}

/// A periodic task. Dropping it changes nothing; [`stop`](Self::stop) ends it.
#[derive(Clone, Debug)]
pub struct Periodic {
    state: Rc<PeriodicState>,
}

/// What a periodic task has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeriodicSnapshot {
    /// Jobs dispatched.
    pub dispatched: u64,
    /// Times that were left out: the job before was not over, there was no room, or the executor
    /// came to them too late.
    pub skipped: u64,
    /// Times at which no job could be made, because what makes it panicked.
    pub panicked: u64,
}

#[derive(Debug, Default)]
struct PeriodicState {
    stopped: Cell<bool>,
    counts: Cell<PeriodicSnapshot>,
}

impl Periodic {
    /// Dispatches no more; what runs is let run.
    pub fn stop(&self) {
        self.state.stopped.set(true);
    }

    /// What it has done so far.
    pub fn snapshot(&self) -> PeriodicSnapshot {
        self.state.counts.get()
    }
}

impl PeriodicState {
    fn count(&self, count: impl FnOnce(&mut PeriodicSnapshot)) {
        let mut counts = self.counts.get();
        count(&mut counts);
        self.counts.set(counts);
    }
}

impl<J: Send + Unpin + 'static, O: Send + 'static> Tasks<J, O> {
    /// Dispatches a job each `interval`, the first after one of them. The times are counted from
    /// this call, so they do not drift; those that have passed when the executor gets to them are
    /// left out, and counted. Outcomes go to `on_finish`. Replaces Swoole's `tick` with a task in it.
    ///
    /// It ends by [`Periodic::stop`], or when the executor begins to drain: no job begins after
    /// that. A panic of `make_job` leaves out that time only; it is counted.
    ///
    /// # Panics
    /// On a thread that is not an executor's.
    pub fn every(
        &self,
        interval: Duration,
        overlap: Overlap,
        make_job: impl FnMut() -> J + 'static,
    ) -> Periodic {
        let state = Rc::new(PeriodicState::default());
        let interval = interval.max(Duration::from_millis(1));
        spawn_local(keep_dispatching(self.clone(), interval, overlap, make_job, state.clone()));
        Periodic { state }
    }
}

async fn keep_dispatching<J: Send + Unpin + 'static, O: Send + 'static>(
    tasks: Tasks<J, O>,
    interval: Duration,
    overlap: Overlap,
    mut make_job: impl FnMut() -> J,
    state: Rc<PeriodicState>,
) {
    let start = Instant::now();
    let mut last: Option<TaskHandle> = None;
    let mut turn = 1;
    loop {
        sleep(at(interval, turn).saturating_sub(start.elapsed())).await;
        if state.stopped.get() || is_draining() {
            return;
        }
        let free = overlap == Overlap::Queue || last.as_ref().is_none_or(TaskHandle::is_over);
        match free.then(|| catch(&mut make_job)) {
            Some(Some(job)) => {
                last = match tasks.job(job).spawn() {
                    Ok(handle) => {
                        state.count(|counts| counts.dispatched += 1);
                        Some(handle)
                    }
                    Err(refused) => {
                        state.count(|counts| counts.skipped += 1);
                        // A panic of the job's destructor would end the periodic task.
                        drop_quietly(refused);
                        None
                    }
                };
            }
            Some(None) => state.count(|counts| counts.panicked += 1),
            None => state.count(|counts| counts.skipped += 1),
        }
        let passed = turns(start.elapsed(), interval).max(turn);
        state.count(|counts| counts.skipped += passed - turn);
        turn = passed.saturating_add(1);
    }
}

/// When the turn is due, from the start on.
fn at(interval: Duration, turn: u64) -> Duration {
    let nanos = interval.as_nanos().saturating_mul(u128::from(turn));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Turns that were due in so long a time.
fn turns(time: Duration, interval: Duration) -> u64 {
    u64::try_from(time.as_nanos() / interval.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_due_at_their_times_for_centuries() {
        let ms = Duration::from_millis;
        assert_eq!(at(ms(1), 1 << 33), ms(1 << 33));
        assert_eq!(turns(ms((1 << 33) + 1), ms(1)), (1 << 33) + 1);
        assert_eq!(at(Duration::MAX, u64::MAX), Duration::from_nanos(u64::MAX));
        assert_eq!(turns(Duration::from_secs(1), Duration::MAX), 0);
    }
}
