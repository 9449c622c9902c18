//! Pools of any job types, as a server starts, asks and ends them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sidecore_runtime::executor::add_inbox;
use sidecore_runtime::machine::placement::TaskWorkerSeat;
use sidecore_runtime::machine::topology::Topology;
use sidecore_runtime::pool::{
    Finish, Lane, OnNotice, Pool, PoolConfig, PoolError, PoolSetup, PoolSnapshot, Seat, Tasks,
};
use sidecore_runtime::sys::doorbell::Doorbell;

use crate::config::settings::Options;
use crate::tasks::callbacks::{FinishContext, Jobs, OnFinish, Work};
use crate::tasks::pool_name::named;

/// The name of a server's own pool.
pub(crate) const DEFAULT: &str = "default";

/// By default, counted from `SIGRTMIN`, below which C libraries keep their own.
const STACK_SIGNAL: u64 = 10;

/// A pool before its start: its callbacks, and who is told of its handle.
pub(crate) struct PoolSpec<J, O> {
    pub(crate) name: Arc<str>,
    /// What its threads' names begin with.
    pub(crate) thread_name: Arc<str>,
    pub(crate) jobs: Jobs<J, O>,
    pub(crate) on_finish: OnFinish<O>,
    pub(crate) on_notice: Option<OnNotice>,
    pub(crate) on_start: Box<dyn FnOnce(Tasks<J, O>) + Send>,
}

/// A pool that [`Server::with_pool`](crate::Server::with_pool) takes.
pub trait ServerPool {
    /// Gives a server what it needs to start the pool.
    #[doc(hidden)]
    fn pool_start(&self) -> PoolStart;
}

/// A pool on its way into a server.
pub struct PoolStart {
    pub(crate) name: Arc<str>,
    pub(crate) options: Options,
    /// None: another server has taken it.
    pub(crate) start: Option<Box<dyn StartPool>>,
}

/// Starts a pool.
pub(crate) trait StartPool: Send {
    /// Whether glommio hosts its task workers.
    fn is_async(&self) -> bool;
    fn start(
        self: Box<Self>,
        config: &PoolConfig,
        number: u8,
        doorbells: &[Arc<Doorbell>],
    ) -> Result<(Box<dyn RunningPool>, Vec<Install>), PoolError>;
}

/// A pool that runs.
pub(crate) trait RunningPool: Send {
    fn name(&self) -> Arc<str>;
    /// Whether a reload makes its task workers anew: async ones stay.
    fn is_made_anew(&self) -> bool;
    /// Has the task workers made anew, from any thread.
    fn reloader(&self) -> Arc<dyn Fn() + Send + Sync>;
    /// Reads the counters, from any thread.
    fn counters(&self) -> Counters;
    fn close(self: Box<Self>, deadline: Instant) -> Ended;
}

/// A pool that has ended.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    pub(crate) counters: PoolSnapshot,
    /// Accepted tasks that were not delivered, which a journal keeps for the next start.
    pub(crate) kept: u64,
}

/// Reads a pool's counters.
pub(crate) type Counters = Arc<dyn Fn() -> PoolSnapshot + Send + Sync>;

/// Installs a pool's lane on the executor's own thread; returns what takes it away again.
pub(crate) type Install = Box<dyn FnOnce(usize) -> Box<dyn FnOnce()> + Send>;

impl<J: Send + Unpin + 'static, O: Send + 'static> StartPool for PoolSpec<J, O> {
    fn is_async(&self) -> bool {
        matches!(self.jobs.work, Work::Async { .. })
    }

