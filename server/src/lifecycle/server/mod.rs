//! The server: built from a configuration and its callbacks, and started.

mod callbacks;
mod plan;

use std::sync::{Arc, mpsc};
use std::time::Duration;

use sidecore_runtime::executor::{self, Blocked};
use sidecore_runtime::machine::probe;
use sidecore_runtime::machine::topology::Topology;
use sidecore_runtime::pool::OnNotice;
use sidecore_runtime::sys::panics::Quiet;
use sidecore_runtime::sys::stderr;

use crate::app::service::App;
use crate::config::listen::Listen;
use crate::config::settings::Config;
use crate::lifecycle::companion::{self, Companion, StartCompanion};
use crate::lifecycle::error::{Error, Result};
use crate::lifecycle::executor::{Assignment, Executor, ServerStats};
use crate::lifecycle::life::Hooks;
use crate::lifecycle::pool_set::PoolSet;
use crate::lifecycle::report::Report;
use crate::lifecycle::running::{OnBlocked, Running};
use crate::lifecycle::shutdown::{RaiseOnDrop, Shutdown};
use crate::lifecycle::tls_policy::{self, TlsPolicy};
use crate::lifecycle::{listen, signals};
use crate::tasks::callbacks::{
    Callbacks, FinishContext, OnFinish, OnTask, TaskResult, dead_letters_to, notices_to,
};
use crate::tasks::pool_start::{PoolStart, ServerPool};
use sidecore_runtime::pool::{
    DeadLetter, Failure, Kinds, Notice, TaskContext, TaskWorkerInfo, Tasks,
};

/// How long the end waits for who reads standard error.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Said at the start of one that has neither a callback for tasks nor a setting that asks for any.
const NO_TASKS: &str = "no task workers: the server has no on_task, and task_worker_num is not set";

/// A server that has not started. `T` and `F` say which task callbacks it has.
///
/// With [`on_task`](Self::on_task) goes [`on_finish`](Self::on_finish) or [`awaited`](Self::awaited):
/// the start is refused where one is missing. [`serve`](Self::serve) runs until a signal comes;
/// [`start`](Self::start) returns a [`Running`], which the program itself ends:
///
/// ```
/// use std::sync::mpsc::channel;
///
/// use sidecore::{Config, Server, service_fn};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut config = Config::default();
/// config.port = 0;
/// let (told, outputs) = channel();
/// let running = Server::new(config)
///     .on_task(|_task, n: u64| n + 1)
///     .on_finish(move |_finish, output| drop(told.send(output.ok())))
///     .start(|executor| {
///         // Each executor's own; any executor's handlers may dispatch.
///         let _ = executor.tasks().dispatch(executor.index() as u64);
///         service_fn(|_request| async { "hello" })
///     })?;
/// assert!(outputs.recv()?.is_some());
/// running.shutdown().raise();
/// let report = running.wait()?;
/// assert_eq!((report.finished, report.lost), (report.accepted, 0));
/// # Ok(())
/// # }
/// ```
pub struct Server<T = (), F = ()> {
    pub(crate) config: Config,
    tls: TlsPolicy,
    on_task: T,
    on_finish: F,
    on_notice: Option<OnNotice>,
    pub(crate) hooks: Hooks,
    pools: Vec<PoolStart>,
    companion: Option<StartCompanion>,
    on_blocked: Option<OnBlocked>,
}

impl Server {
    /// A server of this configuration, without task callbacks.
    pub fn new(config: Config) -> Self {
        let (tls, on_notice, hooks, pools, companion, on_blocked) = Default::default();
        Server {
            config,
            tls,
            on_task: (),
            on_finish: (),
            on_notice,
            hooks,
            pools,
            companion,
            on_blocked,
        }
    }
}

