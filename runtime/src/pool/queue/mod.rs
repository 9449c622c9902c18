//! The queues of a pool: for each cache domain one of each priority, and a mailbox for each task
//! worker.
//!
//! An executor pushes to the queues of its own domain; a worker takes from its own domain's first,
//! so that jobs stay within a shared cache while there is work there. What it takes from another
//! domain brings some of those behind it along: they are moved to its own queues, where each worker
//! of the domain finds them, and not kept by the one that took them, behind a job that may take
//! long. With one domain, as most machines have, none of this is there.
//!
//! All are bounded at the queue's depth; what is in flight altogether is bounded by the credits.

mod reservations;
mod steal;

use self::steal::{Jobs, Taken};
use std::cell::Cell;

use crossbeam_queue::ArrayQueue;

use crate::pool::queue::reservations::{Place, Room};

use crate::pool::task::Envelope;
use crate::pool::task::options::{LOW_EVERY, NORMAL_EVERY, Priority};
use crate::sys::panics::drop_quietly;

/// In this many jobs that a worker takes, one is looked for first among those for it alone.
const MAIL_EVERY: u32 = 4;

/// A queue for each priority.
type Levels<J, O> = [ArrayQueue<Envelope<J, O>>; 3];

impl<T> Jobs for ArrayQueue<T> {
    type Job = T;

    fn pop(&self) -> Option<T> {
        ArrayQueue::pop(self)
    }

    fn push(&self, job: T) -> Result<(), T> {
        ArrayQueue::push(self, job)
    }

    fn is_full(&self) -> bool {
        ArrayQueue::is_full(self)
    }
}

/// The jobs that wait.
pub(crate) struct Queues<J, O> {
    /// Looked at by each push, as is where the queues are.
    room: Room,
    domains: Box<[Levels<J, O>]>,
    /// One for each worker, and an empty one for all spares.
    mailboxes: Box<[ArrayQueue<Envelope<J, O>>]>,
    /// The domain of each executor and of each worker.
    places: Places,
}

/// Which of a pool's domains executors and task workers belong to, by their numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    pub(crate) executors: Vec<usize>,
    pub(crate) workers: Vec<usize>,
}

/// What one worker knows of its own taking.
pub(crate) struct PriorityTurn<J, O> {
    /// Jobs taken.
    count: Cell<u32>,
    /// A job from another domain for which there was no room in its own.
    left_over: Cell<Option<Envelope<J, O>>>,
}

impl<J, O> Default for PriorityTurn<J, O> {
    fn default() -> Self {
        PriorityTurn { count: Cell::new(0), left_over: Cell::new(None) }
    }
}

impl<J, O> PriorityTurn<J, O> {
    /// Whether this worker holds a job that no other can take.
    pub(crate) fn holds_one(&self) -> bool {
        let held = self.left_over.take();
        let holds = held.is_some();
        self.left_over.set(held);
        holds
    }
}

impl Places {
    /// From the cache domains as the system numbers them. A domain without task workers has no
    /// queues: its executors use those of the others, in turn.
    pub(crate) fn of(executors: &[usize], workers: &[usize]) -> Self {
        let mut domains = workers.to_vec();
        domains.sort_unstable();
        domains.dedup();
        let place = |domain: &usize| domains.binary_search(domain);
        let executors = executors.iter().enumerate();
        Places {
            executors: executors
                .map(|(index, domain)| {
                    place(domain).unwrap_or_else(|_| index % domains.len().max(1))
                })
                .collect(),
            workers: workers.iter().map(|domain| place(domain).unwrap_or(0)).collect(),
        }
    }

    fn domains(&self) -> usize {
        self.workers.iter().max().map_or(1, |last| last + 1)
    }

    fn of_executor(&self, executor: usize) -> usize {
        self.executors.get(executor).copied().unwrap_or(0)
    }

    fn of_worker(&self, worker: usize) -> usize {
        self.workers.get(worker).copied().unwrap_or(0)
    }
}

impl<J, O> Queues<J, O> {
    pub(crate) fn new(depth: usize, task_workers: usize, places: Places) -> Self {
        let levels = |_| std::array::from_fn(|_| ArrayQueue::new(depth));
        let mailboxes = (0..task_workers).map(|_| ArrayQueue::new(depth));
        Queues {
            room: Room::new(places.domains()),
            domains: (0..places.domains()).map(levels).collect(),
            mailboxes: mailboxes.chain([ArrayQueue::new(1)]).collect(),
            places,
        }
    }

    pub(crate) fn depth(&self) -> usize {
        self.domains[0][0].capacity()
    }