    fn start(
        self: Box<Self>,
        config: &PoolConfig,
        number: u8,
        doorbells: &[Arc<Doorbell>],
    ) -> Result<(Box<dyn RunningPool>, Vec<Install>), PoolError> {
        let is_made_anew = !self.is_async();
        let PoolSpec { name, thread_name, jobs, on_finish, on_notice, on_start } = *self;
        let Jobs { work, kinds, on_dead_letter } = jobs;
        let name_of_setup = name.clone();
        let mut setup =
            PoolSetup { number, name: name_of_setup, thread_name, kinds, ..Default::default() };
        if let Some(on_notice) = on_notice {
            setup.on_notice = on_notice;
        }
        let (pool, lanes) = match work {
            Work::Sync(make) => {
                Pool::start_with(config, setup, doorbells, named(name.clone(), make))?
            }
            Work::Async { concurrency, make } => {
                let make = named(name.clone(), make);
                Pool::start_async_with(config, setup, concurrency, doorbells, make)?
            }
        };
        let on_finish = Arc::new(on_finish);
        pool.on_external_finish(deliver_to(on_finish.clone(), None));
        on_start(pool.tasks());
        let installs = lanes.into_iter().map(|lane| {
            let lane = match on_dead_letter.clone() {
                Some(on_dead_letter) => lane.on_dead_letter(move |dead| on_dead_letter(dead)),
                None => lane,
            };
            install(lane, pool.tasks(), on_finish.clone())
        });
        let installs = installs.collect();
        Ok((Box::new(NamedPool { name, pool, is_made_anew }), installs))
    }
}

fn install<J: Send + 'static, O: Send + 'static>(
    lane: Lane<J, O>,
    tasks: Tasks<J, O>,
    on_finish: Arc<OnFinish<O>>,
) -> Install {
    Box::new(move |executor| {
        add_inbox(lane.install(deliver_to(on_finish, Some(executor))));
        Box::new(move || tasks.uninstall())
    })
}

/// The callback, as the pool calls it.
fn deliver_to<O>(on_finish: Arc<OnFinish<O>>, executor: Option<usize>) -> impl Fn(Finish<O>) {
    move |finish| {
        let Finish { id, outcome, task_worker, waited, ran, attempts } = finish;
        (on_finish.0)(&FinishContext { id, executor, task_worker, waited, ran, attempts }, outcome);
    }
}

struct NamedPool<J, O> {
    name: Arc<str>,
    pool: Pool<J, O>,
    is_made_anew: bool,
}

impl<J: Send + 'static, O: Send + 'static> RunningPool for NamedPool<J, O> {
    fn name(&self) -> Arc<str> {
        self.name.clone()
    }

    fn is_made_anew(&self) -> bool {
        self.is_made_anew
    }

    fn reloader(&self) -> Arc<dyn Fn() + Send + Sync> {
        let tasks = self.pool.tasks();
        Arc::new(move || tasks.reload_workers())
    }

    fn counters(&self) -> Counters {
        let tasks = self.pool.tasks();
        Arc::new(move || tasks.snapshot().unwrap_or_default())
    }

    fn close(self: Box<Self>, deadline: Instant) -> Ended {
        Ended { counters: self.pool.close(deadline), kept: 0 }
    }
}

/// Without the feature a report has no stack, unless it is asked for: then the start fails.
pub(crate) fn stack_signal(options: &Options) -> Option<u32> {
    let by_default = if cfg!(feature = "stacks") { STACK_SIGNAL } else { 0 };
    let signal = options.task_stack_signal.unwrap_or(by_default);
    u32::try_from(signal).ok().filter(|signal| *signal > 0)
}

/// The shape of a pool, by its options and its seats.
pub(crate) fn pool_config(
    options: &Options,
    seats: &[TaskWorkerSeat],
    executor_domains: &[usize],
    topology: &Topology,
) -> PoolConfig {
    let seat = |seat: &TaskWorkerSeat| Seat {
        cpu: seat.cpu.0,
        shared: seat.shared,
        domain: topology.cpu(seat.cpu).map_or(0, |cpu| cpu.cache_domain),
    };
    let stuck_after = options.task_stuck_after_ms.map(Duration::from_millis);
    PoolConfig {
        executor_domains: executor_domains.to_vec(),
        credits: options.task_credits,
        delayed_max: options.task_delayed_max,
        spin: options.task_spin_us.map(Duration::from_micros),
        recycle_after: options.task_recycle_after,
        stuck_after,
        stack_signal: stack_signal(options),
        spares: stuck_after.map_or(0, |_| options.task_spares),
        ..PoolConfig::new(seats.iter().map(seat).collect(), options.task_queue_depth)
    }
}