impl<T, F> Server<T, F> {
    /// Runs each job, synchronously, on a task worker's thread.
    ///
    /// What it returns reaches `on_finish`, or the future that awaits it. A panic in it is caught
    /// and reaches them as a [`TaskError`](crate::tasks::TaskError). Replaces Swoole's `on('Task')`.
    pub fn on_task<J: 'static, O: 'static>(
        self,
        on_task: impl Fn(&TaskContext, J) -> O + Send + Sync + 'static,
    ) -> Server<OnTask<J, O>, F> {
        self.try_on_task(move |task, job| Ok(on_task(task, job)))
    }

    /// Runs jobs that may fail, and may then be tried again ([`Dispatch::retry`]). What they fail
    /// with reaches `on_finish` as [`TaskError::Failed`].
    ///
    /// [`Dispatch::retry`]: crate::tasks::Dispatch::retry
    /// [`TaskError::Failed`]: crate::tasks::TaskError::Failed
    pub fn try_on_task<J: 'static, O: 'static>(
        self,
        on_task: impl Fn(&TaskContext, J) -> std::result::Result<O, Failure> + Send + Sync + 'static,
    ) -> Server<OnTask<J, O>, F> {
        self.with_on_task(OnTask::shared(on_task))
    }

    /// Each task worker runs jobs by what `make` returns on its own thread, when it starts: a
    /// closure that may hold what the worker keeps, such as a connection. It is dropped on that
    /// thread when the worker ends or is made anew (`task_recycle_after`, [`Reload`]), after the
    /// next one has been made. Replaces Swoole's `on('WorkerStart')` and `on('WorkerStop')` for
    /// task workers.
    ///
    /// Where `make` fails the server does not start; later on the worker goes on with what it has.
    ///
    /// ```
    /// # use sidecore::{Config, Server};
    /// Server::new(Config::default()).on_task_worker(|worker| {
    ///     let mut log = std::fs::File::create(format!("/tmp/task-{}.log", worker.task_worker))
    ///         .map_err(sidecore::tasks::Failure::new)?;
    ///     Ok(move |_task: &sidecore::TaskContext, line: String| {
    ///         std::io::Write::write_all(&mut log, line.as_bytes()).map_err(sidecore::tasks::Failure::new)
    ///     })
    /// });
    /// ```
    ///
    /// [`Reload`]: crate::lifecycle::Reload
    pub fn on_task_worker<J: 'static, O: 'static, R>(
        self,
        make: impl Fn(&TaskWorkerInfo) -> std::result::Result<R, Failure> + Send + Sync + 'static,
    ) -> Server<OnTask<J, O>, F>
    where
        R: FnMut(&TaskContext, J) -> std::result::Result<O, Failure> + 'static,
    {
        self.with_on_task(OnTask::made(make))
    }

    fn with_on_task<J, O>(self, on_task: OnTask<J, O>) -> Server<OnTask<J, O>, F> {
        let Server {
            config, tls, on_finish, on_notice, hooks, pools, companion, on_blocked, ..
        } = self;
        Server { config, tls, on_task, on_finish, on_notice, hooks, pools, companion, on_blocked }
    }

    /// Listens there too: the connections of all listeners are served alike, and limited together.
    pub fn listen(mut self, listen: Listen) -> Self {
        self.config.listen.push(listen);
        self
    }

