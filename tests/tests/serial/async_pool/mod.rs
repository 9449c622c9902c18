//! Async pools: many jobs at once on one worker, each with one outcome, whatever its future does.

mod stress;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard, mpsc};
use std::time::{Duration, Instant};

use sidecore_runtime::executor::Inbox;
use sidecore_runtime::executor::hosted::glommio::{io::BufferedFile, timer};
use sidecore_runtime::pool::{
    Cancelled, Failure, Finish, Pool, PoolConfig, PoolError, Retry, Seat, TaskContext, TaskError,
    Tasks,
};
use sidecore_runtime::sys::doorbell::Doorbell;
use sidecore_tests::Scratch;

const SOON: Duration = Duration::from_secs(5);

/// The turn of a test whose jobs panic as they are asked to, which is no news.
fn alone() -> MutexGuard<'static, ()> {
    std::panic::set_hook(Box::new(|info| {
        if info.payload().downcast_ref::<&str>() != Some(&"asked to") {
            eprintln!("{info}");
        }
    }));
    crate::alone()
}

fn config(task_workers: usize, queue_depth: usize) -> PoolConfig {
    let seats = (0..task_workers).map(|at| Seat { cpu: at % 2, shared: true, domain: 0 }).collect();
    PoolConfig::new(seats, queue_depth)
}

/// A pool, and this thread as its one executor.
struct Rig<J: Send + 'static, O: Send + 'static> {
    pool: Pool<J, O>,
    tasks: Tasks<J, O>,
    source: Rc<dyn Inbox>,
    finishes: Rc<RefCell<Vec<Finish<O>>>>,
}

impl<J: Send + 'static, O: Send + 'static> Rig<J, O> {
    fn start<R, F>(
        config: &PoolConfig,
        concurrency: usize,
        make_worker: impl Fn(usize) -> R + Send + Sync + 'static,
    ) -> Self
    where
        R: Fn(TaskContext, J) -> F + 'static,
        F: Future<Output = Result<O, Failure>> + 'static,
    {
        let doorbell = Arc::new(Doorbell::new().unwrap());
        let (pool, mut lanes) =
            Pool::start_async(config, concurrency, &[doorbell], make_worker).unwrap();
        let tasks = pool.tasks();
        let finishes = Rc::new(RefCell::new(Vec::new()));
        let kept = finishes.clone();
        let source = lanes.remove(0).install(move |finish| kept.borrow_mut().push(finish));
        Rig { pool, tasks, source, finishes }
    }

    /// Until `count` finishes have come home.
    fn wait_for(&self, count: usize) {
        self.wait_until(|| self.finishes.borrow().len() >= count);
    }

