//! A pool's start and end.

use crate::pool::config::PoolSetup;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::pool::api::tasks::Tasks;
use crate::pool::config::PoolConfig;
use crate::pool::lane::Lane;
use crate::pool::shared::PoolShared;
use crate::pool::stats::PoolSnapshot;
use crate::pool::task::error::{Failure, PoolError};
use crate::pool::task::{Finish, TaskContext, TaskWorkerInfo};
use crate::pool::wake::Parking;
use crate::pool::worker;
use crate::pool::worker::threads::{LiveThreads, WorkerThreads};
use crate::pool::worker::watchdog::Watchdog;
use crate::sys::doorbell::Doorbell;

/// How long async workers may take to drop what they run when the time of a close is over.
const ABANDON_MAX: Duration = Duration::from_millis(200);

/// A running pool, from outside: its counters, and its end.
pub struct Pool<J, O> {
    pub(crate) shared: Arc<PoolShared<J, O>>,
    pub(crate) threads: Arc<LiveThreads>,
    pub(crate) tasks: Tasks<J, O>,
}

/// A pool, and a lane for each executor.
pub(crate) type Started<J, O> = (Pool<J, O>, Vec<Lane<J, O>>);

impl<J: Send + 'static, O: Send + 'static> Pool<J, O> {
    /// Starts the task workers, pinned to their seats, and returns a lane for each executor, one
    /// for each of `doorbells`. All of them run jobs by `run`.
    ///
    /// # Errors
    /// [`PoolError`]: a number that makes no pool, or a thread that could not be made or pinned.
    pub fn start(
        config: &PoolConfig,
        doorbells: &[Arc<Doorbell>],
        run: impl Fn(&TaskContext, J) -> Result<O, Failure> + Send + Sync + 'static,
    ) -> Result<Started<J, O>, PoolError> {
        let run = Arc::new(run);
        Pool::start_with(config, PoolSetup::default(), doorbells, move |_| {
            let run = run.clone();
            Ok(move |context: &TaskContext, job| run(context, job))
        })
    }

    /// As [`start`](Self::start), but each task worker runs jobs by what `make` returns on its
    /// thread, which may hold what the worker keeps: a connection, a cache. It is dropped there when
    /// the worker ends or is made anew. Replaces Swoole's `WorkerStart` and `WorkerStop`.
    ///
    /// Where `make` fails or panics, the start fails; later on the worker goes on with what it has.
    ///
    /// # Errors
    /// As [`start`](Self::start), or [`PoolError::Make`] where `make` fails.
    pub fn start_with<R>(
        config: &PoolConfig,
        setup: PoolSetup<J>,
        doorbells: &[Arc<Doorbell>],
        make: impl Fn(&TaskWorkerInfo) -> Result<R, Failure> + Send + Sync + 'static,
    ) -> Result<Started<J, O>, PoolError>
    where
        R: FnMut(&TaskContext, J) -> Result<O, Failure> + 'static,
    {
        config.check(doorbells.len())?;
        let bounds = config.lane_bounds(1);
        // Before the threads: they let the signal through when they start.
        let watch =
            config.stuck_after.map(|after| Ok((after, config.stack_reader()?))).transpose()?;
        let on_notice = setup.on_notice.clone();
        let shared =
            Arc::new(PoolShared::new(config, setup, bounds.credits, doorbells, Parking::new()));
        let tasks = Tasks::new(shared.clone());
        let (mut workers, rings) = worker::make_all(config, bounds.credits, &shared);
        let reserve = Mutex::new(workers.split_off(config.seats.len()));
        let live = Arc::<LiveThreads>::default();
        let pool = Pool { shared: shared.clone(), threads: live.clone(), tasks: tasks.clone() };
        let threads = Arc::new(WorkerThreads { shared, make, on_notice, live, reserve });
        let started = workers
            .into_iter()
            .try_for_each(|worker| threads.start(worker).map_err(|failed| failed.0))
            .and_then(|()| match watch {
                Some((after, stacks)) => {
                    Watchdog::start(threads.clone(), after, stacks, config.seats.clone())
                        .map_err(PoolError::Watchdog)
                }
                None => Ok(()),
            });
        if let Err(error) = started {
            pool.close(Instant::now());
            return Err(error);
        }
        let lanes = rings
            .into_iter()
            .enumerate()
            .map(|(executor, finishes)| Lane::new(pool.shared.clone(), executor, bounds, finishes))
            .collect();
        Ok((pool, lanes))
    }

    /// A handle that dispatches from any thread.
    pub fn tasks(&self) -> Tasks<J, O> {
        self.tasks.clone()
    }

    /// Receives the finishes of tasks that were dispatched by [`Tasks::dispatch`] from threads that
    /// are no executors, on the task worker that ran them. The first call counts.
    pub fn on_external_finish(&self, on_finish: impl Fn(Finish<O>) + Send + Sync + 'static) {
        self.shared.external.set_on_finish(Arc::new(on_finish));
    }

    /// The counters of the pool.
    pub fn snapshot(&self) -> PoolSnapshot {
        self.shared.snapshot()
    }

    /// Has each task worker made anew, after its job if it runs one: no job is lost, none waits
    /// but for that. Replaces Swoole's `reload` of task workers.
    pub fn reload(&self) {
        self.tasks.reload_workers();
    }

    /// Ends the pool: what is queued is still run, no job may be dispatched any more. Waits for
    /// the task workers until `deadline`; one whose job is not over by then is left behind. Async
    /// workers then drop what they run, and it is lost ([`PoolSnapshot::outstanding`]).
    ///
    /// The executors must have ended, or [`Inbox::in_flight`](crate::executor::Inbox::in_flight) be 0 on each.
    pub fn close(self, deadline: Instant) -> PoolSnapshot {
        self.shared.external.close();
        self.threads.begin_close();
        self.shared.park.close();
        if !self.threads.join(deadline) && self.shared.park.abandon() {
            self.threads.join(crate::sys::instant::after(ABANDON_MAX));
        }
        self.shared.snapshot()
    }
}