    /// Speaks TLS at host and port, and on the listeners that say so, with these certificates rather
    /// than those of the configuration. SIGHUP reloads them where [`serve`](Self::serve) runs.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, certificates: crate::http::tls::Certificates) -> Self {
        self.config.scheme = crate::config::settings::Scheme::Https;
        self.tls_certificates(certificates)
    }

    /// Speaks TLS with these certificates, on the listeners that say so.
    #[cfg(feature = "tls")]
    pub fn tls_certificates(mut self, certificates: crate::http::tls::Certificates) -> Self {
        self.tls = TlsPolicy::with(certificates);
        self
    }

    /// Listens on a Unix socket too ([`Listen::unix`]).
    pub fn listen_unix(self, path: impl Into<std::path::PathBuf>) -> Self {
        self.listen(Listen::unix(path))
    }

    /// Adds a further pool, which starts and ends with the server.
    pub fn with_pool(mut self, pool: &impl ServerPool) -> Self {
        self.pools.push(pool.pool_start());
        self
    }

    /// Has a thread beside the executors, the companion, run what needs tokio: with it tokio's
    /// timers, sockets, files and `tokio::spawn` work in handlers, and so do clients and drivers
    /// built on them (reqwest, tower-http's time-outs, axum's keep-alive of server-sent events).
    /// Needs the feature `tokio` of this crate. Replaces Swoole's coroutine clients.
    ///
    /// With the feature `hyper-upgrade`, requests that offer an upgrade then come with hyper's
    /// `OnUpgrade`, which axum's own `WebSocketUpgrade` takes. It resolves as the 101 is sent, before
    /// anything that is written then, and fails with any other answer. What is made of it counts as its connection,
    /// which stays with its executor; at shutdown a WebSocket's peer is told 1001, another protocol
    /// has the drain's time.
    ///
    /// Handlers stay on their executor. What they give to `tokio::spawn` runs on the companion and is
    /// not waited for by the drain. When all executors have ended it has 100 ms to end by itself, as
    /// what drives a database's connection does when its client is gone; then it is dropped.
    /// `tokio::task::spawn_local` does not work. The companion runs on the CPUs that are no
    /// executor's, where there are any. A thread that is no executor, such as a task worker, has to
    /// be given the `tokio::runtime::Handle` that a handler finds with `Handle::current()`.
    ///
    /// Hooks such as [`on_executor_stop`](Self::on_executor_stop) run with it too and may block on it,
    /// to close a pool of connections for instance. The companion sleeps while nobody needs it:
    /// a server that has it and does not use it pays nothing (1.00 in CPU a request). Used, each
    /// wake is a trip between threads: 9 µs on an echo by tokio's sockets, 16 µs for
    /// `tokio::spawn` and its await. `docs/from-tokio-and-axum.md` has all figures, and databases.
    #[cfg(feature = "tokio")]
    pub fn with_tokio(mut self) -> Self {
        self.companion = Some(companion::start);
        self
    }

    /// Receives what the operator should know of the server's own pool, such as a stuck task; by
    /// default it is one line on standard error.
    pub fn on_notice(mut self, on_notice: impl Fn(&Notice) + Send + Sync + 'static) -> Self {
        self.on_notice = Some(notices_to(on_notice));
        self
    }

    /// Receives which executor is blocked, and where in its code: a handler, or what it calls, has kept
    /// the thread for longer than `executor_blocked_after_ms`, and nobody else is served there
    /// meanwhile. Called on a thread of its own, once in ten seconds an executor at most; by default it
    /// is one line on standard error, and one for each frame.
    pub fn on_blocked(mut self, on_blocked: impl Fn(&Blocked) + Send + Sync + 'static) -> Self {
        let on_blocked = Quiet::new(on_blocked);
        self.on_blocked = Some(Box::new(move |blocked: &Blocked| on_blocked(blocked)));
        self
    }

    /// Receives the end of each task that no future awaits, on the executor that dispatched it.
    ///
    /// It runs between requests: keep it short. Replaces Swoole's `on('Finish')`.
    pub fn on_finish<O>(
        self,
        on_finish: impl Fn(&FinishContext, TaskResult<O>) + Send + Sync + 'static,
    ) -> Server<T, OnFinish<O>> {
        self.with_on_finish(OnFinish::new(on_finish))
    }

    /// In the place of [`on_finish`](Self::on_finish), where every task is awaited or has a callback
    /// of its own. Of one that is not, as its future was dropped, the output is dropped, and a failure
    /// is a line on standard error; a cancellation is none.
    pub fn awaited<O: 'static>(self) -> Server<T, OnFinish<O>> {
        self.with_on_finish(OnFinish::awaited())
    }

    fn with_on_finish<O>(self, on_finish: OnFinish<O>) -> Server<T, OnFinish<O>> {
        let Server { config, tls, on_task, on_notice, hooks, pools, companion, on_blocked, .. } =
            self;
        Server { config, tls, on_task, on_finish, on_notice, hooks, pools, companion, on_blocked }
    }
}

