//! Starting a pool of async workers: see [`Pool::start_async`].

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use super::async_worker::AsyncWorker;
use super::crew::{ENDED, Threads};
use super::heart::Heart;
use super::parking::Parking;
use super::ticket::{self, Home};
use super::{
    Failure, Lane, Pool, PoolConfig, PoolError, PoolSetup, Seat, Shared, Started, TaskContext,
    TaskWorkerInfo, Tasks,
};
use crate::executor::hosted;
use crate::sys::doorbell::Bell;
use crate::sys::panics::caught;

/// Between the end of a worker's executor by a panic and its next one.
const RESTART_PAUSE: Duration = Duration::from_millis(10);

impl<J: Send + 'static, O: Send + 'static> Pool<J, O> {
    /// Starts a pool whose jobs are futures, made and polled on a task worker's own thread, which
    /// takes up to `concurrency` of them at once: they wait for files, timers and sockets of
    /// [`hosted`] side by side. Replaces Swoole's `task_enable_coroutine`.
    ///
    /// `make_worker` is called on each worker's thread, with the worker's number, and returns what
    /// runs its jobs; it may open what they share. It is called again in the one case that a
    /// worker's executor has to be made anew: a task that a job has spawned on the host itself
    /// panicked. What ran there then is [`Lost`](super::TaskError::Lost).
    ///
    /// Dispatching, credits, cancellation, deadlines, retries and priorities are those of
    /// [`Pool::start`], with these differences:
    ///
    /// - A panic of a job's future, in any of its polls, ends that job alone.
    /// - A running job that is cancelled is dropped at the await point where it stands, within about
    ///   10 ms, or before its next poll: its outcome is
    ///   [`Cancelled`](super::TaskError::Cancelled). One past its deadline likewise, with
    ///   [`TimedOut`](super::TaskError::TimedOut), which its waiter has been told already. A job that
    ///   must not be dropped there asks [`TaskContext::is_cancelled`] and does not await.
    /// - A future that computes for long keeps the worker's other jobs waiting.
    /// - At the deadline of [`Pool::close`] what still runs is dropped, and lost.
    ///
    /// # Errors
    /// As [`Pool::start`], or where the workers' executors or eventfds cannot be made.
    pub fn start_async<R, F>(
        config: &PoolConfig,
        concurrency: usize,
        bells: &[Arc<Bell>],
        make_worker: impl Fn(usize) -> R + Send + Sync + 'static,
    ) -> Result<Started<J, O>, PoolError>
    where
        R: Fn(TaskContext, J) -> F + 'static,
        F: Future<Output = Result<O, Failure>> + 'static,
    {
        let make = move |info: &TaskWorkerInfo| Ok(make_worker(info.task_worker));
        Pool::start_async_with(config, PoolSetup::default(), concurrency, bells, make)
    }

    /// As [`start_async`](Self::start_async), with a name, kinds of jobs, and a maker that may fail:
    /// then the start does. [`PoolConfig::recycle_after`], [`stuck_after`](PoolConfig::stuck_after)
    /// and spares are for workers that run one job at a time; here they change nothing, and neither
    /// does [`reload`](Self::reload).
    pub fn start_async_with<R, F>(
        config: &PoolConfig,
        setup: PoolSetup<J>,
        concurrency: usize,
        bells: &[Arc<Bell>],
        make: impl Fn(&TaskWorkerInfo) -> Result<R, Failure> + Send + Sync + 'static,
    ) -> Result<Started<J, O>, PoolError>
    where
        R: Fn(TaskContext, J) -> F + 'static,
        F: Future<Output = Result<O, Failure>> + 'static,
    {
        let config = &PoolConfig { spares: 0, ..config.clone() };
        config.check(bells.len())?;
        if concurrency == 0 {
            return Err(PoolError::NoConcurrency);
        }
        let heart = Arc::new(Heart::new(config.seats.len()).map_err(no_descriptor(config))?);
        let worker_bells: std::io::Result<Vec<_>> =
            config.seats.iter().map(|_| worker_bell()).collect();
        let worker_bells = worker_bells.map_err(no_descriptor(config))?;
        let bounds = config.lane_bounds(concurrency);
        let parking = Parking::hosted(worker_bells, heart.clone());
        let shared = Arc::new(Shared::new(config, setup, bounds.credits, bells, parking));
        let tasks = Tasks::new(shared.clone());
        let (homes, finishes) = ticket::rings(&shared, bounds.credits);
        let started = start_all(config, concurrency, &shared, &heart, homes, make)?;
        let threads = Arc::<Threads>::default();
        started.into_iter().for_each(|thread| threads.keep(thread));
        let lanes = finishes
            .into_iter()
            .enumerate()
            .map(|(executor, finishes)| Lane::new(tasks.clone(), executor, bounds, finishes))
            .collect();
        Ok((Pool { shared, threads, tasks }, lanes))
    }
}

/// A bell that its listener can read without blocking.
fn worker_bell() -> std::io::Result<Arc<Bell>> {
    let bell = Bell::new()?;
    rustix::fs::fcntl_setfl(bell.fd(), rustix::fs::OFlags::NONBLOCK)?;
    Ok(Arc::new(bell))
}

fn no_descriptor<E: ToString>(config: &PoolConfig) -> impl Fn(E) -> PoolError {
    let cpu = config.seats[0].cpu;
    move |cause| PoolError::Host { task_worker: 0, cpu, cause: cause.to_string() }
}

