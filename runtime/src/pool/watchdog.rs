//! The thread that looks for jobs which run too long, reports them, and has spares stand in.
//!
//! It reads what each worker publishes (`stats.rs`), so that it costs them nothing. For each worker
//! that is stuck one spare works, as long as there are spares; when a stuck job ends, a spare
//! retires after its own.

use std::sync::Arc;
use std::time::Duration;

use super::crew::Crew;
use super::notice::{Notice, Stuck};
use super::{Failure, Seat, TaskContext, TaskId, TaskWorkerInfo};

/// Looks within the time after which a job is stuck, and the least pause between two.
const LOOKS: u32 = 4;
const PAUSE_MIN: Duration = Duration::from_millis(1);

/// See the module.
pub(super) struct Watchdog<J, O, M> {
    crew: Arc<Crew<J, O, M>>,
    stuck_after: Duration,
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
    pub(super) fn start(
        crew: Arc<Crew<J, O, M>>,
        stuck_after: Duration,
        seats: Vec<Seat>,
    ) -> std::io::Result<()> {
        let reported = vec![None; crew.shared.workers.len()];
        let threads = crew.threads.clone();
        let mut watchdog = Watchdog { crew, stuck_after, seats, reported };
        let name = format!("{}-watch", watchdog.crew.shared.thread_name);
        threads.keep(std::thread::Builder::new().name(name).spawn(move || watchdog.watch())?);
        Ok(())
    }

    fn watch(&mut self) {
        let pause = (self.stuck_after / LOOKS).max(PAUSE_MIN);
        while !self.crew.threads.are_closing() {
            std::thread::park_timeout(pause);
            let stuck = self.look();
            self.keep_spares(&stuck);
        }
    }

    /// The workers whose job is stuck; those of them that were not known are reported.
    fn look(&mut self) -> Vec<usize> {
        let mut stuck = Vec::new();
        for (task_worker, stats) in self.crew.shared.workers.iter().enumerate() {
            let running = stats.running().filter(|running| running.since >= self.stuck_after);
            let reported = std::mem::replace(
                &mut self.reported[task_worker],
                running.as_ref().map(|running| running.task),
            );
            if let Some(task) = reported.filter(|_| self.reported[task_worker] != reported) {
                let pool = self.crew.shared.name.clone();
                self.crew.tell(&Notice::Unstuck { pool, task, task_worker });
            }
            let Some(running) = running else { continue };
            stuck.push(task_worker);
            if reported != Some(running.task) {
                let thread_id = stats.thread_id();
                self.crew.tell(&Notice::Stuck(Stuck {
                    pool: self.crew.shared.name.clone(),
                    task: running.task,
                    kind: self.crew.shared.kinds.names()[running.kind],
                    task_worker,
                    thread_id,
                    running_for: running.since,
                    doing: Stuck::doing_of(thread_id),
                }));
            }
        }
        stuck
    }

    /// As many spares as there are stuck workers, where there are so many.
    fn keep_spares(&self, stuck: &[usize]) {
        let shared = &self.crew.shared;
        let spares = &shared.workers[shared.seats..];
        let active = spares.iter().filter(|spare| spare.is_working() && !spare.is_retiring());
        let active = active.count();
        if active < stuck.len() {
            self.add_spare(stuck[active]);
        } else if active > stuck.len() {
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
    }

    /// Has a spare stand in for a worker, on its CPU.
    fn add_spare(&self, stands_in_for: usize) {
        let Some(mut spare) = self.crew.reserve().pop() else { return };
        // The stuck job may use that CPU too.
        spare.seat = Seat { shared: true, ..self.seats[stands_in_for % self.seats.len()] };
        spare.renewed(self.crew.shared.generation());
        let (task_worker, pool) = (spare.index, self.crew.shared.name.clone());
        self.crew.shared.workers[task_worker].set_working(true);
        match self.crew.start(spare) {
            Ok(()) => self.crew.tell(&Notice::SpareStarted { pool, task_worker }),
            Err(failed) => {
                let (error, spare) = *failed;
                self.crew.shared.workers[task_worker].set_working(false);
                self.crew.notify_failed(task_worker, &error);
                self.crew.reserve().push(spare);
            }
        }
    }
}
