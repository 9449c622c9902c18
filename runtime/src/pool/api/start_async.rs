//! Starting a pool of async workers: see [`Pool::start_async`].

use std::sync::Arc;

use crate::pool::api::start::{Pool, Started};
use crate::pool::api::tasks::Tasks;
use crate::pool::async_worker::start::start_all;
use crate::pool::config::{PoolConfig, PoolSetup};
use crate::pool::finish_guard;
use crate::pool::lane::Lane;
use crate::pool::shared::PoolShared;
use crate::pool::task::error::{Failure, PoolError};
use crate::pool::task::{TaskContext, TaskWorkerInfo};
use crate::pool::wake::Parking;
use crate::pool::wake::heartbeat::Heartbeat;
use crate::pool::worker::threads::LiveThreads;
use crate::sys::doorbell::Doorbell;

impl<J: Send + 'static, O: Send + 'static> Pool<J, O> {
    /// Starts a pool whose jobs are futures, made and polled on a task worker's own thread, which
    /// takes up to `concurrency` of them at once: they wait for files, timers and sockets of
    /// [`hosted`](crate::executor::hosted) side by side. Replaces Swoole's `task_enable_coroutine`.
    ///
    /// `make_worker` is called on each worker's thread, with the worker's number, and returns what
    /// runs its jobs; it may open what they share. It is called again in the one case that a
    /// worker's executor has to be made anew: a task that a job has spawned on the host itself
    /// panicked. What ran there then is [`Lost`](crate::pool::TaskError::Lost).
    ///
    /// Dispatching, credits, cancellation, deadlines, retries and priorities are those of
    /// [`Pool::start`], with these differences:
    ///
    /// - A panic of a job's future, in any of its polls, ends that job alone.
    /// - A running job that is cancelled is dropped at the await point where it stands, within about
    ///   10 ms, or before its next poll: its outcome is
    ///   [`Cancelled`](crate::pool::TaskError::Cancelled). One past its deadline likewise, with
    ///   [`TimedOut`](crate::pool::TaskError::TimedOut), which its waiter has been told already. A job that
    ///   must not be dropped there asks [`TaskContext::is_cancelled`] and does not await.
    /// - A future that computes for long keeps the worker's other jobs waiting.
    /// - At the deadline of [`Pool::close`] what still runs is dropped, and lost.
    ///
    /// # Errors
    /// As [`Pool::start`], or where the workers' executors or eventfds cannot be made.
    pub fn start_async<R, F>(
        config: &PoolConfig,
        concurrency: usize,
        doorbells: &[Arc<Doorbell>],
        make_worker: impl Fn(usize) -> R + Send + Sync + 'static,
    ) -> Result<Started<J, O>, PoolError>
    where
        R: Fn(TaskContext, J) -> F + 'static,
        F: Future<Output = Result<O, Failure>> + 'static,
    {
        let make = move |info: &TaskWorkerInfo| Ok(make_worker(info.task_worker));
        Pool::start_async_with(config, PoolSetup::default(), concurrency, doorbells, make)
    }

    /// As [`start_async`](Self::start_async), with a name, kinds of jobs, and a maker that may fail:
    /// then the start does. [`PoolConfig::recycle_after`], [`stuck_after`](PoolConfig::stuck_after)
    /// and spares are for workers that run one job at a time; here they change nothing, and neither
    /// does [`reload`](Self::reload).
    ///
    /// # Errors
    /// As [`start_async`](Self::start_async), or [`PoolError::Make`] where `make` fails.
    pub fn start_async_with<R, F>(
        config: &PoolConfig,
        setup: PoolSetup<J>,
        concurrency: usize,
        doorbells: &[Arc<Doorbell>],
        make: impl Fn(&TaskWorkerInfo) -> Result<R, Failure> + Send + Sync + 'static,
    ) -> Result<Started<J, O>, PoolError>
    where
        R: Fn(TaskContext, J) -> F + 'static,
        F: Future<Output = Result<O, Failure>> + 'static,
    {
        let config = &PoolConfig { spares: 0, ..config.clone() };
        config.check(doorbells.len())?;
        if concurrency == 0 {
            return Err(PoolError::NoConcurrency);
        }
        let heartbeat =
            Arc::new(Heartbeat::new(config.seats.len()).map_err(no_descriptor(config))?);
        let worker_doorbells: std::io::Result<Vec<_>> =
            config.seats.iter().map(|_| worker_doorbell()).collect();
        let worker_doorbells = worker_doorbells.map_err(no_descriptor(config))?;
        let bounds = config.lane_bounds(concurrency);
        let parking = Parking::hosted(worker_doorbells, heartbeat.clone());
        let shared = Arc::new(PoolShared::new(config, setup, bounds.credits, doorbells, parking));
        let tasks = Tasks::new(shared.clone());
        let (homes, finishes) = finish_guard::rings(&shared, bounds.credits);
        let started = start_all(config, concurrency, &shared, &heartbeat, homes, make)?;
        let threads = Arc::<LiveThreads>::default();
        started.into_iter().for_each(|thread| threads.keep(thread));
        let lanes = finishes
            .into_iter()
            .enumerate()
            .map(|(executor, finishes)| Lane::new(shared.clone(), executor, bounds, finishes))
            .collect();
        Ok((Pool { shared, threads, tasks }, lanes))
    }
}

/// A doorbell that its listener can read without blocking.
fn worker_doorbell() -> std::io::Result<Arc<Doorbell>> {
    let doorbell = Doorbell::new()?;
    rustix::fs::fcntl_setfl(doorbell.fd(), rustix::fs::OFlags::NONBLOCK)?;
    Ok(Arc::new(doorbell))
}

fn no_descriptor<E: Into<std::io::Error>>(config: &PoolConfig) -> impl Fn(E) -> PoolError {
    let cpu = config.seats[0].cpu;
    move |cause| PoolError::Host { task_worker: 0, cpu, cause: cause.into() }
}
