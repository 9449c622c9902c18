//! Counters of a pool: each has one writer, so that an update is a plain load and store.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::histogram::Histogram;
use super::{Percentiles, Shared, TaskError};

/// A counter with one writer.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    /// By the one writer.
    pub(super) fn add(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed) + count, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How tasks ended, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// With an output.
    pub finished: u64,
    /// Their job said so.
    pub failed: u64,
    /// By a panic.
    pub panicked: u64,
    /// Their deadline passed.
    pub timed_out: u64,
    /// They were cancelled.
    pub cancelled: u64,
    /// Without an outcome: see [`TaskError::Lost`].
    pub lost: u64,
}

const OUTCOMES: usize = 6;

fn kind<O>(outcome: &Result<O, TaskError>) -> usize {
    match outcome {
        Ok(_) => 0,
        Err(TaskError::Failed(_)) => 1,
        Err(TaskError::Panicked(_)) => 2,
        Err(TaskError::TimedOut) => 3,
        Err(TaskError::Cancelled) => 4,
        Err(TaskError::Lost) => 5,
    }
}

impl Outcomes {
    /// All of them.
    pub fn total(&self) -> u64 {
        let Outcomes { finished, failed, panicked, timed_out, cancelled, lost } = self;
        finished + failed + panicked + timed_out + cancelled + lost
    }

    fn add(&mut self, counts: [u64; OUTCOMES]) {
        let [finished, failed, panicked, timed_out, cancelled, lost] = counts;
        self.finished += finished;
        self.failed += failed;
        self.panicked += panicked;
        self.timed_out += timed_out;
        self.cancelled += cancelled;
        self.lost += lost;
    }
}

/// Written by the lane's executor.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct LaneStats {
    pub(super) accepted: Counter,
    pub(super) refused: Counter,
    pub(super) retried: Counter,
    pub(super) callback_panics: Counter,
    outcomes: [Counter; OUTCOMES],
}

impl LaneStats {
    pub(super) fn count_outcome<O>(&self, outcome: &Result<O, TaskError>) {
        self.outcomes[kind(outcome)].add(1);
    }
}

/// Written by any thread that is no executor.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct ForeignStats {
    accepted: AtomicU64,
    refused: AtomicU64,
    outcomes: [AtomicU64; OUTCOMES],
}

impl ForeignStats {
    pub(super) fn count_accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_outcome<O>(&self, outcome: &Result<O, TaskError>) {
        self.outcomes[kind(outcome)].fetch_add(1, Ordering::Relaxed);
    }
}

/// Written by the task worker.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct TaskWorkerStats {
    ran: Counter,
    panicked: Counter,
    /// The id of the task that runs, 0 for none.
    running: AtomicU64,
    /// Jobs that an async worker has taken up and not ended.
    running_jobs: AtomicU64,
    /// Microseconds from `epoch` to when it began.
    since_us: AtomicU64,
    waited: Histogram,
    run_time: Histogram,
}

/// The counters of one task worker at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskWorkerSnapshot {
    /// Tasks it has run to their end, panics included.
    pub ran: u64,
    /// Those that panicked.
    pub panicked: u64,
    /// The task that runs now, if one does, and for how long.
    pub running: Option<(u64, Duration)>,
    /// Tasks that run now: one at most, but on an async worker, where `running` names none.
    pub running_jobs: usize,
}

/// The counters of a pool at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolSnapshot {
    /// Jobs accepted.
    pub accepted: u64,
    /// Jobs given back.
    pub refused: u64,
    /// Further attempts that were made.
    pub retried: u64,
    /// Outcomes delivered to `on_finish`, a callback or an awaiting future.
    pub outcomes: Outcomes,
    /// Callbacks that panicked.
    pub callback_panics: u64,
    /// Jobs in the queues.
    pub queued: usize,
    /// Task workers asleep.
    pub sleeping: u32,
    /// From a job's dispatch to its run.
    pub waited: Percentiles,
    /// Of the jobs' runs.
    pub run_time: Percentiles,
    /// Each task worker.
    pub workers: Vec<TaskWorkerSnapshot>,
}

impl PoolSnapshot {
    /// Accepted tasks whose outcome was not delivered. Above 0 after a pool has closed: lost.
    pub fn outstanding(&self) -> u64 {
        self.accepted.saturating_sub(self.outcomes.total())
    }
}

impl TaskWorkerStats {
    pub(super) fn begin(&self, id: u64, start: Instant, waited: Duration) {
        let since = start.saturating_duration_since(epoch());
        self.since_us.store(since.as_micros() as u64, Ordering::Relaxed);
        self.running.store(id, Ordering::Relaxed);
        self.waited.record(waited);
    }

    pub(super) fn end(&self, ran: Duration, panicked: bool) {
        self.ran.add(1);
        if panicked {
            self.panicked.add(1);
        }
        self.run_time.record(ran);
        self.running.store(0, Ordering::Relaxed);
    }

    /// An async worker takes up a job beside those that it has.
    pub(super) fn begin_one_more(&self, waited: Duration) {
        let jobs = self.running_jobs.load(Ordering::Relaxed);
        self.running_jobs.store(jobs + 1, Ordering::Relaxed);
        self.waited.record(waited);
    }

    /// One of an async worker's jobs is over.
    pub(super) fn end_one_of_many(&self, ran: Duration, panicked: bool) {
        let jobs = self.running_jobs.load(Ordering::Relaxed);
        self.running_jobs.store(jobs - 1, Ordering::Relaxed);
        self.end(ran, panicked);
    }

    fn snapshot(&self) -> TaskWorkerSnapshot {
        let running = self.running.load(Ordering::Relaxed);
        let jobs = self.running_jobs.load(Ordering::Relaxed) as usize;
        let since = Duration::from_micros(self.since_us.load(Ordering::Relaxed));
        TaskWorkerSnapshot {
            ran: self.ran.get(),
            panicked: self.panicked.get(),
            running: (running != 0).then(|| (running, epoch().elapsed().saturating_sub(since))),
            running_jobs: jobs.max(usize::from(running != 0)),
        }
    }
}

/// What `since_us` counts from.
fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

impl<J, O> Shared<J, O> {
    pub(super) fn snapshot(&self) -> PoolSnapshot {
        let lanes = || self.lanes.iter().map(|lane| &lane.stats);
        let foreign = &self.foreign.stats;
        let foreign_count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut outcomes = Outcomes::default();
        // Before what was accepted: a task that ends meanwhile is outstanding, not one too many.
        lanes().for_each(|lane| outcomes.add(lane.outcomes.each_ref().map(Counter::get)));
        outcomes.add(foreign.outcomes.each_ref().map(foreign_count));
        PoolSnapshot {
            outcomes,
            accepted: lanes().map(|lane| lane.accepted.get()).sum::<u64>()
                + foreign_count(&foreign.accepted),
            refused: lanes().map(|lane| lane.refused.get()).sum::<u64>()
                + foreign_count(&foreign.refused),
            retried: lanes().map(|lane| lane.retried.get()).sum(),
            callback_panics: lanes().map(|lane| lane.callback_panics.get()).sum(),
            queued: self.queues.len(),
            sleeping: self.park.sleeping(),
            waited: Histogram::percentiles(self.workers.iter().map(|worker| &worker.waited)),
            run_time: Histogram::percentiles(self.workers.iter().map(|worker| &worker.run_time)),
            workers: self.workers.iter().map(TaskWorkerStats::snapshot).collect(),
        }
    }
}
