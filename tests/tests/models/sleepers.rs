//! The roster of async workers, with the bells that they sleep on: no job waits while a worker
//! with room sleeps, whether it is called or wakes by itself, and all leave when the pool closes.

use loom::cell::UnsafeCell;
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use crate::armed_protocol::Armed;
use crate::queue::Queue;
use crate::sites::{Protocol, each_is_needed};
use crate::sleepers_protocol::Sleepers;
use crate::sync::{Fault, commits};
use crate::{Model, finds, holds};

/// A worker's bell: its armed bit, and the eventfd that its reactor polls.
struct Doorbell {
    arms: bool,
    armed: Armed,
    eventfd: Mutex<u64>,
    readable: Condvar,
}

impl Doorbell {
    fn new(arms: bool) -> Self {
        Doorbell { arms, armed: Armed::new(), eventfd: Mutex::new(0), readable: Condvar::new() }
    }

    /// With several workers it is rung always, to keep the model small: `armed.rs` has its own.
    fn ring(&self) {
        if !self.arms || self.armed.must_ring() {
            self.toll();
        }
    }

    fn arm(&self) {
        if self.arms {
            self.armed.arm();
        }
    }

    /// What a worker's own jobs do to it too.
    fn toll(&self) {
        *self.eventfd.lock().unwrap() += 1;
        self.readable.notify_one();
    }

    fn wait(&self) {
        let mut count = self.eventfd.lock().unwrap();
        while *count == 0 {
            count = self.readable.wait(count).unwrap();
        }
        *count = 0;
    }
}

struct Pool {
    sleepers: Sleepers,
    doorbells: Vec<Doorbell>,
    queue: Queue,
    mail: Queue,
}

impl Pool {
    fn new(workers: usize) -> Arc<Self> {
        Arc::new(Pool {
            sleepers: Sleepers::new(workers),
            doorbells: (0..workers).map(|_| Doorbell::new(workers == 1)).collect(),
            queue: Queue::new(),
            mail: Queue::new(),
        })
    }

    fn notify(&self) {
        if let Some(worker) = self.sleepers.notify() {
            self.doorbells[worker].ring();
        }
    }

    fn push(&self, job: u8) {
        self.queue.push(job);
        self.notify();
    }

    fn close(&self) {
        self.sleepers.close(self.doorbells.len(), |worker| self.doorbells[worker].ring());
    }

    /// The second worker has a mailbox.
    fn take(&self, worker: usize) -> Option<u8> {
        let mail = (worker == 1).then(|| self.mail.take()).flatten();
        mail.or_else(|| self.queue.take())
    }

    fn is_empty(&self, worker: usize) -> bool {
        (worker != 1 || self.mail.is_empty()) && self.queue.is_empty()
    }

    /// A worker that has room for one job at a time.
    fn next(&self, worker: usize, called: &mut bool) -> Option<u8> {
        loop {
            let closing = self.sleepers.is_closing();
            if let Some(job) = self.take(worker) {
                let was_called = std::mem::take(called);
                if was_called && !self.is_empty(worker) && !commits(Fault::NoChain) {
                    self.notify();
                }
                return Some(job);
            }
            if closing {
                return None;
            }
            self.doorbells[worker].arm();
            if self.sleepers.sleep(worker, || self.is_empty(worker)) {
                self.doorbells[worker].wait();
            }
            self.doorbells[worker].armed.disarm();
            *called |= self.sleepers.wake_up(worker);
        }
    }
}

/// Jobs that have been begun, and how to wait for their number.
struct Begun(Mutex<u8>, Condvar);

impl Begun {
    fn new() -> Arc<Self> {
        Arc::new(Begun(Mutex::new(0), Condvar::new()))
    }

    fn add(&self) {
        *self.0.lock().unwrap() += 1;
        self.1.notify_all();
    }

    fn wait_for(&self, jobs: u8) {
        let mut count = self.0.lock().unwrap();
        while *count < jobs {
            count = self.1.wait(count).unwrap();
        }
    }
}

fn start(pool: &Arc<Pool>, worker: usize, begun: &Arc<Begun>) -> thread::JoinHandle<()> {
    let (pool, begun) = (pool.clone(), begun.clone());
    thread::spawn(move || {
        let mut called = false;
        while pool.next(worker, &mut called).is_some() {
            begun.add();
        }
    })
}

