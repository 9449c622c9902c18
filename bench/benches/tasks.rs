//! What a task costs from dispatch to finish, without HTTP: how many pass through one executor and
//! one task worker, and how long one takes there and back while both are awake.

use std::cell::Cell;
use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sidecore_runtime::bell::Bell;
use sidecore_runtime::pool::{FinishSource, Pool, PoolConfig, Seat, Tasks};

const BATCH: u64 = 10_000;

/// An executor's end of a pool, driven by the bench's own thread on CPU 0.
struct Driver {
    tasks: Tasks<u64, u64>,
    source: Rc<dyn FinishSource>,
    finished: Rc<Cell<u64>>,
}

impl Driver {
    fn run(&self, jobs: u64) {
        let end = self.finished.get() + jobs;
        let mut left = jobs;
        while self.finished.get() < end {
            while left > 0 && self.tasks.dispatch(black_box(left)).is_ok() {
                left -= 1;
            }
            self.source.drain();
        }
    }
}

fn tasks(criterion: &mut Criterion) {
    core_affinity::set_for_current(core_affinity::CoreId { id: 0 });
    let config = PoolConfig {
        seats: vec![Seat { cpu: 1, shared: false }],
        queue_depth: 1024,
        credits: Some(256),
        spin: Some(Duration::from_micros(50)),
    };
    let bells = [Arc::new(Bell::new().expect("an eventfd"))];
    let (pool, mut lanes) = Pool::start(&config, &bells, |_, job: u64| job).expect("a pool");
    let tasks = pool.tasks();
    let finished = Rc::new(Cell::new(0));
    let counted = finished.clone();
    let source = lanes.remove(0).install(move |_| counted.set(counted.get() + 1));
    let driver = Driver { tasks, source, finished };

    let mut group = criterion.benchmark_group("tasks");
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function("dispatch, run, finish: 256 in flight", |bencher| {
        bencher.iter(|| driver.run(BATCH));
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("dispatch, run, finish: one in flight", |bencher| {
        bencher.iter(|| driver.run(1));
    });
    group.finish();
    driver.tasks.uninstall();
    pool.close(Instant::now() + Duration::from_secs(1));
}

criterion_group!(benches, tasks);
criterion_main!(benches);