impl<J, O, F> Server<OnTask<J, O>, F> {
    /// Keeps the statistics of the kinds of jobs apart, and names them to the operator.
    pub fn kinds(mut self, kinds: Kinds<J>) -> Self {
        self.on_task.kinds = kinds;
        self
    }

    /// Receives the jobs whose last attempt has failed or panicked, of those that may be tried
    /// again ([`Dispatch::retry`](crate::tasks::Dispatch::retry)), on the executor that dispatched them
    /// and before their outcome is delivered.
    pub fn on_dead_letter(
        mut self,
        on_dead_letter: impl Fn(DeadLetter<J>) + Send + Sync + 'static,
    ) -> Self {
        self.on_task.on_dead_letter = Some(dead_letters_to(on_dead_letter));
        self
    }
}

impl<T, F> Server<T, F>
where
    (T, F): Callbacks,
{
    /// Serves until SIGTERM or SIGINT, then drains; a second signal, half a second later or more,
    /// ends the process at once with the exit code 143. One that comes during the start ends that,
    /// with an empty report; for what comes before this call there is
    /// [`catch_signals`](crate::lifecycle::catch_signals).
    ///
    /// `make_app` is called once on each executor, so what it makes needs no lock. Start-up lines
    /// on standard error say which CPU serves what. Such lines never hold the server up, whoever
    /// reads them or does not ([`stderr`](crate::lifecycle::stderr)); reports of panics do, unless the
    /// application has called [`stderr::report_panics`](crate::lifecycle::stderr::report_panics).
    ///
    /// The error: it could not start, or an executor has ended by a panic or an error of its ring
    /// ([`Running::wait`]).
    ///
    /// # Errors
    /// What kept it from starting, with cause and cure; or why it ended before it was told to.
    pub fn serve<A: App>(
        self,
        make_app: impl Fn(&Executor<Job<T, F>, Output<T, F>>) -> A + Send + Sync + 'static,
    ) -> Result<Report> {
        let shutdown = Shutdown::new();
        let signals = signals::attach(&shutdown, tls_policy::is_wanted(&self.config))?;
        let running = match self.start_with(shutdown, make_app) {
            Err(error) if error.is_told_to_end() => return Ok(Report::default()),
            started => started?,
        };
        signals.reloads_by(running.reload());
        for line in running.describe() {
            stderr::line(format_args!("{line}"));
        }
        let ended = running.wait();
        stderr::flush(LAST_WORDS);
        ended
    }

    /// Starts the server and returns when it accepts connections.
    ///
    /// # Errors
    /// What kept it from starting, with cause and cure.
    pub fn start<A: App>(
        self,
        make_app: impl Fn(&Executor<Job<T, F>, Output<T, F>>) -> A + Send + Sync + 'static,
    ) -> Result<Running> {
        self.start_with(Shutdown::new(), make_app)
    }

    fn start_with<A: App>(
        self,
        shutdown: Shutdown,
        make_app: impl Fn(&Executor<Job<T, F>, Output<T, F>>) -> A + Send + Sync + 'static,
    ) -> Result<Running> {
        if shutdown.is_raised() {
            return Err(Error::told_to_end());
        }
        let Server {
            config,
            tls,
            on_task,
            on_finish,
            on_notice,
            hooks,
            mut pools,
            companion,
            on_blocked,
        } = self;
        let (on_task, on_finish) = (on_task, on_finish).split();
        let options = config.options.clone();
        plan::check_names(&config, &pools)?;
        let listens: Vec<_> =
            config.main_listen().into_iter().chain(config.listen.clone()).collect();
        if listens.is_empty() {
            return Err(Error::nowhere());
        }
        let topology = Topology::read()?;
        let callbacks = (on_task.is_some(), on_finish.is_some());
        let (mut placement, has_tasks) =
            plan::decide_placement(&topology, &options, callbacks, !pools.is_empty())?;
        let own = plan::own_pool(&options, on_task, on_finish, on_notice);
        let tasks = own.tasks;
        if let Some(mount) = own.mount.filter(|_| !placement.task_workers.is_empty()) {
            pools.insert(0, mount);
        }
        let mut pool_set = PoolSet::decide(&config, &topology, &placement, pools)?;
        if !has_tasks {
            placement.task_workers.clear();
        }
        let executors = placement.executors.len();
        probe::check(&plan::needs(&config, executors, pool_set.async_workers()))?;
        let tls_policy = tls.completed(&config)?;
        let backlog = i32::try_from(options.listen_backlog).unwrap_or(i32::MAX);
        let bound = listen::bind(&listens, executors, backlog, &shutdown)?;
        let doorbells = plan::doorbells(executors)?;
        let companion =
            companion.map(|start| start(&topology, &placement, &shutdown)).transpose()?;
        let (pools, lanes) = pool_set.start(&topology, &placement, &doorbells)?;

        let watch = plan::executor_watch(&options);
        let stats = ServerStats::default();
        let counters = pools.iter().map(|pool| (pool.name(), pool.counters())).collect();
        let _ = stats.pools.set(counters);
        let tasks = tasks.get().cloned().unwrap_or_else(Tasks::none);
        let (ready, started) = mpsc::channel();
        let make_app = Arc::new(Quiet::new(make_app));
        let mut running = Running {
            addresses: bound.addresses,
            listens: bound.places,
            files: bound.files,
            tls_policy: tls_policy.clone(),
            places: pool_set.describe(&topology, &placement),
            shutdown: shutdown.clone(),
            executors: Vec::new(),
            pools,
            hooks: hooks.clone(),
            companion,
            watching: None,
        };
        running
            .places
            .extend((!has_tasks && running.pools.is_empty()).then(|| NO_TASKS.to_owned()));
        running.places.extend(config.notes.into_iter().chain(bound.notes));
        running.places.extend(running.companion.as_ref().map(|companion| companion.place.clone()));
        for (index, (sockets, lanes)) in bound.sockets.into_iter().zip(lanes).enumerate() {
            let cpu = placement.executors[index].0;
            let assignment = Assignment {
                executor: Executor {
                    index,
                    cpu,
                    tasks: tasks.clone(),
                    stats: stats.clone(),
                    shutdown: shutdown.clone(),
                },
                lanes,
                sockets,
                tls_policy: tls_policy.clone(),
                options: options.clone(),
                shutdown: shutdown.clone(),
                ready: ready.clone(),
                hooks: hooks.clone(),
                ended: RaiseOnDrop(shutdown.clone()),
            };
            let make_app = make_app.clone();
            let within =
                running.companion.as_ref().map_or_else(companion::without, Companion::within);
            let thread = executor::Executor::start_within(
                plan::executor_config(&options, index, cpu),
                doorbells[index].clone(),
                move |run| within(run),
                move || assignment.serve(move |executor| make_app(executor)),
            );
            match thread {
                Ok(thread) => running.executors.push((cpu, thread)),
                Err(error) => {
                    shutdown.raise();
                    let _ = running.wait();
                    return Err(error.into());
                }
            }
        }
        drop(ready);
        let counters = running.executors.iter().map(|(_, executor)| executor.stats().clone());
        let _ = stats.executors.set(counters.collect());
        let mut running = running.await_start(&started)?;
        running.watch(watch, on_blocked);
        Ok(running)
    }
}

pub(crate) type Job<T, F> = <(T, F) as Callbacks>::Job;
pub(crate) type Output<T, F> = <(T, F) as Callbacks>::Output;
