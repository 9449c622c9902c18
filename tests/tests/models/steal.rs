//! Jobs that are moved from one cache domain to another: none waits beside a worker that sleeps.

use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use crate::park_protocol::{Park, Source};
use crate::queue::Queue;
use crate::steal_protocol::take;
use crate::sync::{Fault, commits};
use crate::{Model, finds, holds};

/// The queues as a worker of one domain sees them.
struct View {
    park: Arc<Park>,
    own: Arc<Queue>,
    other: Arc<Queue>,
}

impl Source for View {
    type Item = u8;

    fn pop(&self) -> Option<u8> {
        let wake = || {
            if !commits(Fault::SilentMove) {
                self.park.notify();
            }
        };
        self.own.take().or_else(|| take(&*self.other, &*self.own, wake).map(|taken| taken.job))
    }

    fn is_empty(&self) -> bool {
        self.own.is_empty() && self.other.is_empty()
    }

    fn has_mail(&self) -> bool {
        false
    }

    fn spin(&self) -> Option<u8> {
        None
    }
}

/// A worker of each domain, and two jobs of the second that end only when both have begun: one that
/// is moved to the first domain, while the second's worker falls asleep, must wake it.
fn moved() {
    let park = Arc::new(Park::new());
    let (near, far) = (Arc::new(Queue::new()), Arc::new(Queue::new()));
    let begun = Arc::new((Mutex::new(0), Condvar::new()));
    for job in 0..2 {
        far.push(job);
    }
    let workers: Vec<_> = [(&near, &far), (&far, &near)]
        .into_iter()
        .map(|(own, other)| {
            let view = View { park: park.clone(), own: own.clone(), other: other.clone() };
            let (park, begun) = (park.clone(), begun.clone());
            thread::spawn(move || {
                if park.next(&view).is_some() {
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
    park.notify();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
}

const MOVED: Model = Model::new(2, moved);

#[test]
fn a_job_that_is_moved_wakes_who_fell_asleep_meanwhile() {
    holds(MOVED);
}

#[test]
fn a_move_that_wakes_nobody_leaves_a_job_beside_a_sleeper() {
    finds(Fault::SilentMove, MOVED);
}
