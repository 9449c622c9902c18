//! What a task costs from dispatch to finish, without HTTP: how many pass through one executor and
//! one task worker, and how long one takes there and back while both are awake, each leg on its
//! own. The control is the least that such a trip can be: two bare SPSC rings between the same two
//! CPUs, with no ids, credits, counters, clock or parking.

use std::cell::Cell;
use std::hint::{black_box, spin_loop};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rtrb::{Consumer, Producer, RingBuffer};
use sidecore_runtime::executor::Inbox;
use sidecore_runtime::pool::{Pool, PoolConfig, Seat, Tasks};
use sidecore_runtime::sys::doorbell::Doorbell;

const EXECUTOR_CPU: usize = 0;
const TASK_CPU: usize = 1;
const IN_FLIGHT: usize = 256;
const BATCH: u64 = 10_000;

fn pin(cpu: usize) {
    core_affinity::set_for_current(core_affinity::CoreId { id: cpu });
}

/// An executor's end of a pool, driven by the bench's own thread.
struct Driver {
    tasks: Tasks<u64, u64>,
    source: Rc<dyn Inbox>,
    seen: Rc<Seen>,
}

/// What the finishes said.
#[derive(Default)]
struct Seen {
    count: Cell<u64>,
    waited: Cell<Duration>,
    ran: Cell<Duration>,
}

/// A part of a task's way.
#[derive(Clone, Copy)]
enum Leg {
    /// The executor's call of `dispatch`.
    Dispatch,
    /// From the queue to the task worker.
    Queue,
    /// The job's call on the task worker.
    Run,
    /// From the end of the run, through the finish ring, to `on_finish`.
    Home,
}

impl Driver {
    /// Passes `jobs` through, as many in flight as there are credits.
    fn throughput(&self, jobs: u64) {
        let end = self.seen.count.get() + jobs;
        let mut left = jobs;
        while self.seen.count.get() < end {
            while left > 0 && self.tasks.dispatch(black_box(left)).is_ok() {
                left -= 1;
            }
            self.source.drain();
        }
    }

    /// One job there and back; what `dispatch` took of it.
    fn round_trip(&self) -> Duration {
        let end = self.seen.count.get() + 1;
        let start = Instant::now();
        self.tasks.dispatch(black_box(end)).expect("the queue is empty");
        let dispatched = start.elapsed();
        while self.seen.count.get() < end {
            self.source.drain();
            spin_loop();
        }
        dispatched
    }

    /// One leg of so many round trips.
    fn leg(&self, leg: Leg, trips: u64) -> Duration {
        let (waited, ran) = (self.seen.waited.get(), self.seen.ran.get());
        let start = Instant::now();
        let dispatching: Duration = (0..trips).map(|_| self.round_trip()).sum();
        let total = start.elapsed();
        let (waited, ran) = (self.seen.waited.get() - waited, self.seen.ran.get() - ran);
        match leg {
            Leg::Dispatch => dispatching,
            Leg::Queue => waited,
            Leg::Run => ran,
            Leg::Home => total.saturating_sub(waited + ran),
        }
    }
}

/// Two bare rings, and a thread that sends back what comes.
struct Control {
    out: Producer<u64>,
    home: Consumer<u64>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Control {
    fn start() -> Self {
        let (out, mut jobs) = RingBuffer::new(IN_FLIGHT);
        let (mut finishes, home) = RingBuffer::new(IN_FLIGHT);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            pin(TASK_CPU);
            while !stopped.load(Ordering::Relaxed) {
                match jobs.pop() {
                    Ok(job) => finishes.push(job).expect("as many as are in flight"),
                    Err(_) => spin_loop(),
                }
            }
        });
        Control { out, home, stop, thread }
    }

    fn throughput(&mut self, jobs: u64) {
        let (mut left, mut in_flight, mut finished) = (jobs, 0, 0);
        while finished < jobs {
            while left > 0 && in_flight < IN_FLIGHT && self.out.push(black_box(left)).is_ok() {
                (left, in_flight) = (left - 1, in_flight + 1);
            }
            while self.home.pop().is_ok() {
                (finished, in_flight) = (finished + 1, in_flight - 1);
            }
        }
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the control ends");
    }
}

fn pool_benches(criterion: &mut Criterion) {
    let config = PoolConfig {
        credits: Some(IN_FLIGHT),
        spin: Some(Duration::from_millis(1)),
        ..PoolConfig::new(vec![Seat { cpu: TASK_CPU, shared: false, domain: 0 }], 1024)
    };
    let doorbells = [Arc::new(Doorbell::new().expect("an eventfd"))];
    let (pool, mut lanes) =
        Pool::start(&config, &doorbells, |_, job: u64| Ok(job)).expect("a pool");
    let tasks = pool.tasks();
    let seen = Rc::new(Seen::default());
    let counted = seen.clone();
    let source = lanes.remove(0).install(move |finish| {
        counted.count.set(counted.count.get() + 1);
        counted.waited.set(counted.waited.get() + finish.waited);
        counted.ran.set(counted.ran.get() + finish.ran);
    });
    let driver = Driver { tasks, source, seen };

    let mut group = criterion.benchmark_group("tasks");
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function("throughput", |bencher| bencher.iter(|| driver.throughput(BATCH)));
    group.throughput(Throughput::Elements(1));
    group.bench_function("round_trip", |bencher| bencher.iter(|| driver.round_trip()));
    for (name, leg) in [
        ("leg_dispatch", Leg::Dispatch),
        ("leg_queue", Leg::Queue),
        ("leg_run", Leg::Run),
        ("leg_home", Leg::Home),
    ] {
        let timed = |trips| driver.leg(leg, trips);
        group.bench_function(name, |bencher| bencher.iter_custom(timed));
    }
    group.finish();
    driver.tasks.uninstall();
    pool.close(Instant::now() + Duration::from_secs(1));
}

fn control_benches(criterion: &mut Criterion) {
    let mut control = Control::start();
    let mut group = criterion.benchmark_group("tasks");
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function("control_throughput", |bencher| {
        bencher.iter(|| control.throughput(BATCH));
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("control_round_trip", |bencher| bencher.iter(|| control.throughput(1)));
    group.finish();
    control.stop();
}

fn tasks(criterion: &mut Criterion) {
    pin(EXECUTOR_CPU);
    pool_benches(criterion);
    control_benches(criterion);
}

criterion_group!(benches, tasks);
criterion_main!(benches);
