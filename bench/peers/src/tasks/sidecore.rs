//! sidecore's pool: one executor, one task worker; tasks awaited, or their finishes taken by
//! `on_finish`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use sidecore_runtime::sys::doorbell::Doorbell;
use sidecore_runtime::executor::{self, ExecutorConfig, tasks_quiet};
use sidecore_runtime::net::RingConfig;
use sidecore_runtime::pool::{self, Finish, Lane, Pool, PoolConfig, Seat, Tasks};
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::host::{Cpus, Executor};
use crate::job::Job;
use crate::measure::{Ask, Figure, IN_FLIGHT, Subject, serve};
use crate::running::{Label, Running};

const AWAITED: Label =
    Label { name: "sidecore", worker_waits: "spins 10 us, then parks", is_awaited: true };
const PARKED: Label =
    Label { name: "sidecore, spin 0", worker_waits: "parks at once", is_awaited: true };
const CALLED: Label = Label {
    name: "sidecore, on_finish",
    worker_waits: "spins 10 us, then parks",
    is_awaited: false,
};

#[derive(Clone)]
struct Awaited(Tasks<Job, u64>);

impl Subject for Awaited {
    type Host = Executor;

    async fn run(&self, job: Job) -> u64 {
        self.0.run(job).await.unwrap_or_else(|error| panic!("{error}"))
    }
}

/// The three of them; ratios are to the first.
pub(crate) fn start_all(cpus: Cpus) -> [Running; 3] {
    [
        start_awaited(AWAITED, 0, cpus, None),
        start_called(1, cpus),
        start_awaited(PARKED, 2, cpus, Some(Duration::ZERO)),
    ]
}

fn start_awaited(label: Label, index: usize, cpus: Cpus, spin: Option<Duration>) -> Running {
    Running::start(label, |asks, figures| {
        start(index, cpus, spin, move |lane, tasks| async move {
            sidecore_runtime::executor::add_inbox(lane.install(|_| {}));
            serve(Awaited(tasks), cpus, asks, figures).await;
        })
    })
}

fn start_called(index: usize, cpus: Cpus) -> Running {
    Running::start(CALLED, |asks, figures| {
        start(index, cpus, None, move |lane, tasks| serve_called(lane, tasks, asks, figures))
    })
}

/// Starts executor and pool; returns how to end them.
fn start<F: Future<Output = ()> + 'static>(
    index: usize,
    cpus: Cpus,
    spin: Option<Duration>,
    main: impl FnOnce(Lane<Job, u64>, Tasks<Job, u64>) -> F + Send + 'static,
) -> impl FnOnce() + 'static {
    let config = PoolConfig {
        credits: Some(IN_FLIGHT),
        spin,
        ..PoolConfig::new(vec![Seat { cpu: cpus.worker, shared: false, domain: 0 }], IN_FLIGHT)
    };
    let doorbell = Arc::new(Doorbell::new().expect("an eventfd"));
    let started = Pool::start(&config, std::slice::from_ref(&doorbell), |_, job: Job| Ok(job.call()));
    let (pool, mut lanes) = started.unwrap_or_else(|error| panic!("{error}"));
    let (tasks, lane) = (pool.tasks(), lanes.remove(0));
    let cpu = cpus.producer;
    let config = ExecutorConfig { index, cpu, ring: RingConfig::default(), spin: Duration::ZERO };
    let executor = executor::Executor::start(config, doorbell, move || async move {
        main(lane, tasks.clone()).await;
        tasks_quiet().await;
        tasks.uninstall();
    });
    let executor = executor.unwrap_or_else(|error| panic!("{error}"));
    move || {
        executor.join(index, cpu).unwrap_or_else(|error| panic!("{error}"));
        pool.close(Instant::now() + Duration::from_secs(1));
    }
}

/// Throughput without a future a task: each finish dispatches the next.
async fn serve_called(
    lane: Lane<Job, u64>,
    tasks: Tasks<Job, u64>,
    mut asks: UnboundedReceiver<Ask>,
    figures: Sender<Figure>,
) {
    let relay = Rc::new(Relay {
        tasks,
        stop: RefCell::default(),
        finished: Cell::new(0),
        in_flight: Cell::new(0),
        over: Notify::new(),
    });
    let finishing = relay.clone();
    sidecore_runtime::executor::add_inbox(lane.install(move |finish| finishing.on_finish(&finish)));
    while let Some(Ask { stop, .. }) = asks.recv().await {
        relay.finished.set(0);
        relay.stop.replace(stop);
        let start = Instant::now();
        (0..IN_FLIGHT).for_each(|_| relay.spawn());
        relay.over.notified().await;
        let rate = relay.finished.get() as f64 / start.elapsed().as_secs_f64();
        figures.send(Figure::Rate(rate)).expect("who asks waits for the answer");
    }
}

struct Relay {
    tasks: Tasks<Job, u64>,
    stop: RefCell<Arc<AtomicBool>>,
    finished: Cell<u64>,
    in_flight: Cell<usize>,
    over: Notify,
}

impl Relay {
    fn dispatch(&self) {
        let job = Job::trivial(self.finished.get());
        self.tasks.dispatch(job).unwrap_or_else(|error| panic!("{error}"));
        self.in_flight.set(self.in_flight.get() + 1);
    }

    fn on_finish(&self, finish: &Finish<u64>) {
        assert!(finish.outcome.is_ok());
        self.finished.set(self.finished.get() + 1);
        self.in_flight.set(self.in_flight.get() - 1);
        if !self.stop.borrow().load(Ordering::Relaxed) {
            self.spawn();
        } else if self.in_flight.get() == 0 {
            self.over.notify_one();
        }
    }
}
