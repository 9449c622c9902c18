//! The pool under stress: each accepted job has exactly one finish, wherever it goes.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sidecore_runtime::executor::Inbox;
use sidecore_runtime::pool::{
    DispatchError, DispatchWhenRoom, Finish, Pool, PoolConfig, Seat, TaskError,
};
use sidecore_runtime::sys::doorbell::Doorbell;

fn config(task_workers: usize, queue_depth: usize, credits: Option<usize>) -> PoolConfig {
    let seats =
        (0..task_workers).map(|at| Seat { cpu: at % 2, shared: true, domain: at % 2 }).collect();
    PoolConfig { credits, ..PoolConfig::new(seats, queue_depth) }
}

/// Every hundredth job panics.
fn square(job: u64) -> u64 {
    assert!(job % 100 != 99, "asked to panic");
    job * job
}

fn stress(executors: usize, task_workers: usize, jobs_each: u64, config: &PoolConfig) {
    crate::silence_asked_panics();
    let doorbells: Vec<_> = (0..executors).map(|_| Arc::new(Doorbell::new().unwrap())).collect();
    let (pool, lanes) = Pool::start(config, &doorbells, |_, job: u64| Ok(square(job))).unwrap();
    let tasks = pool.tasks();
    let threads: Vec<_> = lanes
        .into_iter()
        .map(|lane| {
            let tasks = tasks.clone();
            std::thread::spawn(move || drive(lane, &tasks, jobs_each))
        })
        .collect();
    let ids: Vec<Vec<u64>> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let end = pool.close(Instant::now() + Duration::from_secs(10));
    let all = jobs_each * executors as u64;
    assert_eq!((end.accepted, end.outcomes.total(), end.outstanding()), (all, all, 0));
    assert_eq!(end.workers.iter().map(|worker| worker.ran).sum::<u64>(), all);
    assert_eq!(end.workers.len(), task_workers);
    let mut ids: Vec<u64> = ids.into_iter().flatten().collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len() as u64, all, "an id was given twice");
}

/// Dispatches as the queue and the credits allow, and checks each finish against its job.
fn drive(
    lane: sidecore_runtime::pool::Lane<u64, u64>,
    tasks: &sidecore_runtime::pool::Tasks<u64, u64>,
    jobs: u64,
) -> Vec<u64> {
    let job_of = Rc::new(RefCell::new(std::collections::HashMap::new()));
    let finished = Rc::new(Cell::new(0));
    let source = {
        let (job_of, finished) = (job_of.clone(), finished.clone());
        lane.install(move |finish: Finish<u64>| {
            let job: u64 = job_of.borrow_mut().remove(&finish.id).expect("one finish a task");
            match finish.outcome {
                Ok(output) => assert_eq!(output, job * job),
                Err(TaskError::Panicked(message)) => assert_eq!(message, "asked to panic"),
                Err(other) => panic!("task {}: {other}", finish.id),
            }
            finished.set(finished.get() + 1);
        })
    };
    let mut ids = Vec::with_capacity(jobs as usize);
    let mut job = 0;
    while finished.get() < jobs {
        while job < jobs {
            match tasks.dispatch(job) {
                Ok(id) => {
                    assert!(ids.last().is_none_or(|last| *last < id), "ids increase");
                    ids.push(id);
                    job_of.borrow_mut().insert(id, job);
                    job += 1;
                }
                Err(DispatchError::Full(refused)) => {
                    assert_eq!(refused, job, "the job is given back");
                    break;
                }
                Err(other) => panic!("{other}"),
            }
        }
        if source.drain() == 0 {
            std::thread::yield_now();
        }
    }
    assert_eq!(source.in_flight(), 0);
    assert!(job_of.borrow().is_empty());
    tasks.uninstall();
    ids
}

#[test]
fn two_million_jobs_have_one_finish_each() {
    stress(1, 1, 1_000_000, &config(1, 1024, None));
    stress(2, 3, 500_000, &config(3, 256, None));
}

/// Cache domains as a larger machine has them; the workers change their threads meanwhile. Depths
/// of 1 and 2 leave no room for batches from afar.
#[test]
fn with_several_cache_domains_each_job_has_one_finish_wherever_it_was_run() {
    for depth in [1, 2, 256] {
        let config = PoolConfig {
            executor_domains: vec![0, 1, 2],
            recycle_after: Some(5_000),
            ..config(4, depth, Some(64))
        };
        stress(3, 4, 50_000, &config);
    }
}