    fn wait_until(&self, is_so: impl Fn() -> bool) {
        let end = Instant::now() + SOON;
        while !is_so() {
            assert!(Instant::now() < end, "{:?}", self.pool.snapshot());
            self.source.drain();
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    fn outcomes(&self) -> HashMap<u64, Result<O, TaskError>> {
        self.finishes.borrow_mut().drain(..).map(|finish| (finish.id, finish.outcome)).collect()
    }

    fn end(self) -> sidecore_runtime::pool::PoolSnapshot {
        self.tasks.uninstall();
        self.pool.close(Instant::now() + SOON)
    }
}

/// Raised when it is dropped.
struct Guard(Arc<AtomicBool>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn sleeps_run_side_by_side_on_one_worker() {
    let _alone = alone();
    let rig = Rig::start(&config(1, 128), 64, |_| {
        |_, ms: u64| async move {
            timer::sleep(Duration::from_millis(ms)).await;
            Ok(ms)
        }
    });
    let start = Instant::now();
    for _ in 0..64 {
        rig.tasks.dispatch(50).unwrap();
    }
    rig.wait_for(64);
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(50) && took < Duration::from_millis(800), "{took:?}");
    assert!(rig.outcomes().values().all(|outcome| outcome == &Ok(50)));
    let end = rig.end();
    assert_eq!((end.outcomes.finished, end.outstanding()), (64, 0));
    assert_eq!((end.workers[0].ran, end.workers[0].running_jobs), (64, 0));
}

#[test]
fn a_worker_takes_as_many_as_it_may_and_leaves_the_rest_to_others() {
    let _alone = alone();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let open = Arc::new(AtomicBool::new(false));
    let rig = {
        let (now, most, open) = (now.clone(), most.clone(), open.clone());
        Rig::start(&config(2, 64), 3, move |_| {
            let (now, most, open) = (now.clone(), most.clone(), open.clone());
            move |task: TaskContext, ()| {
                let (now, most, open) = (now.clone(), most.clone(), open.clone());
                async move {
                    most.fetch_max(now.fetch_add(1, Ordering::AcqRel) + 1, Ordering::AcqRel);
                    while !open.load(Ordering::Acquire) {
                        timer::sleep(Duration::from_millis(2)).await;
                    }
                    now.fetch_sub(1, Ordering::AcqRel);
                    Ok(task.task_worker)
                }
            }
        })
    };
    for _ in 0..20 {
        rig.tasks.dispatch(()).unwrap();
    }
    rig.wait_until(|| now.load(Ordering::Acquire) == 6);
    std::thread::sleep(Duration::from_millis(30));
    let full = rig.pool.snapshot();
    assert_eq!((now.load(Ordering::Acquire), full.queued), (6, 14));
    assert!(full.workers.iter().all(|worker| worker.running_jobs == 3), "{full:?}");
    open.store(true, Ordering::Release);
    rig.wait_for(20);
    assert_eq!(most.load(Ordering::Acquire), 6);
    assert_eq!(rig.end().outcomes.finished, 20);
}

#[test]
fn jobs_read_files_by_the_reactor() {
    let _alone = alone();
    let scratch = Scratch::new("async-pool");
    let path = scratch.path().join("numbers");
    let bytes: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(&path, &bytes).unwrap();
    let rig = Rig::start(&config(1, 64), 16, move |_| {
        let path = path.clone();
        move |_, at: u64| {
            let path = path.clone();
            async move {
                let file = BufferedFile::open(&path).await.map_err(Failure::new)?;
                let read = file.read_at(at * 4, 4).await.map_err(Failure::new)?;
                let number = u32::from_le_bytes(read[..].try_into().map_err(Failure::new)?);
                file.close().await.map_err(Failure::new)?;
                Ok(u64::from(number))
            }
        }
    });
    let at: Vec<u64> = (0..40).map(|job| job * 2_499).collect();
    let ids: Vec<u64> = at.iter().map(|at| rig.tasks.dispatch(*at).unwrap()).collect();
    rig.wait_for(40);
    let outcomes = rig.outcomes();
    for (id, at) in ids.iter().zip(&at) {
        assert_eq!(outcomes[id], Ok(*at));
    }
    assert_eq!(rig.end().outcomes.finished, 40);
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("asked to");
    }
}

#[test]
fn a_panic_ends_its_job_alone_wherever_it_comes() {
    let _alone = alone();
    let rig = Rig::start(&config(1, 64), 8, |_| {
        |_, how: u8| {
            assert!(how != 0, "asked to");
            async move {
                if how == 1 {
                    panic!("asked to");
                }
                timer::sleep(Duration::from_millis(1)).await;
                if how == 2 {
                    panic!("asked to");
                }
                let _bomb = (how == 3).then(|| Bomb);
                std::future::ready(()).await;
                Ok(how)
            }
        }
    });
    let ids: Vec<u64> = (0..5).map(|how| rig.tasks.dispatch(how).unwrap()).collect();
    rig.wait_for(5);
    let outcomes = rig.outcomes();
    for id in &ids[..4] {
        assert_eq!(outcomes[id], Err(TaskError::Panicked("asked to".to_owned())), "{id}");
    }
    assert_eq!(outcomes[&ids[4]], Ok(4));
    let end = rig.end();
    assert_eq!((end.workers[0].ran, end.workers[0].panicked), (5, 4));
}

/// Jobs that wait for an hour, with a guard that says when their future is gone.
fn waiting_pool(concurrency: usize) -> Rig<Arc<AtomicBool>, ()> {
    Rig::start(&config(1, 64), concurrency, |_| {
        |_, dropped: Arc<AtomicBool>| async move {
            let _guard = Guard(dropped);
            timer::sleep(Duration::from_secs(3600)).await;
            Ok(())
        }
    })
}

#[test]
fn a_cancelled_job_is_dropped_where_it_waits() {
    let _alone = alone();
    let rig = waiting_pool(1);
    let dropped: [_; 2] = std::array::from_fn(|_| Arc::new(AtomicBool::new(false)));
    let running = rig.tasks.job(dropped[0].clone()).spawn().unwrap();
    let queued = rig.tasks.job(dropped[1].clone()).spawn().unwrap();
    rig.wait_until(|| rig.pool.snapshot().workers[0].running_jobs == 1);
    assert_eq!(queued.cancel(), Cancelled::Withdrawn);
    assert_eq!(running.cancel(), Cancelled::Asked);
    rig.wait_for(2);
    assert!(dropped[0].load(Ordering::Acquire));
    let outcomes = rig.outcomes();
    assert_eq!(outcomes[&running.id()], Err(TaskError::Cancelled));
    assert_eq!(outcomes[&queued.id()], Err(TaskError::Cancelled));
    assert!(running.is_over());
    assert_eq!(rig.end().outcomes.cancelled, 2);
}

#[test]
fn a_job_past_its_deadline_frees_its_waiter_and_then_its_place() {
    let _alone = alone();
    let rig = waiting_pool(1);
    let dropped = Arc::new(AtomicBool::new(false));
    let start = Instant::now();
    let late = rig.tasks.job(dropped.clone()).deadline(Duration::from_millis(30));
    let late = late.spawn().unwrap();
    rig.wait_for(1);
    assert!(start.elapsed() >= Duration::from_millis(30));
    assert_eq!(rig.outcomes()[&late.id()], Err(TaskError::TimedOut));
    rig.wait_until(|| dropped.load(Ordering::Acquire));
    // Its place is free: another one runs there, and is dispatched by a thread of no executor.
    let (tasks, second) = (rig.tasks.clone(), Arc::new(AtomicBool::new(false)));
    let (tell, told) = mpsc::channel();
    let job = second.clone();
    std::thread::spawn(move || {
        let job = tasks.job(job).deadline(Duration::from_millis(30));
        job.spawn_then(move |finish| tell.send(finish.outcome).unwrap()).map(|_| ()).unwrap();
    });
    assert_eq!(told.recv_timeout(SOON).unwrap(), Err(TaskError::TimedOut));
    assert!(second.load(Ordering::Acquire));
    assert_eq!(rig.end().outcomes.timed_out, 2);
}

#[test]
fn a_job_that_was_withdrawn_in_time_is_cancelled_whenever_a_worker_comes_to_it() {
    let _alone = alone();
    let rig = waiting_pool(1);
    let never_runs = Arc::new(AtomicBool::new(false));
    let running = rig.tasks.job(Arc::default()).spawn().unwrap();
    rig.wait_until(|| rig.pool.snapshot().workers[0].running_jobs == 1);
    let (tasks, job) = (rig.tasks.clone(), never_runs.clone());
    let (tell, told) = mpsc::channel();
    let elsewhere = std::thread::spawn(move || {
        let job = tasks.job(job).deadline(Duration::from_millis(30));
        let dispatched = job.spawn_then(move |finish| tell.send(finish.outcome).unwrap());
        assert_eq!(dispatched.unwrap().cancel(), Cancelled::Withdrawn);
    });
    elsewhere.join().unwrap();
    std::thread::sleep(Duration::from_millis(60));
    running.cancel();
    rig.wait_for(1);
    assert_eq!(told.recv_timeout(SOON).unwrap(), Err(TaskError::Cancelled));
    assert!(!never_runs.load(Ordering::Acquire));
    assert_eq!(rig.end().outcomes.cancelled, 2);
}

#[test]
fn a_failed_job_is_tried_again_on_the_worker_that_was_named() {
    let _alone = alone();
    let rig = Rig::start(&config(2, 64), 4, |_| {
        |task: TaskContext, fails: u32| async move {
            timer::sleep(Duration::from_millis(1)).await;
            match task.attempt {
                attempt if attempt > fails => Ok((task.task_worker, attempt)),
                _ => Err(Failure::new("not yet")),
            }
        }
    });
    let retry = |retries| Retry {
        retries,
        backoff: Duration::from_millis(1),
        backoff_max: Duration::from_millis(2),
    };
    let ids: Vec<u64> = (0..2)
        .map(|worker| {
            let job = rig.tasks.job(2).retry(retry(3)).task_worker(worker);
            job.spawn().unwrap().id()
        })
        .collect();
    let hopeless = rig.tasks.job(9).retry(retry(1)).spawn().unwrap().id();
    rig.wait_for(3);
    let outcomes = rig.outcomes();
    assert_eq!((&outcomes[&ids[0]], &outcomes[&ids[1]]), (&Ok((0, 3)), &Ok((1, 3))));
    assert_eq!(outcomes[&hopeless], Err(TaskError::Failed(Failure::new("not yet"))));
    assert_eq!(rig.end().retried, 5);
}

#[test]
fn closing_runs_what_is_queued_and_finishes_what_runs() {
    let _alone = alone();
    let rig = Rig::start(&config(2, 64), 2, |_| {
        |_, ms: u64| async move {
            timer::sleep(Duration::from_millis(ms)).await;
            Ok(ms)
        }
    });
    let (tell, told) = mpsc::channel();
    rig.pool.on_external_finish(move |finish| tell.send(finish.outcome).unwrap());
    let tasks = rig.tasks.clone();
    std::thread::spawn(move || {
        for _ in 0..20 {
            tasks.dispatch(10).unwrap();
        }
    })
    .join()
    .unwrap();
    let end = rig.end();
    assert_eq!(told.try_iter().filter(|outcome| *outcome == Ok(10)).count(), 20);
    assert_eq!((end.outcomes.finished, end.outstanding(), end.queued), (20, 0, 0));
}

#[test]
fn what_is_left_at_the_end_of_a_close_is_dropped_and_reported_lost() {
    let _alone = alone();
    let rig = waiting_pool(2);
    let (tell, told) = mpsc::channel();
    rig.pool.on_external_finish(move |finish| tell.send(finish.outcome).unwrap());
    let dropped: Vec<_> = (0..3).map(|_| Arc::new(AtomicBool::new(false))).collect();
    let (tasks, jobs) = (rig.tasks.clone(), dropped.clone());
    std::thread::spawn(move || {
        for job in jobs {
            tasks.dispatch(job).unwrap();
        }
    })
    .join()
    .unwrap();
    rig.wait_until(|| rig.pool.snapshot().workers[0].running_jobs == 2);
    rig.tasks.uninstall();
    let start = Instant::now();
    let end = rig.pool.close(Instant::now() + Duration::from_millis(50));
    assert!(start.elapsed() < Duration::from_secs(2));
    assert_eq!((end.accepted, end.outcomes.lost, end.outstanding()), (3, 3, 0));
    assert_eq!(told.try_iter().filter(|outcome| *outcome == Err(TaskError::Lost)).count(), 3);
    let gone = dropped.iter().filter(|dropped| dropped.load(Ordering::Acquire)).count();
    assert_eq!(gone, 2, "those that ran were dropped; the third never began");
}

#[test]
fn nonsense_and_a_worker_that_cannot_be_made_are_errors() {
    let _alone = alone();
    let doorbells = [Arc::new(Doorbell::new().unwrap())];
    let start = |concurrency, fail: usize| {
        let make_worker = move |worker| {
            assert!(worker != fail, "asked to");
            |_, ()| async { Ok(()) }
        };
        Pool::<(), ()>::start_async(&config(2, 8), concurrency, &doorbells, make_worker).err()
    };
    assert!(matches!(start(0, 9), Some(PoolError::NoConcurrency)));
    assert!(matches!(start(1, 0), Some(PoolError::Make { task_worker: 0, .. })));
    assert!(matches!(start(1, 1), Some(PoolError::Make { task_worker: 1, .. })));
}

/// CPU time of this process.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn an_idle_pool_takes_no_cpu_before_or_after_its_jobs() {
    let _alone = alone();
    let rig = Rig::start(&config(2, 64), 8, |_| {
        |_, ms: u64| async move {
            timer::sleep(Duration::from_millis(ms)).await;
            Ok(())
        }
    });
    for round in 0..2 {
        std::thread::sleep(Duration::from_millis(200));
        let before = cpu_time();
        std::thread::sleep(Duration::from_millis(1_000));
        let used = cpu_time() - before;
        assert!(used < Duration::from_millis(3), "round {round}: {used:?} of a second");
        assert_eq!(rig.pool.snapshot().sleeping, 2);
        for job in 0..32 {
            rig.tasks.dispatch(job % 4).unwrap();
        }
        rig.wait_for(32);
        rig.finishes.borrow_mut().clear();
    }
    assert_eq!(rig.end().outcomes.finished, 64);
}
