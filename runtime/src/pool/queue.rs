//! The queues of a pool: one for each priority, and a mailbox for each task worker.
//!
//! All are bounded at the queue's depth; what is in flight altogether is bounded by the credits.

use std::cell::Cell;

use crossbeam_queue::ArrayQueue;

use super::Envelope;
use super::options::Priority;

/// In this many jobs that a worker takes, one is looked for among the low ones first.
const LOW_EVERY: u32 = 16;
/// One in this many among the normal ones first.
const NORMAL_EVERY: u32 = 4;
/// And one in this many among those that are for this worker alone.
const MAIL_EVERY: u32 = 4;

/// The jobs that wait.
pub(crate) struct Queues<J, O> {
    levels: [ArrayQueue<Envelope<J, O>>; 3],
    mailboxes: Box<[ArrayQueue<Envelope<J, O>>]>,
}

impl<J, O> Queues<J, O> {
    pub(super) fn new(depth: usize, task_workers: usize) -> Self {
        Queues {
            levels: std::array::from_fn(|_| ArrayQueue::new(depth)),
            mailboxes: (0..task_workers).map(|_| ArrayQueue::new(depth)).collect(),
        }
    }

    pub(super) fn depth(&self) -> usize {
        self.levels[0].capacity()
    }

    /// For any task worker.
    pub(super) fn push(
        &self,
        priority: Priority,
        job: Envelope<J, O>,
    ) -> Result<(), Envelope<J, O>> {
        self.levels[priority as usize].push(job)
    }

    /// For one task worker.
    pub(super) fn push_to(&self, worker: usize, job: Envelope<J, O>) -> Result<(), Envelope<J, O>> {
        self.mailboxes[worker].push(job)
    }

    /// Takes a worker's next job. `turn` is the worker's own count of jobs taken.
    pub(super) fn pop(&self, worker: usize, turn: &Cell<u32>) -> Option<Envelope<J, O>> {
        let [high, normal, low] = &self.levels;
        let mailbox = &self.mailboxes[worker];
        let count = turn.get();
        let order = match count {
            _ if count % LOW_EVERY == LOW_EVERY - 1 => [low, normal, mailbox, high],
            _ if count % NORMAL_EVERY == NORMAL_EVERY - 1 => [normal, mailbox, high, low],
            _ if count % MAIL_EVERY == MAIL_EVERY / 2 => [mailbox, high, normal, low],
            _ => [high, normal, mailbox, low],
        };
        let job = order.into_iter().find_map(ArrayQueue::pop)?;
        turn.set(count.wrapping_add(1));
        Some(job)
    }

    /// Whether there is a job for this worker.
    pub(super) fn is_empty_for(&self, worker: usize) -> bool {
        !self.has_mail(worker) && self.levels.iter().all(ArrayQueue::is_empty)
    }

    /// Whether there is one that no other worker may take.
    pub(super) fn has_mail(&self, worker: usize) -> bool {
        !self.mailboxes[worker].is_empty()
    }

    /// Jobs that wait.
    pub(super) fn len(&self) -> usize {
        self.levels.iter().chain(&self.mailboxes).map(ArrayQueue::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Origin;
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
        let queues = Queues::new(64, 1);
        let turn = Cell::new(0);
        let mut taken = std::collections::HashMap::new();
        for _ in 0..64 {
            // Whatever was taken is there again.
            for (level, name) in ["high", "normal", "low"].into_iter().enumerate() {
                while queues.levels[level].len() < 8 {
                    assert!(queues.levels[level].push(job(name)).is_ok());
                }
            }
            while queues.mailboxes[0].len() < 8 {
                assert!(queues.push_to(0, job("mail")).is_ok());
            }
            *taken.entry(queues.pop(0, &turn).unwrap().job).or_insert(0) += 1;
        }
        assert_eq!((taken["low"], taken["normal"], taken["mail"], taken["high"]), (4, 12, 16, 32));

        let queues = Queues::new(64, 1);
        for _ in 0..16 {
            assert!(queues.push(Priority::Normal, job("normal")).is_ok());
            assert!(queues.push_to(0, job("mail")).is_ok());
        }
        let first: Vec<_> = (0..8).map(|_| queues.pop(0, &turn).unwrap().job).collect();
        assert!(first.contains(&"mail") && first.contains(&"normal"), "{first:?}");
    }
}