#[test]
fn with_more_credits_than_room_the_queue_refuses_and_nothing_is_lost() {
    stress(2, 2, 100_000, &config(2, 8, Some(64)));
    stress(1, 1, 100_000, &config(1, 1, Some(1)));
}

/// One executor floods the pool, the other dispatches now and then: the flood is stopped by its own
/// credits, and the other is neither refused nor left waiting behind more than those.
#[test]
fn an_executor_that_floods_leaves_the_others_their_share() {
    const CREDITS: usize = 64;
    const JOB: Duration = Duration::from_micros(50);
    let doorbells: Vec<_> = (0..2).map(|_| Arc::new(Doorbell::new().unwrap())).collect();
    let run = |_: &_, ()| {
        let start = Instant::now();
        while start.elapsed() < JOB {
            std::hint::spin_loop();
        }
        Ok(())
    };
    let (pool, mut lanes) = Pool::start(&config(1, 256, Some(CREDITS)), &doorbells, run).unwrap();
    let (calm, flooding) = (lanes.pop().unwrap(), lanes.pop().unwrap());
    let (tasks, done) = (pool.tasks(), Arc::new(std::sync::atomic::AtomicBool::new(false)));
    let stop = done.clone();
    let flood = std::thread::spawn({
        let tasks = tasks.clone();
        move || {
            let source = flooding.install(|_: Finish<()>| {});
            let mut refused = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) || source.in_flight() > 0 {
                let stopped = stop.load(std::sync::atomic::Ordering::Relaxed);
                refused += u64::from(!stopped && tasks.dispatch(()).is_err());
                source.drain();
            }
            tasks.uninstall();
            refused
        }
    });
    let waited = Rc::new(RefCell::new(Vec::new()));
    let waits = waited.clone();
    let source = calm.install(move |finish: Finish<()>| waits.borrow_mut().push(finish.waited));
    for _ in 0..200 {
        tasks.dispatch(()).expect("it has credits of its own, and there is room");
        while source.in_flight() > 0 {
            source.drain();
            std::thread::yield_now();
        }
    }
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    let refused = flood.join().unwrap();
    tasks.uninstall();
    let mut waited = waited.borrow().clone();
    waited.sort_unstable();
    assert!(refused > 0, "the flood was stopped");
    // A job waits behind the flood's credits and no more; the machine may take the thread away.
    let fair = JOB * CREDITS as u32;
    assert!(waited[100] <= fair * 4, "{:?} against {fair:?}", waited[100]);
    pool.close(Instant::now() + Duration::from_secs(10));
}

/// Takes the finishes that are out.
fn settle(source: &dyn Inbox) {
    while source.in_flight() > 0 {
        source.drain();
        std::thread::yield_now();
    }
}

/// A pool with a full queue, an executor that tries to dispatch when it is told to, and this thread,
/// which is the other. Each job of its one worker lasts until it is told.
struct Contest {
    pool: Pool<u64, ()>,
    source: Rc<dyn Inbox>,
    begun: Receiver<u64>,
    release: Sender<()>,
    ask: Sender<()>,
    told: Receiver<bool>,
    flood: JoinHandle<()>,
    accepted: Cell<u64>,
}

impl Contest {
    const LIMIT: Duration = Duration::from_secs(5);
    const DEPTH: usize = 4;

    fn begin() -> Self {
        let doorbells: Vec<_> = (0..2).map(|_| Arc::new(Doorbell::new().unwrap())).collect();
        let (begin, begun) = channel();
        let (release, released) = channel();
        let released = Mutex::new(released);
        let run = move |_: &_, job: u64| {
            begin.send(job).unwrap();
            released.lock().unwrap().recv_timeout(Self::LIMIT).unwrap();
            Ok(())
        };
        let (pool, mut lanes) =
            Pool::start(&config(1, Self::DEPTH, None), &doorbells, run).unwrap();
        let (waiting, flooding) = (lanes.pop().unwrap(), lanes.pop().unwrap());
        let (ask, asked) = channel();
        let (tell, told) = channel();
        let tasks = pool.tasks();
        let flood = std::thread::spawn(move || {
            let source = flooding.install(|_: Finish<()>| {});
            for () in asked {
                source.drain();
                tell.send(tasks.dispatch(0).is_ok()).unwrap();
            }
            settle(&*source);
            tasks.uninstall();
        });
        let source = waiting.install(|_: Finish<()>| {});
        let accepted = Cell::new(0);
        let contest = Contest { pool, source, begun, release, ask, told, flood, accepted };
        // One runs, and as many as find room wait.
        assert!(contest.flood());
        assert_eq!(contest.begun.recv_timeout(Self::LIMIT), Ok(0));
        assert!((0..Self::DEPTH).all(|_| contest.flood()) && !contest.flood());
        contest
    }

