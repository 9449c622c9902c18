//! The server: built from a configuration and its callbacks, started, waited for.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use sidecore_runtime::bell::Bell;
use sidecore_runtime::executor::{Executor, ExecutorConfig, ExecutorSnapshot};
use sidecore_runtime::net::{RingConfig, bind_shared};
use sidecore_runtime::placement::{Placement, PlacementRequest, place};
use sidecore_runtime::pool::{Lane, Outcomes, Pool, PoolConfig, PoolSnapshot, Seat};
use sidecore_runtime::probe;
use sidecore_runtime::topology::Topology;

use crate::config::{Config, Options};
use crate::error::{Error, Result};
use crate::service::App;
use crate::shutdown::Shutdown;
use crate::signals;
use crate::tasks::{
    Callbacks, Failure, FinishContext, OnFinish, OnTask, TaskContext, TaskResult, Tasks,
};
use crate::worker::{Assignment, ServerStats, Worker, deliver_to};

/// Descriptors that are no connections and no executor's: standard streams, signals, files.
const DESCRIPTORS_KEPT: u64 = 64;

/// A server that has not started. `T` and `F` say which task callbacks it has.
pub struct Server<T = (), F = ()> {
    config: Config,
    on_task: T,
    on_finish: F,
}

impl Server {
    /// A server of this configuration, without task callbacks.
    pub fn new(config: Config) -> Self {
        Server { config, on_task: (), on_finish: () }
    }
}

impl<T, F> Server<T, F> {
    /// Runs each job, synchronously, on a task worker's thread.
    ///
    /// What it returns reaches `on_finish`, or the future that awaits it. A panic in it is caught
    /// and reaches them as a [`TaskError`](crate::TaskError). Replaces Swoole's `on('Task')`.
    pub fn on_task<J, O>(
        self,
        on_task: impl Fn(&TaskContext, J) -> O + Send + Sync + 'static,
    ) -> Server<OnTask<J, O>, F> {
        self.try_on_task(move |task, job| Ok(on_task(task, job)))
    }

    /// Runs jobs that may fail, and may then be tried again ([`Dispatch::retry`]). What they fail
    /// with reaches `on_finish` as [`TaskError::Failed`].
    ///
    /// [`Dispatch::retry`]: crate::Dispatch::retry
    /// [`TaskError::Failed`]: crate::TaskError::Failed
    pub fn try_on_task<J, O>(
        self,
        on_task: impl Fn(&TaskContext, J) -> std::result::Result<O, Failure> + Send + Sync + 'static,
    ) -> Server<OnTask<J, O>, F> {
        let Server { config, on_finish, .. } = self;
        Server { config, on_task: OnTask(Arc::new(on_task)), on_finish }
    }

    /// Receives the end of each task that no future awaits, on the executor that dispatched it.
    ///
    /// It runs between requests: keep it short. Replaces Swoole's `on('Finish')`.
    pub fn on_finish<O>(
        self,
        on_finish: impl Fn(&FinishContext, TaskResult<O>) + Send + Sync + 'static,
    ) -> Server<T, OnFinish<O>> {
        let Server { config, on_task, .. } = self;
        Server { config, on_task, on_finish: OnFinish(Arc::new(on_finish)) }
    }
}