    /// For any task worker; None for `executor`: from a thread that is none.
    pub(crate) fn push(
        &self,
        executor: Option<usize>,
        priority: Priority,
        job: Envelope<J, O>,
    ) -> Result<(), Envelope<J, O>> {
        let domain = self.domain(executor);
        let queue = &self.domains[domain][priority as usize];
        match self.room.place(domain, priority, queue.capacity(), || queue.len()) {
            Place::Free => queue.push(job),
            Place::Open => queue.push(job).inspect_err(|_| self.room.reopen(domain, priority)),
            Place::None => Err(job),
        }
    }

    /// The same for an executor that has waited for it.
    pub(crate) fn push_to_kept(
        &self,
        executor: usize,
        priority: Priority,
        job: Envelope<J, O>,
    ) -> Result<(), Envelope<J, O>> {
        let domain = self.domain(Some(executor));
        self.domains[domain][priority as usize].push(job)?;
        self.room.reopen(domain, priority);
        Ok(())
    }

    /// Keeps a place for an executor that has found none; false: one has come free since.
    pub(crate) fn keep_room(&self, executor: usize, priority: Priority) -> bool {
        let domain = self.domain(Some(executor));
        let queue = &self.domains[domain][priority as usize];
        let kept = self.room.kept(domain, priority, queue.capacity());
        let is_full = queue.len() + kept + 1 >= queue.capacity();
        if is_full {
            self.room.keep(domain, priority);
        }
        is_full
    }

    /// The executor does without it, or has taken it.
    pub(crate) fn release_room(&self, executor: usize, priority: Priority) {
        self.room.release(self.domain(Some(executor)), priority);
    }

    fn domain(&self, executor: Option<usize>) -> usize {
        executor.map_or(0, |executor| self.places.of_executor(executor))
    }

    /// For one task worker.
    pub(crate) fn push_to(&self, worker: usize, job: Envelope<J, O>) -> Result<(), Envelope<J, O>> {
        self.mailboxes[worker].push(job)
    }

    /// Whether one more may wait for this worker alone.
    pub(crate) fn has_room_for(&self, worker: usize) -> bool {
        !self.mailbox(worker).is_full()
    }

    /// Takes a worker's next job. `wake` is called where others may take jobs that were moved.
    pub(crate) fn pop(
        &self,
        worker: usize,
        turn: &PriorityTurn<J, O>,
        wake: impl FnOnce(),
    ) -> Option<Envelope<J, O>> {
        if self.domains.len() > 1
            && let Some(job) = turn.left_over.take()
        {
            return Some(job);
        }
        let domain = self.places.of_worker(worker);
        let [high, normal, low] = &self.domains[domain];
        let mailbox = self.mailbox(worker);
        let count = turn.count.get();
        let order = match count {
            _ if count % LOW_EVERY == LOW_EVERY - 1 => [low, normal, mailbox, high],
            _ if count % NORMAL_EVERY == NORMAL_EVERY - 1 => [normal, mailbox, high, low],
            _ if count % MAIL_EVERY == MAIL_EVERY / 2 => [mailbox, high, normal, low],
            _ => [high, normal, mailbox, low],
        };
        // A pop of an empty queue costs a fence. Normal jobs are popped without a look before, for
        // which the line that the producer writes would be fetched.
        let look = |queue: &ArrayQueue<_>| {
            let is_there = std::ptr::eq(queue, normal) || !queue.is_empty();
            if is_there { queue.pop() } else { None }
        };
        let job = order.into_iter().find_map(look);
        let job = match job {
            None if self.domains.len() > 1 => self.take_from_afar(domain, turn, wake),
            job => job,
        }?;
        turn.count.set(count.wrapping_add(1));
        Some(job)
    }

    /// A job of another domain, and some more to this one's queues.
    fn take_from_afar(
        &self,
        domain: usize,
        turn: &PriorityTurn<J, O>,
        wake: impl FnOnce(),
    ) -> Option<Envelope<J, O>> {
        let own = &self.domains[domain];
        let others = (1..self.domains.len()).map(|step| (domain + step) % self.domains.len());
        let levels = others.flat_map(|other| self.domains[other].iter().zip(own));
        let mut wake = Some(wake);
        for (from, to) in levels {
            let call = || wake.take().into_iter().for_each(|wake| wake());
            let Some(Taken { job, left_over }) = steal::take(from, to, call) else { continue };
            turn.left_over.set(left_over);
            return Some(job);
        }
        None
    }

    /// Whether there is no job for this worker.
    pub(crate) fn is_empty_for(&self, worker: usize) -> bool {
        !self.has_mail(worker) && self.domains.iter().flatten().all(ArrayQueue::is_empty)
    }

    /// Whether there is one that no other worker may take.
    pub(crate) fn has_mail(&self, worker: usize) -> bool {
        !self.mailbox(worker).is_empty()
    }

