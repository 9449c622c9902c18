//! What a lane has to do at a later time: start a delayed task, end one whose deadline passes.
//!
//! Entries whose task has ended in the meantime are left and thrown away when they come up. When
//! more than half may be such, the delay queue is swept, so it holds at most twice the tasks in flight.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use crate::pool::shared::WaitTicket;
use crate::pool::task::SlotKey;

const SWEEP_FROM: usize = 64;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// Put the slot's job into the queue.
    Start(SlotKey),
    /// The deadline of the slot's task.
    Expire(SlotKey),
    /// The time of a dispatch that waits for room has come.
    Sender(WaitTicket),
    /// Those in line look for room again.
    WaitQueue,
}

/// A lane's times, earliest first.
#[derive(Default)]
pub(crate) struct DelayQueue {
    entries: BinaryHeap<Reverse<(Instant, Due)>>,
}

impl DelayQueue {
    /// Adds an entry; `is_live` says which of the old ones still matter.
    pub(crate) fn add(
        &mut self,
        at: Instant,
        due: Due,
        live: usize,
        is_live: impl Fn(Due) -> bool,
    ) {
        if self.entries.len() >= SWEEP_FROM.max(4 * live) {
            self.entries.retain(|Reverse((_, due))| is_live(*due));
        }
        self.entries.push(Reverse((at, due)));
    }

    /// The earliest time.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.entries.peek().map(|Reverse((at, _))| *at)
    }

    /// The jobs that start later than `end`.
    pub(crate) fn starts_after(&self, end: Instant) -> Vec<SlotKey> {
        let late = |Reverse((at, due)): &Reverse<(Instant, Due)>| match due {
            Due::Start(key) if *at > end => Some(*key),
            _ => None,
        };
        self.entries.iter().filter_map(late).collect()
    }

    /// Takes one entry that is due.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Due> {
        self.next_at().filter(|at| *at <= now)?;
        self.entries.pop().map(|Reverse((_, due))| due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn entries_come_up_in_their_order_and_not_before_their_time() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let key = |index| SlotKey { index, generation: 0 };
        let mut delay_queue = DelayQueue::default();
        for ms in [30, 10, 20] {
            delay_queue.add(at(ms), Due::Start(key(ms as u32)), 3, |_| true);
        }
        assert_eq!(delay_queue.pop(at(9)), None);
        assert_eq!(delay_queue.pop(at(25)), Some(Due::Start(key(10))));
        assert_eq!(delay_queue.pop(at(25)), Some(Due::Start(key(20))));
        assert_eq!(delay_queue.pop(at(25)), None);
        assert_eq!(delay_queue.next_at(), Some(at(30)));
    }

    #[test]
    fn entries_of_tasks_that_ended_do_not_pile_up() {
        let now = Instant::now();
        let mut delay_queue = DelayQueue::default();
        for index in 0..10_000 {
            delay_queue.add(now, Due::Expire(SlotKey { index, generation: 0 }), 8, |_| false);
        }
        assert!(delay_queue.entries.len() <= SWEEP_FROM, "{}", delay_queue.entries.len());
    }
}
