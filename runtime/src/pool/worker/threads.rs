//! The threads of a pool: started, made anew, joined by spares, ended.
//!
//! What a worker needs of the pool, its [`TaskWorker`] with the producers of its finish rings, goes
//! from thread to thread: each thread brings what its runner has made for it (a connection, a
//! cache), and hands the worker to the next one. So a worker is made anew without a job lost: the
//! next thread is pinned and has its state before the last one gives its own up.
//!
//! Spares have their numbers, rings and counters from the start, so that adding one changes nothing
//! that others read. Those that do not work lie in `reserve`.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::machine::cpu_list::CpuId;
use crate::machine::topology::pin_to;
use crate::pool::config::Seat;
use crate::pool::notice::{Notice, OnNotice};
use crate::pool::shared::PoolShared;
use crate::pool::task::error::{Failure, PoolError};
use crate::pool::task::{TaskContext, TaskWorkerInfo};
use crate::pool::worker::{Left, TaskWorker};
use crate::stack;
use crate::sys::panics::{catch, caught, drop_quietly};

/// How often an ending pool looks whether its threads have ended.
const LOOK: Duration = Duration::from_micros(200);

/// What a thread that says nothing has done.
pub(crate) const ENDED: &str = "its thread has ended while it started";

/// Starts threads for the workers of one pool. `M` makes what a worker runs its jobs with.
pub(crate) struct WorkerThreads<J, O, M> {
    pub(crate) shared: Arc<PoolShared<J, O>>,
    pub(crate) make: M,
    pub(crate) on_notice: OnNotice,
    pub(crate) live: Arc<LiveThreads>,
    /// Spares that do not work.
    pub(crate) reserve: Mutex<Vec<TaskWorker<J, O>>>,
}

/// The threads that live, from outside.
#[derive(Default)]
pub(crate) struct LiveThreads {
    handles: Mutex<Vec<JoinHandle<()>>>,
    /// Workers that have a thread; one that changes threads counts all the while. Relaxed: it goes
    /// down after the last thread was put among the handles, under their lock, which who reads it
    /// takes next.
    working: AtomicUsize,
    /// Relaxed: the watchdog is unparked after it is set, which orders it.
    closing: AtomicBool,
}