/// Starts the heart and a thread for each seat. The heart is joined last.
fn start_all<J, O, R, F>(
    config: &PoolConfig,
    concurrency: usize,
    shared: &Arc<Shared<J, O>>,
    heart: &Arc<Heart>,
    homes: Vec<Vec<Home<J, O>>>,
    make: impl Fn(&TaskWorkerInfo) -> Result<R, Failure> + Send + Sync + 'static,
) -> Result<Vec<JoinHandle<()>>, PoolError>
where
    J: Send + 'static,
    O: Send + 'static,
    R: Fn(TaskContext, J) -> F + 'static,
    F: Future<Output = Result<O, Failure>> + 'static,
{
    let no_thread = |cause| PoolError::Thread { task_worker: 0, cause };
    let beating = heart.start().map_err(no_thread)?;
    let make = Arc::new(make);
    let mut threads = Vec::new();
    for (index, (&seat, homes)) in config.seats.iter().zip(homes).enumerate() {
        let start = Start { index, seat, concurrency, homes, shared: shared.clone() };
        match start.spawn(make.clone()) {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                (index..config.seats.len()).for_each(|worker| heart.leave(worker));
                shared.park.close();
                return Err(error);
            }
        }
    }
    threads.push(beating);
    Ok(threads)
}

/// What a worker's thread starts from.
struct Start<J, O> {
    index: usize,
    seat: Seat,
    concurrency: usize,
    homes: Vec<Home<J, O>>,
    shared: Arc<Shared<J, O>>,
}

type Told = Sender<Result<(), PoolError>>;

impl<J: Send + 'static, O: Send + 'static> Start<J, O> {
    /// Returns once the worker is made, or could not be.
    fn spawn<R, F>(
        self,
        make: Arc<impl Fn(&TaskWorkerInfo) -> Result<R, Failure> + Send + Sync + 'static>,
    ) -> Result<JoinHandle<()>, PoolError>
    where
        R: Fn(TaskContext, J) -> F + 'static,
        F: Future<Output = Result<O, Failure>> + 'static,
    {
        let task_worker = self.index;
        let (tell, told) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name(format!("{}-{task_worker}", self.shared.thread_name))
            .spawn(move || self.run(&*make, &tell))
            .map_err(|cause| PoolError::Thread { task_worker, cause })?;
        match told.recv() {
            Ok(Ok(())) => Ok(thread),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(PoolError::Make { task_worker, cause: ENDED.to_owned() }),
        }
    }

    /// The worker's life: one executor, or several, should one end by a panic.
    fn run<R, F>(self, make: &impl Fn(&TaskWorkerInfo) -> Result<R, Failure>, tell: &Told)
    where
        R: Fn(TaskContext, J) -> F + 'static,
        F: Future<Output = Result<O, Failure>> + 'static,
    {
        let Start { index, seat, concurrency, homes, shared } = self;
        let worker = Rc::new(AsyncWorker::new(index, seat.cpu, concurrency, shared, homes));
        let lived = Cell::new(false);
        let live = || live(worker.clone(), make, tell, &lived);
        loop {
            let error = match caught(|| hosted::run(seat.cpu, live)) {
                Ok(Ok(Lived::ToTheEnd)) => break,
                Ok(Ok(Lived::NotAtAll(error))) => error,
                Ok(Err(cause)) => PoolError::Host { task_worker: index, cpu: seat.cpu, cause },
                Err(message) => {
                    let cause = format!("it panicked: {message}");
                    PoolError::Host { task_worker: index, cpu: seat.cpu, cause }
                }
            };
            if !lived.get() {
                // The pool does not start: who starts it counts this worker off.
                return drop(tell.send(Err(error)));
            }
            // What was possible once may be so again; others take the jobs meanwhile.
            if worker.give_up() {
                break;
            }
            std::thread::sleep(RESTART_PAUSE);
        }
        if worker.hosted().is_abandoned() {
            worker.drop_queued();
        }
        worker.hosted().heart.leave(index);
    }
}

/// How a worker's executor ended, if not by a panic.
enum Lived {
    ToTheEnd,
    NotAtAll(PoolError),
}

/// A worker in its executor; sets `lived` once it can take jobs.
async fn live<J, O, R, F>(
    worker: Rc<AsyncWorker<J, O>>,
    make: &impl Fn(&TaskWorkerInfo) -> Result<R, Failure>,
    tell: &Told,
    lived: &Cell<bool>,
) -> Lived
where
    J: Send + 'static,
    O: Send + 'static,
    R: Fn(TaskContext, J) -> F + 'static,
    F: Future<Output = Result<O, Failure>> + 'static,
{
    let task_worker = worker.index;
    let info = TaskWorkerInfo { task_worker, cpu: worker.cpu, is_spare: false };
    let made = match caught(|| make(&info)) {
        Ok(Ok(run)) => Ok(run),
        Ok(Err(failure)) => Err(failure.to_string()),
        Err(message) => Err(format!("it panicked: {message}")),
    };
    let made = made.map_err(|cause| PoolError::Make { task_worker, cause });
    match made.and_then(|run| Ok((run, worker.listen()?))) {
        Ok((run, listeners)) => {
            lived.set(true);
            let _ = tell.send(Ok(()));
            worker.work(Rc::new(run), listeners).await;
            Lived::ToTheEnd
        }
        Err(error) => Lived::NotAtAll(error),
    }
}