/// Workers that take jobs until the pool closes; a job must not wait for the close. A worker may
/// be woken by a job of its own at any time.
fn drained_by(workers: usize, jobs: u8, wakes_by_itself: bool) {
    let (pool, begun) = (Pool::new(workers), Begun::new());
    let threads: Vec<_> = (0..workers).map(|worker| start(&pool, worker, &begun)).collect();
    if wakes_by_itself {
        pool.doorbells[0].toll();
    }
    (0..jobs).for_each(|job| pool.push(job));
    begun.wait_for(jobs);
    pool.close();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(pool.queue.left() == 0);
}

/// Two jobs that need each other, for two workers with room for one: the call of the first must
/// lead to a call of the second.
fn chained() {
    let (pool, begun) = (Pool::new(2), Begun::new());
    let threads: Vec<_> = (0..2)
        .map(|worker| {
            let (pool, begun) = (pool.clone(), begun.clone());
            thread::spawn(move || {
                if pool.next(worker, &mut false).is_some() {
                    begun.add();
                    begun.wait_for(2);
                }
            })
        })
        .collect();
    (0..2).for_each(|job| pool.push(job));
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// A job for the second worker alone, of two.
fn posted() {
    let (pool, begun) = (Pool::new(2), Begun::new());
    let threads: Vec<_> = (0..2).map(|worker| start(&pool, worker, &begun)).collect();
    pool.mail.push(0);
    if commits(Fault::MailByToken) {
        pool.notify();
    } else if pool.sleepers.post(1) {
        pool.doorbells[1].ring();
    }
    begun.wait_for(1);
    pool.close();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// The close comes right behind a push that nobody was called for: whoever sees it sees that.
fn closed_at_once() {
    let pool = Pool::new(1);
    let thread = start(&pool, 0, &Begun::new());
    pool.queue.push(0);
    pool.close();
    thread.join().unwrap();
    assert!(pool.queue.left() == 0, "a worker left a job behind");
}

/// Who calls a worker sees what that did before it slept.
fn called() {
    let shared = Arc::new((Sleepers::new(1), UnsafeCell::new(0)));
    let worker = {
        let shared = shared.clone();
        thread::spawn(move || {
            // SAFETY: loom reports a read that is not ordered after it.
            shared.1.with_mut(|value| unsafe { *value = 7 });
            let _ = shared.0.sleep(0, || true);
        })
    };
    if shared.0.notify().is_some() {
        // SAFETY: as above.
        assert_eq!(shared.1.with(|value| unsafe { *value }), 7);
    }
    worker.join().unwrap();
}

const ONE_WORKER: Model = Model::new(3, || drained_by(1, 2, false));
const WAKES_BY_ITSELF: Model = Model::new(2, || drained_by(1, 2, true));
const TWO_WORKERS: Model = Model::new(2, || drained_by(2, 1, false));
const CLOSED_AT_ONCE: Model = Model::new(3, closed_at_once);
const CALLED: Model = Model::new(3, called);
const CHAINED: Model = Model::new(2, chained);
const POSTED: Model = Model::new(2, posted);

const PROTOCOL: Protocol = Protocol {
    file: "runtime/src/pool/wake/sleepers.rs",
    models: &[CALLED, CLOSED_AT_ONCE, ONE_WORKER, POSTED, CHAINED, TWO_WORKERS],
};

#[test]
fn no_job_waits_while_an_async_worker_sleeps() {
    holds(ONE_WORKER);
}

#[test]
fn no_job_waits_for_a_worker_that_wakes_by_itself() {
    holds(WAKES_BY_ITSELF);
}

#[test]
fn two_async_workers_leave_no_job_and_none_stays_behind_at_the_close() {
    holds(TWO_WORKERS);
}

#[test]
fn an_async_worker_that_sees_the_close_leaves_no_job() {
    holds(CLOSED_AT_ONCE);
}

#[test]
fn who_calls_a_worker_sees_what_it_did_before() {
    holds(CALLED);
}

#[test]
fn a_called_worker_that_leaves_a_job_calls_the_next() {
    holds(CHAINED);
}

#[test]
fn mail_reaches_the_worker_that_it_is_for() {
    holds(POSTED);
}

#[test]
fn without_the_chain_call_two_jobs_wait_for_each_other() {
    finds(Fault::NoChain, CHAINED);
}

#[test]
fn mail_that_calls_whoever_sleeps_is_left() {
    finds(Fault::MailByToken, POSTED);
}

#[test]
fn each_ordering_is_needed() {
    each_is_needed(&PROTOCOL);
}
