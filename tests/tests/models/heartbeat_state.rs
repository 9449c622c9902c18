//! The heartbeat: who is called gets beats, none follows the end, and the heart ends with the last
//! worker.

use loom::cell::UnsafeCell;
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use crate::heartbeat_state_protocol::HeartbeatState;
use crate::sites::{Protocol, each_is_needed};
use crate::sleepers_protocol::Sleepers;
use crate::sync::{Fault, commits};
use crate::{Model, finds, holds};

/// A number under a lock, and how to wait for it.
#[derive(Default)]
struct Count(Mutex<u32>, Condvar);

impl Count {
    fn add(&self) {
        *self.0.lock().unwrap() += 1;
        self.1.notify_all();
    }

    /// Waits for one at least, and takes all.
    fn take(&self) {
        let mut count = self.0.lock().unwrap();
        while *count == 0 {
            count = self.1.wait(count).unwrap();
        }
        *count = 0;
    }
}

/// The workers' beats, the heart's thread, and what each worker does at last, told by nothing else
/// than its leaving.
struct Pool {
    heartbeat_state: HeartbeatState,
    unparked: Count,
    heard: Count,
    left: Box<[UnsafeCell<bool>]>,
}

impl Pool {
    fn new(workers: usize) -> Arc<Self> {
        Arc::new(Pool {
            heartbeat_state: HeartbeatState::new(workers),
            unparked: Count::default(),
            heard: Count::default(),
            left: (0..workers).map(|_| UnsafeCell::new(false)).collect(),
        })
    }

    fn unpark_if(&self, must: bool) {
        if must {
            self.unparked.add();
        }
    }

    fn leave(&self, worker: usize) {
        // SAFETY: loom reports a read that is not ordered after it.
        self.left[worker].with_mut(|left| unsafe { *left = true });
        self.unpark_if(self.heartbeat_state.leave(worker));
    }

    fn be_the_heart(&self) {
        self.heartbeat_state.give(|_| self.heard.add(), thread::yield_now, || self.unparked.take());
        for (worker, left) in self.left.iter().enumerate() {
            // SAFETY: as above.
            assert!(left.with(|left| unsafe { *left }));
            assert!(!self.heartbeat_state.is_beating(worker), "a beat may follow the end");
        }
    }
}

/// A worker has a job and waits for a beat, then ends.
fn beaten() {
    let pool = Pool::new(1);
    let worker = {
        let pool = pool.clone();
        thread::spawn(move || {
            pool.unpark_if(pool.heartbeat_state.begin(0));
            pool.heard.take();
            pool.leave(0);
        })
    };
    pool.be_the_heart();
    worker.join().unwrap();
}

/// Two workers end, each at any time.
fn ended() {
    let pool = Pool::new(2);
    let workers = [0, 1].map(|worker| {
        let pool = pool.clone();
        thread::spawn(move || pool.leave(worker))
    });
    pool.be_the_heart();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
}

/// A worker that falls asleep while it is called: the call's beats come after its rest.
fn called() {
    let shared = Arc::new((Sleepers::new(1), HeartbeatState::new(1)));
    let worker = {
        let shared = shared.clone();
        thread::spawn(move || {
            let (sleepers, heartbeat_state) = &*shared;
            if commits(Fault::LateRest) {
                let _ = sleepers.sleep(0, || true);
                heartbeat_state.rest(0);
            } else {
                heartbeat_state.rest(0);
                let _ = sleepers.sleep(0, || true);
            }
        })
    };
    let (sleepers, heartbeat_state) = &*shared;
    let is_called = sleepers.notify().is_some();
    if is_called {
        let _ = heartbeat_state.begin(0);
    }
    worker.join().unwrap();
    assert_eq!(heartbeat_state.is_beating(0), is_called, "who is called gets heartbeat_state");
}

const BEATEN: Model = Model::new(3, beaten);
const ENDED: Model = Model::new(3, ended);
const CALLED: Model = Model::new(3, called);

const PROTOCOL: Protocol =
    Protocol { file: "runtime/src/pool/wake/heartbeat_state.rs", models: &[ENDED, BEATEN] };

#[test]
fn a_worker_with_jobs_gets_beats() {
    holds(BEATEN);
}

#[test]
fn the_heart_ends_with_the_last_worker_and_sees_the_end_of_each() {
    holds(ENDED);
}

#[test]
fn a_worker_that_is_called_while_it_falls_asleep_gets_beats() {
    holds(CALLED);
}

#[test]
fn a_rest_after_the_roster_silences_a_worker_that_was_called() {
    finds(Fault::LateRest, CALLED);
}

#[test]
fn each_ordering_is_needed() {
    each_is_needed(&PROTOCOL);
}
