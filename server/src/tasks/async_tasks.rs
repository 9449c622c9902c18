//! Jobs that are futures: a pool whose task workers take many of them at once.

use std::pin::Pin;
use std::sync::Arc;

use sidecore_runtime::sys::panics::Quiet;

pub use sidecore_runtime::executor::hosted::glommio;

use crate::tasks::callbacks::{Callbacks, Jobs, OnFinish, Work, dead_letters_to};
use crate::tasks::pool::{PoolBuilder, TaskPool};
use sidecore_runtime::pool::{DeadLetter, Failure, Kinds, TaskContext, TaskWorkerInfo};

/// The future of a job.
pub(crate) type JobFuture<O> = Pin<Box<dyn Future<Output = Result<O, Failure>>>>;

/// What an async task worker runs jobs with.
pub(crate) type RunAsync<J, O> = Box<dyn Fn(TaskContext, J) -> JobFuture<O>>;

/// Makes that, on the thread of each task worker.
pub(crate) type MakeAsync<J, O> =
    Box<dyn Fn(&TaskWorkerInfo) -> Result<RunAsync<J, O>, Failure> + Send + Sync>;

/// A pool's async `on_task` callback, and what else concerns its jobs.
pub struct OnAsyncTask<J, O> {
    jobs: Jobs<J, O>,
}

impl<T, F> PoolBuilder<T, F> {
    /// Runs jobs as futures: each task worker takes up to `concurrency` of them at once, and they
    /// wait for [files](glommio::io), [sockets](glommio::net) and [timers](glommio::timer) side by side, on a thread that
    /// glommio hosts. Replaces Swoole's `task_enable_coroutine`.
    ///
    /// A panic ends its job alone. A running job that is cancelled, or past its deadline, is dropped
    /// at the `.await` where it stands, within some 10 ms. A future that computes for long keeps its
    /// worker's other jobs waiting: give such jobs a pool of their own.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use sidecore::tasks::TaskPool;
    /// use sidecore::tasks::async_tasks::glommio::timer;
    ///
    /// let naps: TaskPool<u64, u64> = TaskPool::named("naps")
    ///     .on_async_task(256, |_task, ms: u64| async move {
    ///         timer::sleep(Duration::from_millis(ms)).await;
    ///         Ok(ms)
    ///     })
    ///     .on_finish(|_finish, _slept| {})
    ///     .build();
    /// ```
    pub fn on_async_task<J: 'static, O: 'static, W>(
        self,
        concurrency: usize,
        on_task: impl Fn(TaskContext, J) -> W + Send + Sync + 'static,
    ) -> PoolBuilder<OnAsyncTask<J, O>, F>
    where
        W: Future<Output = Result<O, Failure>> + 'static,
    {
        let on_task = Arc::new(Quiet::new(on_task));
        self.on_async_task_worker(concurrency, move |_| {
            let on_task = on_task.clone();
            Ok(move |task: TaskContext, job| on_task(task, job))
        })
    }

    /// The same, where each task worker runs jobs by what `make` returns on its thread, which may
    /// hold what they share: an open file, a connection.
    pub fn on_async_task_worker<J: 'static, O: 'static, R, W>(
        self,
        concurrency: usize,
        make: impl Fn(&TaskWorkerInfo) -> Result<R, Failure> + Send + Sync + 'static,
    ) -> PoolBuilder<OnAsyncTask<J, O>, F>
    where
        R: Fn(TaskContext, J) -> W + 'static,
        W: Future<Output = Result<O, Failure>> + 'static,
    {
        let make: MakeAsync<J, O> = Box::new(move |info| {
            let run = make(info)?;
            Ok(Box::new(move |task, job| -> JobFuture<O> { Box::pin(run(task, job)) }))
        });
        let work = Work::Async { concurrency, make };
        let jobs = Jobs { work, kinds: Kinds::one(), on_dead_letter: None };
        self.with_on_task(OnAsyncTask { jobs })
    }
}

impl<J, O, F> PoolBuilder<OnAsyncTask<J, O>, F> {
    /// Keeps the statistics of the kinds of jobs apart.
    pub fn kinds(mut self, kinds: Kinds<J>) -> Self {
        self.on_task_mut().jobs.kinds = kinds;
        self
    }

    /// Receives the jobs whose last attempt has failed: see
    /// [`Server::on_dead_letter`](crate::Server::on_dead_letter).
    pub fn on_dead_letter(
        mut self,
        on_dead_letter: impl Fn(DeadLetter<J>) + Send + Sync + 'static,
    ) -> Self {
        self.on_task_mut().jobs.on_dead_letter = Some(dead_letters_to(on_dead_letter));
        self
    }
}

impl<J, O> PoolBuilder<OnAsyncTask<J, O>, OnFinish<O>>
where
    (crate::tasks::callbacks::OnTask<J, O>, OnFinish<O>): Callbacks,
{
    /// The pool, for [`Server::with_pool`](crate::Server::with_pool).
    pub fn build(self) -> TaskPool<J, O> {
        self.build_with(|on_task| on_task.jobs)
    }
}