    /// Whether the other executor finds a place now.
    fn flood(&self) -> bool {
        self.ask.send(()).unwrap();
        let found = self.told.recv_timeout(Self::LIMIT).unwrap();
        self.accepted.set(self.accepted.get() + u64::from(found));
        found
    }

    /// A place comes free.
    fn next(&self) {
        self.release.send(()).unwrap();
        self.begun.recv_timeout(Self::LIMIT).unwrap();
    }

    /// A dispatch that finds no place at first.
    fn wait(&self) -> Pin<Box<DispatchWhenRoom<u64, ()>>> {
        let mut waiting = Box::pin(self.pool.tasks().dispatch_when_room(1));
        let mut context = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        waiting
    }

    /// It finds one, by the looks of its executor.
    fn find(&self, mut waiting: Pin<Box<DispatchWhenRoom<u64, ()>>>) {
        let mut context = Context::from_waker(Waker::noop());
        let end = Instant::now() + Self::LIMIT;
        while waiting.as_mut().poll(&mut context).is_pending() {
            assert!(Instant::now() < end, "it never had a place");
            std::thread::sleep(Duration::from_millis(1));
            self.source.drain();
        }
        self.accepted.set(self.accepted.get() + 1);
    }

    /// All that was accepted is run.
    fn end(self) {
        (0..=Self::DEPTH).for_each(|_| self.release.send(()).unwrap());
        drop(self.ask);
        self.flood.join().unwrap();
        settle(&*self.source);
        self.pool.tasks().uninstall();
        let end = self.pool.close(Instant::now() + Self::LIMIT);
        assert_eq!((end.accepted, end.outcomes.total()), (self.accepted.get(), end.accepted));
    }
}

/// The other executor tries at every moment, and this one looks once in a while.
#[test]
fn a_place_that_comes_free_is_kept_for_the_executor_that_waits_for_one() {
    let contest = Contest::begin();
    let waiting = contest.wait();
    contest.next();
    assert!(!contest.flood());
    contest.find(waiting);
    contest.next();
    assert!(contest.flood(), "nobody waits any more");
    contest.end();
}

#[test]
fn an_executor_that_always_waits_has_every_second_place() {
    let contest = Contest::begin();
    for _ in 0..5 {
        let waiting = contest.wait();
        contest.next();
        assert!(!contest.flood());
        contest.find(waiting);
        let waiting = contest.wait();
        contest.next();
        assert!(contest.flood());
        contest.next();
        assert!(!contest.flood());
        contest.find(waiting);
        let waiting = contest.wait();
        contest.next();
        assert!(contest.flood());
        drop(waiting);
    }
    contest.end();
}

#[test]
fn nothing_is_kept_for_a_dispatch_that_goes_away() {
    let contest = Contest::begin();
    let waiting = contest.wait();
    contest.next();
    assert!(!contest.flood());
    drop(waiting);
    assert!(contest.flood());
    contest.end();
}

#[test]
fn a_worker_that_overruns_is_left_behind_and_counted() {
    let doorbell = Arc::new(Doorbell::new().unwrap());
    let run = |_: &_, ms: u64| {
        std::thread::sleep(Duration::from_millis(ms));
        Ok(())
    };
    let (pool, mut lanes) = Pool::start(&config(1, 8, None), &[doorbell], run).unwrap();
    let tasks = pool.tasks();
    let source = lanes.remove(0).install(|_| {});
    for ms in [1, 3_000, 1] {
        tasks.dispatch(ms).unwrap();
    }
    std::thread::sleep(Duration::from_millis(100));
    source.drain();
    let start = Instant::now();
    let end = pool.close(Instant::now() + Duration::from_millis(50));
    assert!(start.elapsed() < Duration::from_secs(1));
    assert_eq!((end.accepted, end.outcomes.total(), end.outstanding()), (3, 1, 2));
    tasks.uninstall();
}
