//! Dispatchers, task workers, cancellations, deadlines, retries, panics and shutdown through random
//! schedules, each from a seed that is printed when it fails. What must hold whatever happens: each
//! accepted job has exactly one outcome, ids increase, credits are conserved, nothing is lost.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use sidecore_runtime::executor::Inbox;
use sidecore_runtime::pool::{
    Cancelled, DispatchError, Failure, Finish, Lane, Pool, PoolConfig, Priority, Retry, Run, Seat,
    SpawnWhenRoom, TaskContext, TaskError, TaskHandle, Tasks,
};
use sidecore_runtime::sys::doorbell::Doorbell;

const SEEDS: u64 = 40;
const STEPS: usize = 4_000;
/// Few, so that some find no place.
const DELAYED_MAX: usize = 5;
const CREDITS: usize = 64;

/// What a job does, and whose it is.
#[derive(Clone, Debug)]
struct Job {
    act: Act,
    /// Counts this job's runs.
    runs: Arc<AtomicU64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    Return,
    Spin(u32),
    Fail,
    FailOnce,
    FailForGood,
    Panic,
    UntilCancelled,
}

fn run(task: &TaskContext, job: Job) -> Result<u64, Failure> {
    job.runs.fetch_add(1, Ordering::Relaxed);
    match job.act {
        Act::Return => Ok(task.id),
        Act::Spin(turns) => {
            (0..turns).for_each(|_| std::hint::spin_loop());
            Ok(task.id)
        }
        Act::Fail => Err(Failure::new("asked to")),
        Act::FailOnce if task.attempt == 1 => Err(Failure::new("the first time")),
        Act::FailOnce => Ok(task.id),
        Act::FailForGood => Err(Failure::permanent("for good")),
        Act::Panic => panic!("asked to"),
        Act::UntilCancelled => {
            let end = Instant::now() + Duration::from_millis(20);
            while !task.is_cancelled() && Instant::now() < end {
                std::thread::yield_now();
            }
            Err(Failure::cancelled())
        }
    }
}

/// xorshift: the same schedule for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

/// What is known of the accepted jobs.
#[derive(Default)]
struct Books {
    outcomes: HashMap<u64, Result<u64, TaskError>>,
    accepted: HashMap<u64, (Act, Arc<AtomicU64>)>,
    cancelled: Vec<u64>,
    last_id: u64,
}

impl Books {
    fn accept(&mut self, id: u64, act: Act, runs: Arc<AtomicU64>) {
        assert!(id > self.last_id, "id {id} after {}", self.last_id);
        self.last_id = id;
        self.accepted.insert(id, (act, runs));
    }

    fn end(&mut self, id: u64, outcome: Result<u64, TaskError>) {
        let before = self.outcomes.insert(id, outcome);
        assert!(before.is_none(), "task {id} ended twice: {before:?}");
    }

    /// Outcomes are those that the acts allow, and withdrawn jobs never ran.
    fn check(&self) {
        assert_eq!(self.outcomes.len(), self.accepted.len(), "each accepted job has an outcome");
        for (id, outcome) in &self.outcomes {
            let (act, runs) = &self.accepted[id];
            let runs = runs.load(Ordering::Relaxed);
            match outcome {
                Ok(output) => {
                    assert_eq!(output, id);
                    assert!(matches!(act, Act::Return | Act::Spin(_) | Act::FailOnce), "{act:?}");
                }
                Err(TaskError::Failed(_)) => {
                    assert!(matches!(act, Act::Fail | Act::FailOnce | Act::FailForGood), "{act:?}");
                    assert!(runs >= 1 && (*act != Act::FailForGood || runs == 1));
                }
                Err(TaskError::Panicked(_)) => assert_eq!(*act, Act::Panic),
                Err(TaskError::Cancelled) if *act != Act::UntilCancelled => {
                    assert!(self.cancelled.contains(id), "nobody cancelled {id}");
                }
                Err(TaskError::Cancelled | TaskError::TimedOut) => {}
                Err(TaskError::Lost) => panic!("task {id} was lost"),
            }
        }
    }
}

type Awaited = Pin<Box<Run<Job, u64>>>;
type Sending = Pin<Box<SpawnWhenRoom<Job, u64>>>;

/// One executor's thread.
struct Driver {
    tasks: Tasks<Job, u64>,
    source: Rc<dyn Inbox>,
    books: Rc<RefCell<Books>>,
    handles: Vec<TaskHandle>,
    runs: Vec<(u64, Awaited)>,
    /// Dispatches that wait for room.
    sends: Vec<(Sending, Act, Arc<AtomicU64>)>,
    random: Random,
}

