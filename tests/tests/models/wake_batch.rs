//! A busy executor, which wakes a worker once for several jobs: no job stays beside a worker that
//! sleeps once the executor has paid, and it pays when it is to.

use std::time::{Duration, Instant};

use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use crate::park::View;
use crate::park_protocol::Park;
use crate::queue::Queue;
use crate::sync::{Fault, commits};
use crate::wake_batch_protocol::WakeBatch;
use crate::{Model, finds, holds};

const MANY: usize = 512;

/// The executor's end of a pool.
struct Lane {
    park: Arc<Park>,
    queue: Arc<Queue>,
    wake_batch: WakeBatch,
    began: Instant,
}

impl Lane {
    /// True: a worker was woken.
    fn dispatch(&self) -> bool {
        if commits(Fault::EarlyWake) {
            self.park.notify();
        }
        self.queue.push(0);
        self.wake_if(self.wake_batch.push(self.began, false))
    }

    fn turn(&self, batching: bool, after_us: u64) -> bool {
        self.wake_if(
            self.wake_batch.turn(batching, || self.began + Duration::from_micros(after_us)),
        )
    }

    fn wake_if(&self, wakes: bool) -> bool {
        if wakes && !commits(Fault::EarlyWake) {
            self.park.notify();
        }
        wakes
    }
}

/// An executor with room for so many jobs, and two workers with two jobs that end only when both
/// have begun: one wake has to bring both workers.
fn paid(room: usize, executor: fn(&Lane)) {
    let lane = Lane {
        park: Arc::new(Park::new()),
        queue: Arc::new(Queue::new()),
        wake_batch: WakeBatch::new(room),
        began: Instant::now(),
    };
    let begun = Arc::new((Mutex::new(0), Condvar::new()));
    let workers = [0, 1].map(|_| {
        let (park, queue, begun) = (lane.park.clone(), lane.queue.clone(), begun.clone());
        thread::spawn(move || {
            if park.next(&View::of(&queue)).is_some() {
                let mut count = begun.0.lock().unwrap();
                *count += 1;
                begun.1.notify_all();
                while *count < 2 {
                    count = begun.1.wait(count).unwrap();
                }
            }
        })
    });
    assert!(!lane.turn(true, 0), "nothing is wake_batch");
    executor(&lane);
    assert!(!lane.turn(false, 0), "nothing is wake_batch any more");
    workers.into_iter().for_each(|worker| worker.join().unwrap());
}

fn after_a_time(lane: &Lane) {
    assert!(!lane.dispatch() && !lane.dispatch());
    assert!(!lane.turn(true, 199));
    assert!(lane.turn(true, 200));
}

fn with_the_most_owed(lane: &Lane) {
    assert!(!lane.dispatch());
    assert!(lane.dispatch());
}

fn once_it_is_idle(lane: &Lane) {
    assert!(!lane.dispatch() && !lane.dispatch());
    assert!(lane.turn(false, 0));
}

const AFTER_A_TIME: Model = Model::new(2, || paid(MANY, after_a_time));
const THE_MOST: Model = Model::new(2, || paid(16, with_the_most_owed));
const IDLE: Model = Model::new(2, || paid(MANY, once_it_is_idle));

#[test]
fn one_wake_is_enough_for_all_that_are_owed() {
    holds(THE_MOST);
}

#[test]
fn jobs_are_not_left_to_sleepers_for_long() {
    holds(AFTER_A_TIME);
}

#[test]
fn an_executor_that_is_not_busy_any_more_owes_nothing() {
    holds(IDLE);
}

#[test]
fn without_the_chain_wake_one_is_not_enough() {
    finds(Fault::NoChain, THE_MOST);
}

#[test]
fn a_wake_before_the_push_that_it_pays_for_leaves_a_job() {
    finds(Fault::EarlyWake, THE_MOST);
}
