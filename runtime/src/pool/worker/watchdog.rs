//! The thread that looks for jobs which run too long, reports them, and has spares stand in.
//!
//! It reads what each worker publishes (`stats.rs`), so that it costs them nothing. For each worker
//! that is stuck one spare works, as long as there are spares; when a stuck job ends, a spare
//! retires after its own.
//!
//! Spares are started before a report is made: the stack of a stuck job may take a while to read.

use std::sync::Arc;
use std::time::Duration;

use crate::pool::config::Seat;
use crate::pool::notice::{Notice, Stuck};
use crate::pool::stats::RunningTask;
use crate::pool::task::error::Failure;
use crate::pool::task::{TaskContext, TaskId, TaskWorkerInfo};
use crate::pool::worker::threads::WorkerThreads;
use crate::stack::{Reader, Stack, doing};

/// Looks within the time after which a job is stuck, and the least pause between two.
const LOOKS: u32 = 4;
const PAUSE_MIN: Duration = Duration::from_millis(1);

/// See the module.
pub(crate) struct Watchdog<J, O, M> {
    workers: Arc<WorkerThreads<J, O, M>>,
    stuck_after: Duration,
    /// Reads the stacks of stuck jobs, where they are wanted.
    stacks: Option<Reader>,
    seats: Vec<Seat>,
    /// The task of each worker that was reported.
    reported: Vec<Option<TaskId>>,
}

impl<J, O, M, R> Watchdog<J, O, M>
where
    J: Send + 'static,
    O: Send + 'static,
    M: Fn(&TaskWorkerInfo) -> Result<R, Failure> + Send + Sync + 'static,
    R: FnMut(&TaskContext, J) -> Result<O, Failure> + 'static,
{
    /// Starts its thread.
    pub(crate) fn start(
        workers: Arc<WorkerThreads<J, O, M>>,
        stuck_after: Duration,
        stacks: Option<Reader>,
        seats: Vec<Seat>,
    ) -> std::io::Result<()> {
        let reported = vec![None; workers.shared.workers.len()];
        let live = workers.live.clone();
        let mut watchdog = Watchdog { workers, stuck_after, stacks, seats, reported };
        let name = format!("{}-watch", watchdog.workers.shared.thread_name);
        live.keep(std::thread::Builder::new().name(name).spawn(move || watchdog.watch())?);
        Ok(())
    }

    fn watch(&mut self) {
        let pause = (self.stuck_after / LOOKS).max(PAUSE_MIN);
        while !self.workers.live.are_closing() {
            std::thread::park_timeout(pause);
            let stuck = self.look();
            let spare = self.keep_spares(&stuck.iter().map(|stuck| stuck.0).collect::<Vec<_>>());
            for (task_worker, running) in &stuck {
                // Each may take a while, for which no end shall wait.
                if self.workers.live.are_closing() {
                    return;
                }
                self.report(*task_worker, running);
            }
            if let Some(notice) = spare {
                self.workers.tell(&notice);
            }
        }
    }

    /// The workers whose job is stuck, and those jobs. Those that were and are over are told of.
    fn look(&mut self) -> Vec<(usize, RunningTask)> {
        let mut stuck = Vec::new();
        for (task_worker, stats) in self.workers.shared.workers.iter().enumerate() {
            let running = stats.running().filter(|running| running.since >= self.stuck_after);
            let reported = self.reported[task_worker];
            let over = running.as_ref().is_none_or(|running| Some(running.task) != reported);
            if let Some(task) = reported.filter(|_| over) {
                self.reported[task_worker] = None;
                let pool = self.workers.shared.name.clone();
                self.workers.tell(&Notice::Unstuck { pool, task, task_worker });
            }
            stuck.extend(running.map(|running| (task_worker, running)));
        }
        stuck
    }

    /// Reports a stuck job, unless it was.
    fn report(&mut self, task_worker: usize, running: &RunningTask) {
        if self.reported[task_worker].replace(running.task) == Some(running.task) {
            return;
        }
        let shared = &self.workers.shared;
        let thread_id = shared.workers[task_worker].thread_id();
        let doing = doing(thread_id);
        let stack = self.stack_of(task_worker, running.task);
        self.workers.tell(&Notice::Stuck(Stuck {
            pool: shared.name.clone(),
            task: running.task,
            kind: shared.kinds.names()[running.kind],
            task_worker,
            thread_id,
            running_for: running.since,
            doing,
            stack,
        }));
    }

    /// The stack of a stuck job, if its thread still runs that one when it answers.
    fn stack_of(&self, task_worker: usize, task: TaskId) -> Stack {
        let stats = &self.workers.shared.workers[task_worker];
        let still = || stats.running().is_some_and(|running| running.task == task);
        let read = |stacks: &Reader| stacks.read(stats.thread_id(), still);
        self.stacks.as_ref().map(read).unwrap_or_default()
    }

    /// As many spares as there are stuck workers, where there are so many. What is to be told of it.
    fn keep_spares(&self, stuck: &[usize]) -> Option<Notice> {
        let shared = &self.workers.shared;
        let spares = &shared.workers[shared.seats..];
        let active = spares.iter().filter(|spare| spare.is_working() && !spare.is_retiring());
        let active = active.count();
        if active < stuck.len() {
            return self.add_spare(stuck[active]);
        }
        if active > stuck.len() {
            // One that is not stuck itself goes first.
            let mut spares = shared.seats..shared.workers.len();
            let may_go = |spare: &usize| {
                let stats = &shared.workers[*spare];
                stats.is_working() && !stats.is_retiring() && !stuck.contains(spare)
            };
            if let Some(spare) = spares.find(may_go) {
                shared.workers[spare].retire();
                shared.park.call_all();
            }
        }
        None
    }

    /// Has a spare stand in for a worker, on its CPU.
    fn add_spare(&self, stands_in_for: usize) -> Option<Notice> {
        let mut spare = self.workers.reserve().pop()?;
        // The stuck job may use that CPU too.
        spare.seat = Seat { shared: true, ..self.seats[stands_in_for % self.seats.len()] };
        spare.renewed(self.workers.shared.generation());
        let (task_worker, pool) = (spare.index, self.workers.shared.name.clone());
        self.workers.shared.workers[task_worker].set_working(true);
        match self.workers.start(spare) {
            Ok(()) => Some(Notice::SpareStarted { pool, task_worker }),
            Err(failed) => {
                let (error, spare) = *failed;
                self.workers.shared.workers[task_worker].set_working(false);
                self.workers.notify_failed(task_worker, &error);
                self.workers.reserve().push(spare);
                None
            }
        }
    }
}