impl Driver {
    fn new(tasks: Tasks<Job, u64>, lane: Lane<Job, u64>, seed: u64) -> Self {
        let books = Rc::new(RefCell::new(Books::default()));
        let noted = books.clone();
        let source = lane.install(move |finish: Finish<u64>| {
            noted.borrow_mut().end(finish.id, finish.outcome);
        });
        let random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        Driver {
            tasks,
            source,
            books,
            handles: Vec::new(),
            runs: Vec::new(),
            sends: Vec::new(),
            random,
        }
    }

    fn job(&mut self) -> (Job, Act, Arc<AtomicU64>) {
        let act = match self.random.next(16) {
            0..=7 => Act::Return,
            8 | 9 => Act::Spin(self.random.next(5_000) as u32),
            10 => Act::Fail,
            11 => Act::FailOnce,
            12 => Act::FailForGood,
            13 | 14 => Act::Panic,
            _ => Act::UntilCancelled,
        };
        let runs = Arc::new(AtomicU64::new(0));
        (Job { act, runs: runs.clone() }, act, runs)
    }

    fn step(&mut self) {
        match self.random.next(10) {
            0..=2 => {
                let (job, act, runs) = self.job();
                if let Ok(id) = self.tasks.dispatch(job) {
                    self.books.borrow_mut().accept(id, act, runs);
                }
            }
            3..=5 => self.dispatch_with_options(),
            6 => self.cancel_one(),
            7 => {
                self.poll_runs();
                self.poll_sends(16);
            }
            _ => {
                self.source.drain();
                self.source.flush_wakes(self.random.next(4) == 0);
            }
        }
    }

    fn dispatch_with_options(&mut self) {
        let (job, act, runs) = self.job();
        let mut dispatch = self.tasks.job(job);
        let random = &mut self.random;
        dispatch = dispatch.priority(match random.next(3) {
            0 => Priority::High,
            1 => Priority::Normal,
            _ => Priority::Low,
        });
        if random.next(3) == 0 {
            dispatch = dispatch.deadline(Duration::from_micros(random.next(3_000)));
        }
        if random.next(4) == 0 {
            dispatch = dispatch.delay(Duration::from_micros(random.next(2_000)));
        }
        if random.next(4) == 0 {
            dispatch = dispatch.task_worker(random.next(2) as usize);
        }
        if random.next(3) == 0 {
            let (backoff, backoff_max) = (Duration::from_micros(300), Duration::from_millis(1));
            let retries = random.next(4) as u32;
            dispatch = dispatch.retry(Retry { retries, backoff, backoff_max });
        }
        match random.next(3) {
            0 => {
                let run = dispatch.run();
                let Some(id) = run.handle().map(TaskHandle::id) else { return };
                self.handles.extend(run.handle().cloned());
                self.books.borrow_mut().accept(id, act, runs);
                self.runs.push((id, Box::pin(run)));
            }
            1 => self.sends.push((Box::pin(dispatch.spawn_when_room()), act, runs)),
            _ => {
                let Ok(handle) = dispatch.spawn() else { return };
                self.books.borrow_mut().accept(handle.id(), act, runs);
                self.handles.push(handle);
            }
        }
    }

    fn cancel_one(&mut self) {
        if self.handles.is_empty() {
            return;
        }
        let at = self.random.next(self.handles.len() as u64) as usize;
        let handle = self.handles.swap_remove(at);
        let id = handle.id();
        // From a foreign thread now and then: the command comes through the lane's inbox.
        let cancelled = match self.random.next(4) {
            0 => std::thread::spawn(move || handle.cancel()).join().unwrap(),
            _ => handle.cancel(),
        };
        if cancelled != Cancelled::TooLate {
            self.books.borrow_mut().cancelled.push(id);
        }
    }

    /// Polls the futures, and drops some: then the outcome goes to `on_finish`.
    fn poll_runs(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        let mut kept = Vec::new();
        for (id, mut run) in self.runs.drain(..) {
            if self.random.next(16) == 0 {
                continue;
            }
            match run.as_mut().poll(&mut context) {
                Poll::Pending => kept.push((id, run)),
                Poll::Ready(Ok(output)) => self.books.borrow_mut().end(id, Ok(output)),
                Poll::Ready(Err(sidecore_runtime::pool::RunError::Failed(error))) => {
                    self.books.borrow_mut().end(id, Err(error));
                }
                Poll::Ready(Err(other)) => panic!("{other}"),
            }
        }
        self.runs = kept;
    }

