//! Parking: no job waits while every worker sleeps, and all leave when the pool closes.

use std::cell::Cell;

use loom::sync::{Arc, Mutex};
use loom::thread;

use crate::park_protocol::{Park, Source};
use crate::queue::Queue;
use crate::sites::{Protocol, each_is_needed};
use crate::sync::{Fault, commits};
use crate::{Model, finds, holds};

/// The queue as one worker sees it, with its mailbox if it has one.
pub(crate) struct View {
    queue: Arc<Queue>,
    mail: Option<Arc<Queue>>,
    /// Whether its last `pop` found a job: then `is_empty` is asked for the chain wake.
    found: Cell<bool>,
}

impl View {
    pub(crate) fn of(queue: &Arc<Queue>) -> Self {
        View { queue: queue.clone(), mail: None, found: Cell::new(false) }
    }
}

impl Source for View {
    type Item = u8;

    fn pop(&self) -> Option<u8> {
        let mail = self.mail.as_ref().and_then(|mail| mail.take());
        let job = mail.or_else(|| self.queue.take());
        self.found.set(job.is_some());
        job
    }

    fn is_empty(&self) -> bool {
        !self.has_mail() && self.queue.is_empty() || commits(Fault::NoChain) && self.found.get()
    }

    fn has_mail(&self) -> bool {
        self.mail.as_ref().is_some_and(|mail| !mail.is_empty())
    }

    fn spin(&self) -> Option<u8> {
        None
    }
}

/// Workers that take jobs until the pool closes; a job must not wait for the close.
fn drained_by(workers: usize, jobs: u8) {
    let park = Arc::new(Park::new());
    let queue = Arc::new(Queue::new());
    let done = Arc::new((Mutex::new(0), loom::sync::Condvar::new()));
    let workers: Vec<_> = (0..workers)
        .map(|_| {
            let (park, queue, done) = (park.clone(), queue.clone(), done.clone());
            thread::spawn(move || {
                while park.next(&View::of(&queue)).is_some() {
                    *done.0.lock().unwrap() += 1;
                    done.1.notify_one();
                }
            })
        })
        .collect();
    for job in 0..jobs {
        queue.push(job);
        park.notify();
    }
    // Only then is the pool closed: a job that nobody wakes for is a deadlock, which loom reports.
    let mut count = done.0.lock().unwrap();
    while *count < jobs {
        count = done.1.wait(count).unwrap();
    }
    drop(count);
    park.close();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    assert!(queue.left() == 0);
}

/// Two jobs that need each other: the first worker's job ends only when the second's has begun.
/// A worker that took one and left the other to nobody would wait for ever: the chain wake.
fn chained() {
    let park = Arc::new(Park::new());
    let queue = Arc::new(Queue::new());
    let begun = Arc::new((Mutex::new(0), loom::sync::Condvar::new()));
    let workers: Vec<_> = (0..2)
        .map(|_| {
            let (park, queue, begun) = (park.clone(), queue.clone(), begun.clone());
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
        })
        .collect();
    for job in 0..2 {
        queue.push(job);
        park.notify();
    }
    workers.into_iter().for_each(|worker| worker.join().unwrap());
}

/// A job for the first worker alone, and one for whoever comes: the second worker may take the
/// token that the first was moved for, and the first must find its mail all the same.
fn posted() {
    let park = Arc::new(Park::new());
    let (queue, mail) = (Arc::new(Queue::new()), Arc::new(Queue::new()));
    let done = Arc::new((Mutex::new(0), loom::sync::Condvar::new()));
    let workers: Vec<_> = (0..2)
        .map(|worker| {
            let (park, queue, done) = (park.clone(), queue.clone(), done.clone());
            let mail = (worker == 0).then(|| mail.clone());
            thread::spawn(move || {
                let view = View { queue, mail, found: Cell::new(false) };
                while park.next(&view).is_some() {
                    *done.0.lock().unwrap() += 1;
                    done.1.notify_one();
                }
            })
        })
        .collect();
    mail.push(0);
    if commits(Fault::MailByToken) {
        park.notify();
    } else {
        park.post();
    }
    let mut count = done.0.lock().unwrap();
    while *count < 1 {
        count = done.1.wait(count).unwrap();
    }
    drop(count);
    park.close();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
}

/// One worker, which falls asleep while its mail comes.
fn posted_to_one() {
    let park = Arc::new(Park::new());
    let mail = Arc::new(Queue::new());
    let worker = {
        let (park, mail) = (park.clone(), mail.clone());
        thread::spawn(move || {
            let queue = Arc::new(Queue::new());
            let view = View { queue, mail: Some(mail), found: Cell::new(false) };
            assert!(park.next(&view).is_some());
        })
    };
    mail.push(0);
    park.post();
    worker.join().unwrap();
}

/// The close comes right behind a push that nobody was woken for: whoever sees it sees that.
fn closed_at_once() {
    let park = Arc::new(Park::new());
    let queue = Arc::new(Queue::new());
    let worker = {
        let (park, queue) = (park.clone(), queue.clone());
        thread::spawn(move || while park.next(&View::of(&queue)).is_some() {})
    };
    queue.push(0);
    park.close();
    worker.join().unwrap();
    assert!(queue.left() == 0, "a worker left a job behind");
}

const ONE_WORKER: Model = Model::new(3, || drained_by(1, 2));
const TWO_WORKERS: Model = Model::new(2, || drained_by(2, 1));
const CLOSED_AT_ONCE: Model = Model::new(3, closed_at_once);
const CHAINED: Model = Model::new(2, chained);
const POSTED: Model = Model::new(2, posted);
const POSTED_TO_ONE: Model = Model::new(3, posted_to_one);

const PROTOCOL: Protocol = Protocol {
    file: "runtime/src/pool/wake/park.rs",
    models: &[CLOSED_AT_ONCE, POSTED_TO_ONE, ONE_WORKER, POSTED, CHAINED, TWO_WORKERS],
};

#[test]
fn mail_for_one_worker_reaches_it() {
    holds(POSTED);
    holds(POSTED_TO_ONE);
}

#[test]
fn mail_that_goes_by_an_anonymous_token_is_left() {
    finds(Fault::MailByToken, POSTED);
}

#[test]
fn no_job_waits_while_a_worker_sleeps() {
    holds(ONE_WORKER);
}

#[test]
fn two_workers_leave_no_job_and_none_stays_behind_at_the_close() {
    holds(TWO_WORKERS);
}

#[test]
fn a_worker_that_sees_the_close_leaves_no_job() {
    holds(CLOSED_AT_ONCE);
}

#[test]
fn a_searcher_that_finds_work_wakes_the_next_for_more() {
    holds(CHAINED);
}

#[test]
fn without_the_chain_wake_two_jobs_share_one_worker() {
    finds(Fault::NoChain, CHAINED);
}

#[test]
fn a_wait_that_does_not_look_at_its_word_sleeps_for_ever() {
    finds(Fault::BlindWait, ONE_WORKER);
}

#[test]
fn each_ordering_is_needed() {
    each_is_needed(&PROTOCOL);
}
