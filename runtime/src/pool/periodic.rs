//! Periodic tasks: a job at fixed times, on the executor's clock.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::tasks::Tasks;
use crate::executor::{sleep, spawn_local};

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
    state: Rc<State>,
}

/// What a periodic task has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeriodicSnapshot {
    /// Jobs dispatched.
    pub dispatched: u64,
    /// Times that were left out, because the job before was not over or there was no room.
    pub skipped: u64,
}

#[derive(Debug, Default)]
struct State {
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

impl State {
    fn count(&self, dispatched: bool) {
        let mut counts = self.counts.get();
        match dispatched {
            true => counts.dispatched += 1,
            false => counts.skipped += 1,
        }
        self.counts.set(counts);
    }
}

impl<J: Send + Unpin + 'static, O: Send + 'static> Tasks<J, O> {
    /// Dispatches a job each `interval`, the first after one of them. The times are counted from
    /// this call, so they do not drift; those that have passed when the executor gets to them are
    /// left out. Outcomes go to `on_finish`. Replaces Swoole's `tick` with a task in it.
    ///
    /// # Panics
    /// On a thread that is not an executor's.
    pub fn every(
        &self,
        interval: Duration,
        overlap: Overlap,
        make_job: impl FnMut() -> J + 'static,
    ) -> Periodic {
        let state = Rc::new(State::default());
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
    state: Rc<State>,
) {
    let start = Instant::now();
    let mut last: Option<super::TaskHandle> = None;
    let mut turn = 1;
    loop {
        sleep((interval * turn).saturating_sub(start.elapsed())).await;
        if state.stopped.get() {
            return;
        }
        let is_over = |handle: &super::TaskHandle| handle.is_over();
        let free = overlap == Overlap::Queue || last.as_ref().is_none_or(is_over);
        if free {
            last = tasks.job(make_job()).dispatch().ok();
        }
        state.count(free && last.is_some());
        let passed = (start.elapsed().as_nanos() / interval.as_nanos()) as u32;
        turn = passed.max(turn) + 1;
    }
}