    /// Polls the dispatches that wait, and drops one of so many.
    fn poll_sends(&mut self, dropped: u64) {
        let mut context = Context::from_waker(Waker::noop());
        let mut kept = Vec::new();
        for (mut send, act, runs) in self.sends.drain(..) {
            if dropped > 0 && self.random.next(dropped) == 0 {
                continue;
            }
            match send.as_mut().poll(&mut context) {
                Poll::Pending => kept.push((send, act, runs)),
                Poll::Ready(Ok(handle)) => {
                    self.books.borrow_mut().accept(handle.id(), act, runs);
                    self.handles.push(handle);
                }
                Poll::Ready(Err(DispatchError::TimedOut(_))) => {}
                Poll::Ready(Err(other)) => panic!("{other}"),
            }
        }
        self.sends = kept;
    }

    /// Until everything has come home.
    fn settle(&mut self) {
        let end = Instant::now() + Duration::from_secs(20);
        while self.source.in_flight() > 0 || !self.runs.is_empty() || !self.sends.is_empty() {
            assert!(Instant::now() < end, "{} tasks do not end", self.source.in_flight());
            self.source.drain();
            self.source.flush_wakes(false);
            self.poll_runs();
            self.poll_sends(0);
        }
    }

    /// All credits are there again, once the last late finish is in: so many jobs are accepted while
    /// none comes home, and not one more.
    fn count_credits(&mut self) {
        let end = Instant::now() + Duration::from_secs(20);
        let mut held = 0;
        while held < CREDITS {
            assert!(Instant::now() < end, "only {held} credits are left");
            self.settle();
            held = 0;
            let mut last = Instant::now();
            // Where the queue is full the workers make room.
            while held < CREDITS && last.elapsed() < Duration::from_millis(500) {
                if self.accept_one() {
                    (held, last) = (held + 1, Instant::now());
                }
            }
        }
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(5) {
            assert!(!self.accept_one(), "more than {CREDITS} credits");
        }
        self.settle();
    }

    fn accept_one(&mut self) -> bool {
        let (mut job, _, runs) = self.job();
        job.act = Act::Return;
        match self.tasks.dispatch(job) {
            Ok(id) => {
                self.books.borrow_mut().accept(id, Act::Return, runs);
                true
            }
            Err(refused) => {
                assert!(refused.is_full());
                false
            }
        }
    }

    /// All places for what sleeps are there again.
    fn count_sleepers(&mut self) {
        let mut asleep = Vec::new();
        loop {
            let (mut job, _, runs) = self.job();
            job.act = Act::Return;
            match self.tasks.job(job).delay(Duration::from_secs(3600)).spawn() {
                Ok(handle) => {
                    self.books.borrow_mut().accept(handle.id(), Act::Return, runs);
                    asleep.push(handle);
                }
                Err(refused) => break assert!(refused.is_full()),
            }
        }
        assert_eq!(asleep.len(), DELAYED_MAX);
        for handle in asleep {
            assert_eq!(handle.cancel(), Cancelled::Withdrawn);
            self.books.borrow_mut().cancelled.push(handle.id());
        }
        self.settle();
    }
}

fn simulate(seed: u64) {
    let doorbells: Vec<_> = (0..2).map(|_| Arc::new(Doorbell::new().unwrap())).collect();
    let config = PoolConfig {
        credits: Some(CREDITS),
        delayed_max: DELAYED_MAX,
        executor_domains: vec![0, 1],
        // Workers change their threads all the while.
        recycle_after: Some(7),
        ..PoolConfig::new(
            vec![
                Seat { cpu: 0, shared: true, domain: 0 },
                Seat { cpu: 1, shared: true, domain: 1 },
            ],
            48,
        )
    };
    let (pool, lanes) = Pool::start(&config, &doorbells, run).unwrap();
    let threads: Vec<_> = lanes
        .into_iter()
        .enumerate()
        .map(|(index, lane)| {
            let tasks = pool.tasks();
            std::thread::spawn(move || {
                let mut driver = Driver::new(tasks, lane, seed * 2 + index as u64);
                (0..STEPS).for_each(|_| driver.step());
                driver.settle();
                driver.count_credits();
                driver.count_sleepers();
                driver.books.borrow().check();
                driver.tasks.uninstall();
                driver.books.borrow().accepted.len() as u64
            })
        })
        .collect();
    let accepted: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    let end = pool.close(Instant::now() + Duration::from_secs(10));
    assert_eq!((end.accepted, end.outcomes.total()), (accepted, accepted));
    assert_eq!((end.outcomes.lost, end.callback_panics, end.queued), (0, 0, 0));
}

#[test]
fn whatever_happens_each_accepted_job_has_one_outcome() {
    crate::silence_asked_panics();
    for seed in 0..SEEDS {
        let simulated = std::thread::spawn(move || simulate(seed)).join();
        assert!(simulated.is_ok(), "seed {seed}");
    }
}