impl<T, F> Server<T, F>
where
    (T, F): Callbacks,
{
    /// Serves until SIGTERM or SIGINT, then drains; a second signal ends the process at once.
    ///
    /// `make_app` is called once on each executor, so what it makes needs no lock. Start-up lines
    /// on standard error say which CPU serves what.
    pub fn serve<A: App>(
        self,
        make_app: impl Fn(&Worker<Job<T, F>, Output<T, F>>) -> A + Send + Sync + 'static,
    ) -> Result<Report> {
        let shutdown = Shutdown::new();
        signals::listen(shutdown.clone())?;
        let running = self.start_with(shutdown, make_app)?;
        for line in running.describe() {
            eprintln!("sidecore: {line}");
        }
        running.wait()
    }

    /// Starts the server and returns when it accepts connections.
    pub fn start<A: App>(
        self,
        make_app: impl Fn(&Worker<Job<T, F>, Output<T, F>>) -> A + Send + Sync + 'static,
    ) -> Result<Running<Job<T, F>, Output<T, F>>> {
        self.start_with(Shutdown::new(), make_app)
    }

    fn start_with<A: App>(
        self,
        shutdown: Shutdown,
        make_app: impl Fn(&Worker<Job<T, F>, Output<T, F>>) -> A + Send + Sync + 'static,
    ) -> Result<Running<Job<T, F>, Output<T, F>>> {
        let Server { config, on_task, on_finish } = self;
        let (on_task, on_finish) = (on_task, on_finish).split();
        let options = config.options.clone();
        let topology = Topology::read()?;
        let placement = place(&topology, &request(&options))?;
        check_callbacks(&placement, on_task.is_some(), on_finish.is_some())?;
        probe::check(&needs(&options, placement.executors.len()))?;
        let (address, sockets) = bind_shared(
            address(&config),
            placement.executors.len(),
            i32::try_from(options.listen_backlog).unwrap_or(i32::MAX),
        )?;
        let bells = bells(placement.executors.len())?;
        let (pool, lanes) = match (on_task, on_finish) {
            (Some(on_task), Some(on_finish)) if !placement.task_workers.is_empty() => {
                start_pool(&options, &placement, &bells, on_task, on_finish)?
            }
            _ => (None, placement.executors.iter().map(|_| None).collect()),
        };
        let tasks = pool.as_ref().map_or_else(Tasks::none, Pool::tasks);

        let stats = ServerStats::default();
        let (ready, started) = mpsc::channel();
        let make_app = Arc::new(make_app);
        let mut executors = Vec::new();
        for (index, (socket, lane)) in sockets.into_iter().zip(lanes).enumerate() {
            let cpu = placement.executors[index].0;
            let assignment = Assignment {
                worker: Worker {
                    index,
                    cpu,
                    tasks: tasks.clone(),
                    stats: stats.clone(),
                    shutdown: shutdown.clone(),
                },
                lane,
                socket,
                options: options.clone(),
                shutdown: shutdown.clone(),
                ready: ready.clone(),
            };
            let make_app = make_app.clone();
            let executor = Executor::start(
                executor_config(&options, index, cpu),
                bells[index].clone(),
                move || assignment.serve(move |worker| make_app(worker)),
            );
            match executor {
                Ok(executor) => executors.push((cpu, executor)),
                Err(error) => {
                    shutdown.raise();
                    return Err(error.into());
                }
            }
        }
        drop(ready);
        let counters = executors.iter().map(|(_, executor)| executor.stats().clone()).collect();
        let _ = stats.executors.set(counters);
        let running = Running { address, topology, placement, shutdown, executors, pool };
        running.await_start(&started)
    }
}

type Job<T, F> = <(T, F) as Callbacks>::Job;
type Output<T, F> = <(T, F) as Callbacks>::Output;

/// A server that accepts connections.
pub struct Running<J, O> {
    address: SocketAddr,
    topology: Topology,
    placement: Placement,
    shutdown: Shutdown,
    executors: Vec<(usize, Executor)>,
    pool: Option<Pool<J, O>>,
}

impl<J: Send + 'static, O: Send + 'static> Running<J, O> {
    /// Where it listens; with port 0 in the configuration, the port that was free.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What shuts it down, from any thread.
    pub fn shutdown(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// The start-up lines: where it listens, which CPU serves what, what could be better.
    pub fn describe(&self) -> Vec<String> {
        let mut lines = self.placement.describe(&self.topology);
        lines.extend(self.placement.warnings.iter().map(|warning| format!("warning: {warning}")));
        lines.push(format!(
            "listening on http://{} with {} executors and {} task workers",
            self.address,
            self.placement.executors.len(),
            self.placement.task_workers.len()
        ));
        lines
    }

    /// The counters of each executor.
    pub fn executor_stats(&self) -> Vec<ExecutorSnapshot> {
        self.executors.iter().map(|(_, executor)| executor.stats().snapshot()).collect()
    }

    /// The counters of the task pool, if there is one.
    pub fn task_stats(&self) -> Option<PoolSnapshot> {
        self.pool.as_ref().map(Pool::snapshot)
    }

    /// Waits for the end of the shutdown.
    pub fn wait(self) -> Result<Report> {
        let mut failed = None;
        for (index, (cpu, executor)) in self.executors.into_iter().enumerate() {
            if let Err(error) = executor.join(index, cpu) {
                self.shutdown.raise();
                failed.get_or_insert(error);
            }
        }
        // The executors have waited for their tasks; a worker that still runs one has overrun.
        let tasks = self.pool.map(|pool| pool.close(Instant::now() + Duration::from_millis(100)));
        match failed {
            Some(error) => Err(error.into()),
            None => Ok(Report::new(&tasks.unwrap_or_default())),
        }
    }

    /// Every executor reports once it accepts; one that cannot start ends instead.
    fn await_start(self, started: &mpsc::Receiver<()>) -> Result<Self> {
        for _ in &self.executors {
            if started.recv().is_err() {
                self.shutdown.raise();
                self.wait()?;
                return Err(Error::io(
                    "an executor ended before it could serve",
                    std::io::ErrorKind::Interrupted.into(),
                ));
            }
        }
        Ok(self)
    }
}

/// What became of the tasks of a server that has ended. The parts add up to `accepted`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Tasks that were accepted.
    pub accepted: u64,
    /// Tasks whose output was delivered.
    pub finished: u64,
    /// Tasks whose job failed, at its last attempt.
    pub failed: u64,
    /// Tasks that panicked.
    pub panicked: u64,
    /// Tasks whose deadline passed.
    pub timed_out: u64,
    /// Tasks that were cancelled.
    pub cancelled: u64,
    /// Tasks that were accepted and not delivered when the drain's time was over.
    pub lost: u64,
}

