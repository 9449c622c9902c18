//! Further pools of a server: each with its own cores, depth, job and output types.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use sidecore_runtime::machine::cpu_list::CpuList;
use sidecore_runtime::pool::OnNotice;

use crate::config::settings::Options;
use crate::tasks::callbacks::{
    Callbacks, FinishContext, Jobs, OnFinish, OnTask, TaskResult, dead_letters_to, notices_to,
};
use crate::tasks::pool_start::{PoolSpec, PoolStart, ServerPool, StartPool};
use sidecore_runtime::pool::{
    DeadLetter, Failure, Kinds, Notice, TaskContext, TaskWorkerInfo, Tasks,
};

/// A pool of task workers beside a server's own: a bulkhead. What floods one pool takes neither
/// queue, credits nor workers of another. Cheap to clone.
///
/// ```no_run
/// use sidecore::{Config, Server, service_fn};
/// use sidecore::tasks::TaskPool;
///
/// fn main() -> sidecore::Result<()> {
///     let mail: TaskPool<String, usize> = TaskPool::named("mail")
///         .task_worker_num(2)
///         .queue_depth(256)
///         .on_task(|_task, letter: String| letter.len())
///         .on_finish(|finish, sent| println!("{}: {sent:?}", finish.id))
///         .build();
///     let pool = mail.clone();
///     Server::new(Config::load()?).with_pool(&mail).serve(move |_executor| {
///         let tasks = pool.tasks();
///         service_fn(move |_request| {
///             let sent = tasks.run("Dear Ada".to_owned());
///             async move { sent.await.map(|bytes| bytes.to_string()) }
///         })
///     })?;
///     Ok(())
/// }
/// ```
///
/// `[pools.mail]` in the file and `SIDECORE_POOL_MAIL_*` in the environment go over what is said
/// here. Swoole has one kind of task worker; this is what its users start a second server for.
pub struct TaskPool<J, O> {
    shared: Arc<TaskPoolShared<J, O>>,
}

struct TaskPoolShared<J, O> {
    name: Arc<str>,
    options: Options,
    /// Until a server starts it.
    spec: Mutex<Option<(Jobs<J, O>, OnFinish<O>, Option<OnNotice>)>>,
    tasks: OnceLock<Tasks<J, O>>,
}

/// A pool that is being described. `T` and `F` say which callbacks it has.
pub struct PoolBuilder<T = (), F = ()> {
    name: Arc<str>,
    options: Options,
    on_task: T,
    on_finish: F,
    on_notice: Option<OnNotice>,
}

impl TaskPool<(), ()> {
    /// Begins a pool of this name: lower-case letters, digits and `_`.
    pub fn named(name: &str) -> PoolBuilder {
        PoolBuilder {
            name: name.into(),
            options: Options::default(),
            on_task: (),
            on_finish: (),
            on_notice: None,
        }
    }
}

impl<J: Send + 'static, O: Send + 'static> TaskPool<J, O> {
    /// The handle that dispatches to it. Before a server has started the pool, one that refuses
    /// every job.
    pub fn tasks(&self) -> Tasks<J, O> {
        self.shared.tasks.get().cloned().unwrap_or_else(Tasks::none)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.shared.name
    }
}

impl<J: Send + Unpin + 'static, O: Send + 'static> ServerPool for TaskPool<J, O> {
    fn pool_start(&self) -> PoolStart {
        let shared = self.shared.clone();
        let spec = self.shared.spec.lock().unwrap_or_else(PoisonError::into_inner).take();
        let start = spec.map(|(jobs, on_finish, on_notice)| -> Box<dyn StartPool> {
            Box::new(PoolSpec {
                name: shared.name.clone(),
                thread_name: shared.name.clone(),
                jobs,
                on_finish,
                on_notice,
                on_start: Box::new(move |tasks| {
                    // It is started once, as its callbacks can be taken once.
                    let _ = shared.tasks.set(tasks);
                }),
            })
        });
        PoolStart { name: self.shared.name.clone(), options: self.shared.options.clone(), start }
    }
}