    fn mailbox(&self, worker: usize) -> &ArrayQueue<Envelope<J, O>> {
        &self.mailboxes[worker.min(self.mailboxes.len() - 1)]
    }

    /// Jobs that wait.
    pub(crate) fn len(&self) -> usize {
        self.domains.iter().flatten().chain(&self.mailboxes).map(ArrayQueue::len).sum()
    }
}

impl<J, O> Drop for Queues<J, O> {
    /// Jobs that nobody took are the user's values: a panic of one's destructor costs that one only.
    fn drop(&mut self) {
        for queue in self.domains.iter().flatten().chain(&self.mailboxes) {
            while let Some(envelope) = ArrayQueue::pop(queue) {
                drop_quietly(envelope);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::task::Origin;
    use std::time::Instant;

    fn job(name: &'static str) -> Envelope<&'static str, ()> {
        Envelope {
            job: name,
            id: 1,
            attempt: 1,
            dispatched: Instant::now(),
            deadline: None,
            origin: Origin::Lane { executor: 0, slot: None },
            control: None,
            again: None,
        }
    }

    #[test]
    fn a_flood_of_higher_priority_starves_neither_the_low_nor_a_mailbox() {
        let queues = Queues::new(64, 1, Places::default());
        let turn = PriorityTurn::default();
        let mut taken = std::collections::HashMap::new();
        for _ in 0..64 {
            // Whatever was taken is there again.
            for (level, name) in ["high", "normal", "low"].into_iter().enumerate() {
                while queues.domains[0][level].len() < 8 {
                    assert!(queues.domains[0][level].push(job(name)).is_ok());
                }
            }
            while queues.mailboxes[0].len() < 8 {
                assert!(queues.push_to(0, job("mail")).is_ok());
            }
            *taken.entry(queues.pop(0, &turn, || {}).unwrap().job).or_insert(0) += 1;
        }
        assert_eq!((taken["low"], taken["normal"], taken["mail"], taken["high"]), (4, 12, 16, 32));

        let queues = Queues::new(64, 1, Places::default());
        for _ in 0..16 {
            assert!(queues.push(None, Priority::Normal, job("normal")).is_ok());
            assert!(queues.push_to(0, job("mail")).is_ok());
        }
        let first: Vec<_> = (0..8).map(|_| queues.pop(0, &turn, || {}).unwrap().job).collect();
        assert!(first.contains(&"mail") && first.contains(&"normal"), "{first:?}");
    }

    #[test]
    fn a_domain_without_task_workers_uses_the_queues_of_others() {
        let places = Places::of(&[0, 3, 7, 9], &[3, 3, 7]);
        assert_eq!((places.domains(), &*places.executors), (2, &[0, 0, 1, 1][..]));
        assert_eq!(places.workers, [0, 0, 1]);
        assert_eq!(Places::of(&[], &[]).domains(), 1);
    }

    #[test]
    fn work_of_its_own_domain_comes_first_and_that_of_others_in_batches() {
        let queues = Queues::new(64, 2, Places::of(&[0, 1], &[0, 1]));
        for _ in 0..20 {
            assert!(queues.push(Some(0), Priority::Normal, job("near")).is_ok());
            assert!(queues.push(Some(1), Priority::High, job("far")).is_ok());
        }
        let turn = PriorityTurn::default();
        let near: Vec<_> = (0..20).map(|_| queues.pop(0, &turn, || {}).unwrap().job).collect();
        assert!(near.iter().all(|name| *name == "near"), "{near:?}");
        // The first one from afar brings seven more, which another worker of the domain may take.
        let woken = Cell::new(0);
        let far = queues.pop(0, &turn, || woken.set(woken.get() + 1));
        assert_eq!((far.unwrap().job, woken.get()), ("far", 1));
        assert_eq!((queues.domains[0][0].len(), queues.domains[1][0].len()), (7, 12));
        assert!((0..19).all(|_| queues.pop(0, &turn, || {}).is_some()));
        assert!(queues.pop(0, &turn, || {}).is_none() && queues.is_empty_for(0));
    }

    #[test]
    fn a_job_from_afar_for_which_there_is_no_room_is_taken_next() {
        let queues = Queues::new(1, 2, Places::of(&[0, 1], &[0, 1]));
        let turn = PriorityTurn::default();
        turn.left_over.set(Some(job("left over")));
        assert!(queues.push(Some(1), Priority::Normal, job("far")).is_ok());
        let taken: Vec<_> = (0..2).map(|_| queues.pop(0, &turn, || {}).unwrap().job).collect();
        assert_eq!(taken, ["left over", "far"]);
    }
}