impl Report {
    fn new(tasks: &PoolSnapshot) -> Self {
        let Outcomes { finished, failed, panicked, timed_out, cancelled, lost } = tasks.outcomes;
        Report {
            accepted: tasks.accepted,
            finished,
            failed,
            panicked,
            timed_out,
            cancelled,
            lost: lost + tasks.outstanding(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { accepted, finished, failed, panicked, timed_out, cancelled, lost } = self;
        write!(
            f,
            "accepted={accepted} finished={finished} failed={failed} panicked={panicked} \
             timed_out={timed_out} cancelled={cancelled} lost={lost}"
        )
    }
}

fn check_callbacks(placement: &Placement, on_task: bool, on_finish: bool) -> Result<()> {
    let task_workers = placement.task_workers.len();
    match (on_task, on_finish) {
        _ if task_workers == 0 => Ok(()),
        (false, _) => Err(Error::missing_callback("on_task", task_workers)),
        (_, false) => Err(Error::missing_callback("on_finish", task_workers)),
        (true, true) => Ok(()),
    }
}

type LaneAndFinish<J, O> = Option<(Lane<J, O>, Arc<OnFinish<O>>)>;
type Started<J, O> = (Option<Pool<J, O>>, Vec<LaneAndFinish<J, O>>);

fn start_pool<J: Send + 'static, O: Send + 'static>(
    options: &Options,
    placement: &Placement,
    bells: &[Arc<Bell>],
    on_task: OnTask<J, O>,
    on_finish: OnFinish<O>,
) -> Result<Started<J, O>> {
    let seats = placement.task_workers.iter();
    let config = PoolConfig {
        credits: options.task_credits,
        spin: options.task_spin_us.map(Duration::from_micros),
        ..PoolConfig::new(
            seats.map(|seat| Seat { cpu: seat.cpu.0, shared: seat.shared, domain: 0 }).collect(),
            options.task_queue_depth,
        )
    };
    let (pool, lanes) = Pool::start(&config, bells, move |context, job| (on_task.0)(context, job))?;
    let on_finish = Arc::new(on_finish);
    pool.on_foreign_finish(deliver_to(on_finish.clone(), None));
    let lanes = lanes.into_iter().map(|lane| Some((lane, on_finish.clone()))).collect();
    Ok((Some(pool), lanes))
}

fn bells(count: usize) -> Result<Vec<Arc<Bell>>> {
    (0..count)
        .map(|_| Bell::new().map(Arc::new))
        .collect::<std::io::Result<_>>()
        .map_err(|cause| Error::io("no descriptor for an eventfd; raise `ulimit -n`", cause))
}

fn address(config: &Config) -> SocketAddr {
    // The configuration has checked the host: an address, or `localhost`.
    let host = config.host.parse().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    SocketAddr::new(host, config.port)
}

fn request(options: &Options) -> PlacementRequest {
    PlacementRequest {
        worker_num: options.worker_num,
        task_worker_num: options.task_worker_num,
        worker_cpus: options.worker_cpus.clone(),
        task_worker_cpus: options.task_worker_cpus.clone(),
    }
}

fn needs(options: &Options, executors: usize) -> probe::Needs {
    probe::Needs {
        executors,
        async_workers: 0,
        ring_entries: options.ring_entries as u32,
        recv_buffers: options.recv_buffers as u16,
        descriptors: DESCRIPTORS_KEPT + probe::DESCRIPTORS_PER_EXECUTOR * executors as u64,
    }
}

fn executor_config(options: &Options, index: usize, cpu: usize) -> ExecutorConfig {
    ExecutorConfig {
        index,
        cpu,
        ring: RingConfig {
            entries: options.ring_entries as u32,
            recv_buffers: options.recv_buffers as u16,
            recv_buffer_bytes: options.recv_buffer_bytes as u32,
            gather: Duration::from_micros(options.executor_gather_us),
        },
        spin: Duration::from_micros(options.executor_spin_us),
    }
}