impl<T, F> PoolBuilder<T, F> {
    /// How many task workers; by default one for each CPU of its own, else one.
    pub fn task_worker_num(mut self, task_worker_num: usize) -> Self {
        self.options.task_worker_num = Some(task_worker_num);
        self
    }

    /// CPUs of its own. By default it shares those of the server's own task workers.
    pub fn task_worker_cpus(mut self, cpus: CpuList) -> Self {
        self.options.task_worker_cpus = Some(cpus);
        self
    }

    /// Jobs that may wait before a dispatch is refused; 1024 by default.
    pub fn queue_depth(mut self, jobs: usize) -> Self {
        self.options.task_queue_depth = jobs;
        self
    }

    /// Tasks an executor may have in the queue and running; by default as many as both take.
    pub fn credits(mut self, tasks: usize) -> Self {
        self.options.task_credits = Some(tasks);
        self
    }

    /// Tasks of an executor that may sleep, delayed or paused before another attempt; 65,536 by
    /// default.
    pub fn delayed_max(mut self, tasks: usize) -> Self {
        self.options.task_delayed_max = tasks;
        self
    }

    /// Makes a task worker anew after so many jobs. Replaces Swoole's `task_max_request`.
    pub fn recycle_after(mut self, jobs: u64) -> Self {
        self.options.task_recycle_after = Some(jobs);
        self
    }

    /// Reports a job that runs longer, and has one of `spares` workers stand in for its worker.
    pub fn watch(mut self, stuck_after: Duration, spares: usize) -> Self {
        // Rounded up: a job that takes less is not stuck, and 0 would be each one.
        let stuck_after_ms = stuck_after.as_nanos().div_ceil(1_000_000).max(1);
        let stuck_after_ms = u64::try_from(stuck_after_ms).unwrap_or(u64::MAX);
        self.options.task_stuck_after_ms = Some(stuck_after_ms);
        self.options.task_spares = spares;
        self
    }

    /// Receives what the operator should know; by default it is one line on standard error.
    pub fn on_notice(mut self, on_notice: impl Fn(&Notice) + Send + Sync + 'static) -> Self {
        self.on_notice = Some(notices_to(on_notice));
        self
    }

    /// Runs each job, synchronously, on a task worker's thread: see
    /// [`Server::on_task`](crate::Server::on_task).
    pub fn on_task<J: 'static, O: 'static>(
        self,
        on_task: impl Fn(&TaskContext, J) -> O + Send + Sync + 'static,
    ) -> PoolBuilder<OnTask<J, O>, F> {
        self.try_on_task(move |task, job| Ok(on_task(task, job)))
    }

    /// Runs jobs that may fail: see [`Server::try_on_task`](crate::Server::try_on_task).
    pub fn try_on_task<J: 'static, O: 'static>(
        self,
        on_task: impl Fn(&TaskContext, J) -> Result<O, Failure> + Send + Sync + 'static,
    ) -> PoolBuilder<OnTask<J, O>, F> {
        self.with_on_task(OnTask::shared(on_task))
    }

    /// Each task worker runs jobs by what `make` returns on its thread: see
    /// [`Server::on_task_worker`](crate::Server::on_task_worker).
    pub fn on_task_worker<J: 'static, O: 'static, R>(
        self,
        make: impl Fn(&TaskWorkerInfo) -> Result<R, Failure> + Send + Sync + 'static,
    ) -> PoolBuilder<OnTask<J, O>, F>
    where
        R: FnMut(&TaskContext, J) -> Result<O, Failure> + 'static,
    {
        self.with_on_task(OnTask::made(make))
    }

    pub(crate) fn on_task_mut(&mut self) -> &mut T {
        &mut self.on_task
    }

    pub(crate) fn with_on_task<N>(self, on_task: N) -> PoolBuilder<N, F> {
        let PoolBuilder { name, options, on_finish, on_notice, .. } = self;
        PoolBuilder { name, options, on_task, on_finish, on_notice }
    }

