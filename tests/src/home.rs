//! A pool whose home is one executor.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use sidecore_runtime::executor::{Executor, ExecutorConfig, tasks_quiet};
use sidecore_runtime::net::RingConfig;
use sidecore_runtime::pool::{
    Finish, Lane, Pool, PoolConfig, PoolError, PoolSnapshot, Seat, Tasks,
};
use sidecore_runtime::sys::doorbell::Doorbell;

type Started<J, O> = Result<(Pool<J, O>, Vec<Lane<J, O>>), PoolError>;

/// Of task workers beside the executor, on another CPU.
pub fn pool_config(task_workers: usize, queue_depth: usize) -> PoolConfig {
    let seats = (0..task_workers).map(|_| Seat { cpu: 1, shared: true, domain: 1 }).collect();
    PoolConfig::new(seats, queue_depth)
}

/// Runs a main future on an executor with the pool that `start` makes; how the pool ended, each
/// accepted task with one outcome.
pub fn with_pool<J, O, F>(
    start: impl FnOnce(&[Arc<Doorbell>]) -> Started<J, O>,
    on_finish: impl Fn(Finish<O>) + Send + 'static,
    main: impl FnOnce(Tasks<J, O>) -> F + Send + 'static,
) -> PoolSnapshot
where
    J: Send + 'static,
    O: Send + 'static,
    F: Future<Output = ()> + 'static,
{
    let doorbell = Arc::new(Doorbell::new().unwrap());
    let (pool, mut lanes) = start(std::slice::from_ref(&doorbell)).unwrap();
    let (tasks, lane) = (pool.tasks(), lanes.remove(0));
    let (told, ended) = channel();
    let ring = RingConfig::default();
    let executor = ExecutorConfig { index: 0, cpu: 0, ring, spin: Duration::ZERO };
    let executor = Executor::start(executor, doorbell, move || async move {
        sidecore_runtime::executor::add_inbox(lane.install(on_finish));
        main(tasks.clone()).await;
        tasks_quiet().await;
        tasks.uninstall();
        told.send(()).unwrap();
    });
    executor.unwrap().join(0, 0).unwrap();
    ended.try_recv().expect("the main future came to its end");
    let end = pool.close(Instant::now() + Duration::from_secs(5));
    assert_eq!(end.accepted, end.outcomes.total());
    end
}