impl<J, O, M, R> WorkerThreads<J, O, M>
where
    J: Send + 'static,
    O: Send + 'static,
    M: Fn(&TaskWorkerInfo) -> Result<R, Failure> + Send + Sync + 'static,
    R: FnMut(&TaskContext, J) -> Result<O, Failure> + 'static,
{
    /// Puts a worker on a thread of its own; comes back when that is pinned and has its state.
    pub(crate) fn start(
        self: &Arc<Self>,
        worker: TaskWorker<J, O>,
    ) -> Result<(), Box<(PoolError, TaskWorker<J, O>)>> {
        match self.launch(worker.index, worker.seat) {
            Ok(hand_over) => {
                self.live.working.fetch_add(1, Ordering::Relaxed);
                // The thread waits for nothing else.
                let _ = hand_over.send(worker);
                Ok(())
            }
            Err(error) => Err(Box::new((error, worker))),
        }
    }

    /// A thread that is ready to take a worker over.
    fn launch(
        self: &Arc<Self>,
        task_worker: usize,
        seat: Seat,
    ) -> Result<Sender<TaskWorker<J, O>>, PoolError> {
        let (ready_tx, ready) = mpsc::channel();
        let (hand_over, worker) = mpsc::channel();
        let workers = self.clone();
        let thread = std::thread::Builder::new()
            .name(format!("{}-{task_worker}", self.shared.thread_name))
            .spawn(move || workers.live(task_worker, seat, &ready_tx, &worker))
            .map_err(|cause| PoolError::Thread { task_worker, cause })?;
        self.live.keep(thread);
        match ready.recv() {
            Ok(Ok(())) => Ok(hand_over),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(PoolError::Make { task_worker, cause: ENDED.to_owned() }),
        }
    }

    /// The life of a thread.
    fn live(
        self: &Arc<Self>,
        task_worker: usize,
        seat: Seat,
        ready: &Sender<Result<(), PoolError>>,
        worker: &Receiver<TaskWorker<J, O>>,
    ) {
        let made = self.make(task_worker, seat);
        let (made, told) = match made {
            Ok(run) => (Some(run), ready.send(Ok(()))),
            Err(error) => (None, ready.send(Err(error))),
        };
        let Some(mut run) = made else { return };
        if let (Ok(()), Ok(worker)) = (told, worker.recv()) {
            self.work(worker, &mut run);
        }
        drop_quietly(run);
    }

    fn make(&self, task_worker: usize, seat: Seat) -> Result<R, PoolError> {
        stack::publish();
        pin_to(CpuId(seat.cpu)).map_err(|cause| PoolError::Pin {
            task_worker,
            cpu: seat.cpu,
            cause,
        })?;
        let is_spare = task_worker >= self.shared.seats;
        let info = TaskWorkerInfo { task_worker, cpu: seat.cpu, is_spare };
        let cause = match caught(|| (self.make)(&info)) {
            Ok(Ok(run)) => return Ok(run),
            Ok(Err(failure)) => failure.to_string(),
            Err(message) => format!("it panicked: {message}"),
        };
        Err(PoolError::Make { task_worker, cause })
    }

    /// Works until the pool closes or another thread has taken the worker over.
    fn work(self: &Arc<Self>, mut worker: TaskWorker<J, O>, run: &mut R) {
        self.shared.workers[worker.index].set_thread_id(rustix::thread::gettid());
        loop {
            // What it calls of the user's is caught where it is called. Should something else panic,
            // the task that was taken is lost, and is told so by its ticket; the others are not.
            let left = match caught(|| worker.work(run)) {
                Ok(left) => left,
                Err(message) => {
                    let (pool, task_worker) = (self.shared.name.clone(), worker.index);
                    let cause = format!("it panicked and goes on: {message}");
                    self.tell(&Notice::WorkerFailed { pool, task_worker, cause });
                    continue;
                }
            };
            let generation = self.shared.generation();
            match left {
                Left::Closed => break,
                Left::Retired => {
                    self.reserve().push(worker);
                    break;
                }
                Left::Renew => match self.launch(worker.index, worker.seat) {
                    Ok(next) => {
                        worker.renewed(generation);
                        self.shared.workers[worker.index].count_renewal();
                        let _ = next.send(worker);
                        return;
                    }
                    Err(error) => {
                        // Tried again when it is due again.
                        worker.renewed(generation);
                        self.notify_failed(worker.index, &error);
                    }
                },
            }
        }
        self.live.working.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn notify_failed(&self, task_worker: usize, error: &PoolError) {
        let (pool, cause) = (self.shared.name.clone(), error.to_string());
        self.tell(&Notice::WorkerFailed { pool, task_worker, cause });
    }

    /// Tells the operator. A panic of who is told costs neither a worker nor the watchdog.
    pub(crate) fn tell(&self, notice: &Notice) {
        let _ = catch(|| (self.on_notice)(notice));
    }

    pub(crate) fn reserve(&self) -> MutexGuard<'_, Vec<TaskWorker<J, O>>> {
        self.reserve.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LiveThreads {
    /// Keeps a thread, and forgets those that have ended.
    pub(crate) fn keep(&self, thread: JoinHandle<()>) {
        let mut handles = self.handles();
        handles.retain(|handle| !handle.is_finished());
        handles.push(thread);
    }

    /// Whether the pool is being closed.
    pub(crate) fn are_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Has the watchdog end, so that no spare is started any more.
    pub(crate) fn begin_close(&self) {
        self.closing.store(true, Ordering::Relaxed);
        self.handles().iter().for_each(|handle| handle.thread().unpark());
    }

    /// Waits for all to end, until `deadline`; false: some have not.
    pub(crate) fn join(&self, deadline: Instant) -> bool {
        let live = || self.handles().iter().any(|handle| !handle.is_finished());
        while (self.working.load(Ordering::Relaxed) > 0 || live()) && Instant::now() < deadline {
            std::thread::sleep(LOOK);
        }
        let mut handles = self.handles();
        let (ended, left) = handles.drain(..).partition::<Vec<_>, _>(JoinHandle::is_finished);
        // A worker catches its jobs' panics; there is nothing to learn from its result.
        ended.into_iter().for_each(|handle| drop(handle.join()));
        *handles = left;
        handles.is_empty()
    }

    fn handles(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
