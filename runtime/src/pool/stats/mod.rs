//! Counters of a pool: each has one writer, so that an update is a plain load and store.

pub(crate) mod histogram;
pub(crate) mod running;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::pool::stats::histogram::{Histogram, Percentiles};
use crate::pool::stats::running::{Running, Seen};
use crate::pool::task::error::TaskError;

/// A counter with one writer.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// By the one writer.
    pub(crate) fn add(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed) + count, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
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

    pub(crate) fn add(&mut self, counts: [u64; OUTCOMES]) {
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
    pub(crate) accepted: Counter,
    pub(crate) refused: Counter,
    pub(crate) retried: Counter,
    pub(crate) callback_panics: Counter,
    pub(crate) outcomes: [Counter; OUTCOMES],
}

impl LaneStats {
    pub(crate) fn count_outcome<O>(&self, outcome: &Result<O, TaskError>) {
        self.outcomes[kind(outcome)].add(1);
    }
}

/// Written by any thread that is no executor.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct ExternalStats {
    pub(crate) accepted: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) outcomes: [AtomicU64; OUTCOMES],
}

impl ExternalStats {
    pub(crate) fn count_accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_outcome<O>(&self, outcome: &Result<O, TaskError>) {
        self.outcomes[kind(outcome)].fetch_add(1, Ordering::Relaxed);
    }
}

/// Written by the task worker.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct TaskWorkerStats {
    pub(crate) ran: Counter,
    pub(crate) panicked: Counter,
    pub(crate) renewed: Counter,
    pub(crate) running: Running,
    /// Jobs that an async worker has taken up and not ended.
    pub(crate) running_jobs: AtomicU64,
    /// The thread, as the system numbers it.
    pub(crate) thread_id: AtomicU32,
    /// Whether it has a thread, and whether that is asked to leave: of a spare only.
    pub(crate) working: AtomicBool,
    pub(crate) retiring: AtomicBool,
    pub(crate) kinds: Box<[KindStats]>,
}

/// Of the jobs of one kind on one task worker; written by that.
#[derive(Default)]
pub(crate) struct KindStats {
    pub(crate) panicked: Counter,
    pub(crate) waited: Histogram,
    pub(crate) run_time: Histogram,
}

/// The task that a worker runs.
pub(crate) struct RunningTask {
    pub(crate) task: u64,
    pub(crate) kind: usize,
    pub(crate) since: Duration,
}

/// The counters of one task worker at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskWorkerSnapshot {
    /// Tasks it has run to their end, panics included.
    pub ran: u64,
    /// Those that panicked.
    pub panicked: u64,
    /// How often it was made anew.
    pub renewed: u64,
    /// The task that runs now, if one does, and for how long.
    pub running: Option<(u64, Duration)>,
    /// Tasks that run now: one at most, but on an async worker, where `running` names none.
    pub running_jobs: usize,
    /// Whether it is a spare.
    pub is_spare: bool,
}

/// The counters of one kind of jobs at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindSnapshot {
    /// The kind.
    pub name: &'static str,
    /// Runs that panicked.
    pub panicked: u64,
    /// From dispatch to run.
    pub waited: Percentiles,
    /// Of the runs; their count is that of the runs.
    pub run_time: Percentiles,
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
    /// System calls made to wake task workers, by all who dispatched.
    pub wakes: u64,
    /// From a job's dispatch to its run.
    pub waited: Percentiles,
    /// Of the jobs' runs.
    pub run_time: Percentiles,
    /// The jobs by kind.
    pub kinds: Vec<KindSnapshot>,
    /// Each task worker; of the spares those that work or have worked.
    pub workers: Vec<TaskWorkerSnapshot>,
}

impl PoolSnapshot {
    /// Accepted tasks whose outcome was not delivered. Above 0 after a pool has closed: lost.
    pub fn outstanding(&self) -> u64 {
        self.accepted.saturating_sub(self.outcomes.total())
    }
}

impl TaskWorkerStats {
    pub(crate) fn new(kinds: usize) -> Self {
        let kinds = (0..kinds).map(|_| KindStats::default()).collect();
        TaskWorkerStats { kinds, ..TaskWorkerStats::default() }
    }

    pub(crate) fn begin(&self, id: u64, kind: usize, start: Instant, waited: Duration) {
        let since_us = start.saturating_duration_since(epoch()).as_micros() as u64;
        self.running.begin(Seen { id, since_us, kind });
        self.kinds[kind].waited.record(waited);
    }

    pub(crate) fn end(&self, kind: usize, ran: Duration, panicked: bool) {
        self.ran.add(1);
        if panicked {
            self.panicked.add(1);
            self.kinds[kind].panicked.add(1);
        }
        self.kinds[kind].run_time.record(ran);
        self.running.end();
    }

    /// What runs, and for how long; None too if that changes just now.
    pub(crate) fn running(&self) -> Option<RunningTask> {
        let Seen { id: task, since_us, kind } = self.running.look()?;
        let since = epoch().elapsed().saturating_sub(Duration::from_micros(since_us));
        Some(RunningTask { task, kind, since })
    }

    pub(crate) fn count_renewal(&self) {
        self.renewed.add(1);
    }

    pub(crate) fn set_thread_id(&self, id: rustix::thread::Pid) {
        self.thread_id.store(id.as_raw_nonzero().get() as u32, Ordering::Relaxed);
    }

    pub(crate) fn thread_id(&self) -> u32 {
        self.thread_id.load(Ordering::Relaxed)
    }

    /// A spare begins, or has left its thread; either way nobody asks it to leave. Relaxed, as all of
    /// this: a worker goes from thread to thread by way of a lock or a channel, and one that is asked
    /// to leave while it leaves forgets it when it begins anew.
    pub(crate) fn set_working(&self, working: bool) {
        self.retiring.store(false, Ordering::Relaxed);
        self.working.store(working, Ordering::Relaxed);
    }

    pub(crate) fn is_working(&self) -> bool {
        self.working.load(Ordering::Relaxed)
    }

    /// Asks a spare to leave its thread.
    pub(crate) fn retire(&self) {
        self.retiring.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_retiring(&self) -> bool {
        self.retiring.load(Ordering::Relaxed)
    }

    /// An async worker takes up a job beside those that it has.
    pub(crate) fn begin_one_more(&self, kind: usize, waited: Duration) {
        let jobs = self.running_jobs.load(Ordering::Relaxed);
        self.running_jobs.store(jobs + 1, Ordering::Relaxed);
        self.kinds[kind].waited.record(waited);
    }

    /// One of an async worker's jobs is over.
    pub(crate) fn end_one_of_many(&self, kind: usize, ran: Duration, panicked: bool) {
        let jobs = self.running_jobs.load(Ordering::Relaxed);
        self.running_jobs.store(jobs - 1, Ordering::Relaxed);
        self.end(kind, ran, panicked);
    }

    pub(crate) fn snapshot(&self, is_spare: bool) -> TaskWorkerSnapshot {
        let running = self.running();
        let jobs = self.running_jobs.load(Ordering::Relaxed) as usize;
        TaskWorkerSnapshot {
            ran: self.ran.get(),
            panicked: self.panicked.get(),
            renewed: self.renewed.get(),
            running_jobs: jobs.max(usize::from(running.is_some())),
            running: running.map(|running| (running.task, running.since)),
            is_spare,
        }
    }
}

/// What `since_us` counts from.
fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}