    /// Receives the end of each task that no future awaits: see
    /// [`Server::on_finish`](crate::Server::on_finish).
    pub fn on_finish<O>(
        self,
        on_finish: impl Fn(&FinishContext, TaskResult<O>) + Send + Sync + 'static,
    ) -> PoolBuilder<T, OnFinish<O>> {
        self.with_on_finish(OnFinish::new(on_finish))
    }

    /// In the place of `on_finish`, where every task is awaited: see
    /// [`Server::awaited`](crate::Server::awaited).
    pub fn awaited<O: 'static>(self) -> PoolBuilder<T, OnFinish<O>> {
        self.with_on_finish(OnFinish::awaited())
    }

    fn with_on_finish<O>(self, on_finish: OnFinish<O>) -> PoolBuilder<T, OnFinish<O>> {
        let PoolBuilder { name, options, on_task, on_notice, .. } = self;
        PoolBuilder { name, options, on_task, on_finish, on_notice }
    }
}

impl<J, O, F> PoolBuilder<OnTask<J, O>, F> {
    /// Keeps the statistics of the kinds of jobs apart.
    pub fn kinds(mut self, kinds: Kinds<J>) -> Self {
        self.on_task.kinds = kinds;
        self
    }

    /// Receives the jobs whose last attempt has failed: see
    /// [`Server::on_dead_letter`](crate::Server::on_dead_letter).
    pub fn on_dead_letter(
        mut self,
        on_dead_letter: impl Fn(DeadLetter<J>) + Send + Sync + 'static,
    ) -> Self {
        self.on_task.on_dead_letter = Some(dead_letters_to(on_dead_letter));
        self
    }
}

#[cfg(feature = "durable")]
impl<J, O> PoolBuilder<OnTask<J, O>, OnFinish<O>> {
    /// The same pool for jobs of another type.
    pub(crate) fn map_callbacks<K>(
        self,
        map_on_task: impl FnOnce(OnTask<J, O>) -> OnTask<K, O>,
        map_on_finish: impl FnOnce(OnFinish<O>) -> OnFinish<O>,
    ) -> PoolBuilder<OnTask<K, O>, OnFinish<O>> {
        let PoolBuilder { name, options, on_task, on_finish, on_notice } = self;
        let (on_task, on_finish) = (map_on_task(on_task), map_on_finish(on_finish));
        PoolBuilder { name, options, on_task, on_finish, on_notice }
    }
}

impl<J, O> PoolBuilder<OnTask<J, O>, OnFinish<O>>
where
    (OnTask<J, O>, OnFinish<O>): Callbacks,
{
    /// The pool, for [`Server::with_pool`](crate::Server::with_pool). Without both callbacks there
    /// is none.
    pub fn build(self) -> TaskPool<J, O> {
        self.build_with(Jobs::from)
    }
}

impl<T, O> PoolBuilder<T, OnFinish<O>> {
    pub(crate) fn build_with<J>(self, jobs: impl FnOnce(T) -> Jobs<J, O>) -> TaskPool<J, O> {
        let PoolBuilder { name, options, on_task, on_finish, on_notice } = self;
        let spec = Mutex::new(Some((jobs(on_task), on_finish, on_notice)));
        TaskPool {
            shared: Arc::new(TaskPoolShared { name, options, spec, tasks: OnceLock::new() }),
        }
    }
}

impl<J, O> Clone for TaskPool<J, O> {
    fn clone(&self) -> Self {
        TaskPool { shared: self.shared.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_stuck_after_no_less_than_was_said() {
        let ms = |after| TaskPool::named("jobs").watch(after, 0).options.task_stuck_after_ms;
        assert_eq!(ms(Duration::from_micros(1500)), Some(2));
        assert_eq!(ms(Duration::from_nanos(1)), Some(1));
        // In milliseconds this is 384 more than 64 bits hold.
        assert_eq!(ms(Duration::from_secs(18_446_744_073_709_552)), Some(u64::MAX));
    }
}
