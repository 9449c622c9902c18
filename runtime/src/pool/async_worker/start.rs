//! The threads of async workers, and how each begins.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::executor::hosted;
use crate::pool::async_worker::AsyncWorker;
use crate::pool::config::{PoolConfig, Seat};
use crate::pool::finish_guard::FinishSender;
use crate::pool::shared::PoolShared;
use crate::pool::task::error::{Failure, PoolError};
use crate::pool::task::{TaskContext, TaskWorkerInfo};
use crate::pool::wake::heartbeat::Heartbeat;
use crate::pool::worker::threads::ENDED;
use crate::sys::panics::caught;

/// Between the end of a worker's executor by a panic and its next one.
const RESTART_PAUSE: Duration = Duration::from_millis(10);

/// Starts the heartbeat thread and a thread for each seat. The heartbeat thread is joined last.
pub(crate) fn start_all<J, O, R, F>(
    config: &PoolConfig,
    concurrency: usize,
    shared: &Arc<PoolShared<J, O>>,
    heartbeat: &Arc<Heartbeat>,
    senders: Vec<Vec<FinishSender<J, O>>>,
    make: impl Fn(&TaskWorkerInfo) -> Result<R, Failure> + Send + Sync + 'static,
) -> Result<Vec<JoinHandle<()>>, PoolError>
where
    J: Send + 'static,
    O: Send + 'static,
    R: Fn(TaskContext, J) -> F + 'static,
    F: Future<Output = Result<O, Failure>> + 'static,
{
    let no_thread = |cause| PoolError::Thread { task_worker: 0, cause };
    let beating = heartbeat.start().map_err(no_thread)?;
    let make = Arc::new(make);
    let mut threads = Vec::new();
    for (index, (&seat, senders)) in config.seats.iter().zip(senders).enumerate() {
        let start = Start { index, seat, concurrency, senders, shared: shared.clone() };
        match start.spawn(make.clone()) {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                (index..config.seats.len()).for_each(|worker| heartbeat.leave(worker));
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
    senders: Vec<FinishSender<J, O>>,
    shared: Arc<PoolShared<J, O>>,
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
        let Start { index, seat, concurrency, senders, shared } = self;
        let worker = Rc::new(AsyncWorker::new(index, seat.cpu, concurrency, shared, senders));
        let lived = Cell::new(false);
        let live = || live(worker.clone(), make, tell, &lived);
        loop {
            let error = match caught(|| hosted::run(seat.cpu, live)) {
                Ok(Ok(Lived::ToTheEnd)) => break,
                Ok(Ok(Lived::NotAtAll(error))) => error,
                Ok(Err(cause)) => PoolError::Host { task_worker: index, cpu: seat.cpu, cause },
                Err(message) => {
                    let cause = std::io::Error::other(format!("it panicked: {message}"));
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
        worker.hosted().heartbeat.leave(index);
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
            worker.heard().await;
            lived.set(true);
            let _ = tell.send(Ok(()));
            hosted::preempted(worker.work(Rc::new(run), listeners)).await;
            Lived::ToTheEnd
        }
        Err(error) => Lived::NotAtAll(error),
    }
}
