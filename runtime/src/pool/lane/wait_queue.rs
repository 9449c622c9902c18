//! The line of a lane: who waits for a credit, by priority.
//!
//! In it are jobs that were accepted and are due, whose time or pause is over, and dispatches that
//! wait for room (`send`). A credit that comes free goes to the first in line; no other dispatch is
//! accepted while somebody waits. The order is the queue's own: the higher priority first, but one
//! credit in sixteen for the low and three for the normal ones, where such wait.
//!
//! A job of the lane is put into the queue by the lane. A dispatch that waits has to be polled for
//! that: it is granted a credit, which is kept for it until it comes, and woken.
//!
//! Who is for one task worker whose mailbox is full stands aside until there is room in it: such
//! ones hold up nobody but those that come later for the same worker.

use std::collections::{BTreeMap, VecDeque};
use std::task::Waker;

use crate::pool::shared::WaitTicket;
use crate::pool::task::SlotKey;
use crate::pool::task::options::{LOW_EVERY, NORMAL_EVERY, Priority};

/// Who waits.
pub(crate) enum Who {
    /// A job of the lane.
    Job(SlotKey),
    /// A dispatch, to be woken.
    Sender(Option<Waker>),
}

/// A place in the line.
pub(crate) struct Place {
    pub(crate) ticket: WaitTicket,
    pub(crate) priority: Priority,
    pub(crate) who: Who,
}

/// All who wait.
#[derive(Default)]
pub(crate) struct WaitQueue {
    /// By priority, each in the order of its tickets.
    levels: [VecDeque<Place>; 3],
    /// Who waits for room in a mailbox, by its task worker, each in the order of its tickets.
    aside: BTreeMap<usize, VecDeque<Place>>,
    /// Dispatches that wait for their own time: a delay that found no place among the sleepers.
    timed: BTreeMap<WaitTicket, Waker>,
    /// Dispatches that a credit is kept for, until they are polled.
    granted: Vec<WaitTicket>,
    next_ticket: WaitTicket,
    /// Credits given to the line.
    served: u32,
}

impl WaitQueue {
    /// Whether nobody waits for a credit. Who was granted one waits no more, who stands aside not
    /// yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.levels.iter().all(VecDeque::is_empty)
    }

    /// Whether nobody of a priority waits, nor anybody comes for a credit that was granted.
    pub(crate) fn is_deserted(&self, priority: Priority) -> bool {
        self.levels[priority as usize].is_empty() && self.granted.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.queues().map(VecDeque::len).sum()
    }

    /// Adds one to the end of its priority.
    pub(crate) fn join(&mut self, priority: Priority, who: Who) -> WaitTicket {
        let ticket = self.new_ticket();
        self.put_back(Place { ticket, priority, who });
        ticket
    }

    /// Gives a place back that was taken by [`next`](Self::next), and could not be used: before those
    /// that joined later, behind others that were given back.
    pub(crate) fn put_back(&mut self, place: Place) {
        insert(&mut self.levels[place.priority as usize], place);
    }

    /// Has one stand aside until there is room in a task worker's mailbox.
    pub(crate) fn set_aside(&mut self, task_worker: usize, place: Place) {
        insert(self.aside.entry(task_worker).or_default(), place);
    }

    /// Whether somebody stands aside, for any task worker.
    pub(crate) fn has_some_aside(&self) -> bool {
        !self.aside.is_empty()
    }

    /// Whether somebody waits for room in this mailbox.
    pub(crate) fn waits_for(&self, task_worker: usize) -> bool {
        self.aside.contains_key(&task_worker)
    }

    /// Whether somebody waits for room in this mailbox who has come before that ticket.
    pub(crate) fn waits_before(&self, task_worker: usize, ticket: WaitTicket) -> bool {
        let first = self.aside.get(&task_worker).and_then(VecDeque::front);
        first.is_some_and(|first| first.ticket < ticket)
    }

    /// Brings the first of those back that stand aside for each mailbox that has room.
    pub(crate) fn bring_back(&mut self, has_room: impl Fn(usize) -> bool) {
        let WaitQueue { levels, aside, .. } = self;
        aside.retain(|task_worker, waiting| {
            if has_room(*task_worker)
                && let Some(place) = waiting.pop_front()
            {
                insert(&mut levels[place.priority as usize], place);
            }
            !waiting.is_empty()
        });
    }

    /// Adds a dispatch that waits for the clock only.
    pub(crate) fn wait_for_time(&mut self, waker: Waker) -> WaitTicket {
        let ticket = self.new_ticket();
        self.timed.insert(ticket, waker);
        ticket
    }

    pub(crate) fn new_ticket(&mut self) -> WaitTicket {
        self.next_ticket += 1;
        self.next_ticket
    }

    /// Takes the one whose turn it is.
    pub(crate) fn next(&mut self) -> Option<Place> {
        let [high, normal, low] = [0, 1, 2];
        let order = match self.served {
            count if count % LOW_EVERY == LOW_EVERY - 1 => [low, normal, high],
            count if count % NORMAL_EVERY == NORMAL_EVERY - 1 => [normal, high, low],
            _ => [high, normal, low],
        };
        let place = order.into_iter().find_map(|level| self.levels[level].pop_front())?;
        self.served = self.served.wrapping_add(1);
        Some(place)
    }

    /// Keeps a credit for a dispatch.
    pub(crate) fn grant(&mut self, ticket: WaitTicket) {
        self.granted.push(ticket);
    }

    /// Whether a credit was kept for a dispatch; it is its own now.
    pub(crate) fn take_grant(&mut self, ticket: WaitTicket) -> bool {
        let at = self.granted.iter().position(|granted| *granted == ticket);
        at.map(|at| self.granted.swap_remove(at)).is_some()
    }

    /// Keeps the waker of a dispatch that waits; returns the one before, to be dropped outside any
    /// borrow.
    pub(crate) fn set_waker(&mut self, ticket: WaitTicket, waker: &Waker) -> Option<Waker> {
        if let Some(kept) = self.timed.get_mut(&ticket) {
            return Some(std::mem::replace(kept, waker.clone()));
        }
        match &mut self.find(ticket)?.who {
            Who::Sender(Some(kept)) if kept.will_wake(waker) => None,
            Who::Sender(kept) => kept.replace(waker.clone()),
            Who::Job(_) => None,
        }
    }

    /// The waker of a dispatch that waits, if it does.
    pub(crate) fn waker(&mut self, ticket: WaitTicket) -> Option<Waker> {
        if let Some(waker) = self.timed.get(&ticket) {
            return Some(waker.clone());
        }
        match &self.find(ticket)?.who {
            Who::Sender(waker) => waker.clone(),
            Who::Job(_) => None,
        }
    }

    /// Whether a dispatch waits, for a credit or for its time.
    pub(crate) fn waits(&self, ticket: WaitTicket) -> bool {
        self.timed.contains_key(&ticket) || self.queues().any(|queue| at(queue, ticket).is_some())
    }

    /// The wakers of the dispatches that wait for their own time.
    pub(crate) fn timed_wakers(&self) -> Vec<Waker> {
        self.timed.values().cloned().collect()
    }

    /// Removes a dispatch that goes away; returns its waker, to be dropped outside any borrow.
    pub(crate) fn leave(&mut self, ticket: WaitTicket) -> Option<Waker> {
        if let Some(waker) = self.timed.remove(&ticket) {
            return Some(waker);
        }
        let queue = self.queues_mut().find(|queue| at(queue, ticket).is_some())?;
        let place = at(queue, ticket).and_then(|at| queue.remove(at))?;
        self.aside.retain(|_, waiting| !waiting.is_empty());
        match place.who {
            Who::Sender(waker) => waker,
            Who::Job(_) => None,
        }
    }

    /// Removes the jobs that are no more.
    pub(crate) fn sweep(&mut self, is_live: impl Fn(SlotKey) -> bool) {
        let stays = |place: &Place| match place.who {
            Who::Job(key) => is_live(key),
            Who::Sender(_) => true,
        };
        self.queues_mut().for_each(|queue| queue.retain(stays));
        self.aside.retain(|_, waiting| !waiting.is_empty());
    }

    fn find(&mut self, ticket: WaitTicket) -> Option<&mut Place> {
        self.queues_mut().find_map(|queue| at(queue, ticket).map(|at| &mut queue[at]))
    }

    fn queues(&self) -> impl Iterator<Item = &VecDeque<Place>> {
        self.levels.iter().chain(self.aside.values())
    }

    fn queues_mut(&mut self) -> impl Iterator<Item = &mut VecDeque<Place>> {
        self.levels.iter_mut().chain(self.aside.values_mut())
    }
}

/// By its ticket.
fn insert(queue: &mut VecDeque<Place>, place: Place) {
    let at = queue.partition_point(|other| other.ticket < place.ticket);
    queue.insert(at, place);
}

fn at(queue: &VecDeque<Place>, ticket: WaitTicket) -> Option<usize> {
    queue.binary_search_by_key(&ticket, |place| place.ticket).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(priorities: &[(Priority, usize)]) -> WaitQueue {
        let mut queue = WaitQueue::default();
        for (priority, count) in priorities {
            for _ in 0..*count {
                queue.join(*priority, Who::Sender(None));
            }
        }
        queue
    }

    #[test]
    fn the_higher_priority_is_first_and_none_starves() {
        use Priority::{High, Low, Normal};
        let mut queue = joined(&[(Low, 32), (Normal, 32), (High, 32)]);
        let first: Vec<_> = (0..32).map(|_| queue.next().unwrap().priority).collect();
        assert_eq!(first[0], High);
        let count = |of| first.iter().filter(|priority| **priority == of).count();
        assert_eq!((count(High), count(Normal), count(Low)), (24, 6, 2));
    }

    #[test]
    fn within_a_priority_the_first_is_served_first_also_when_it_is_put_back() {
        let mut queue = joined(&[(Priority::Normal, 3)]);
        let (first, second) = (queue.next().unwrap(), queue.next().unwrap());
        let ticket = first.ticket;
        queue.put_back(first);
        queue.put_back(second);
        assert!(queue.waits(ticket));
        let order: Vec<_> = std::iter::from_fn(|| queue.next()).map(|place| place.ticket).collect();
        assert_eq!(order, [1, 2, 3]);
        assert!(queue.is_empty() && !queue.waits(ticket));
    }

    #[test]
    fn who_waits_for_a_mailbox_holds_up_those_for_that_one_only() {
        let mut queue = joined(&[(Priority::Normal, 4)]);
        for task_worker in [7, 7, 8] {
            let place = queue.next().unwrap();
            queue.set_aside(task_worker, place);
        }
        assert!(queue.waits_for(7) && queue.waits_for(8) && !queue.waits_for(0));
        assert!(queue.waits_before(7, 2) && !queue.waits_before(7, 1));
        assert_eq!((queue.len(), queue.next().unwrap().ticket, queue.is_empty()), (4, 4, true));
        queue.bring_back(|task_worker| task_worker == 7);
        assert_eq!(queue.next().map(|place| place.ticket), Some(1));
        assert!(queue.next().is_none() && queue.waits_for(7) && queue.waits(2));
        queue.leave(2);
        queue.leave(3);
        assert_eq!((queue.len(), queue.has_some_aside()), (0, false));
    }

    #[test]
    fn who_leaves_has_no_turn_and_a_grant_is_taken_once() {
        let mut queue = joined(&[(Priority::Normal, 3)]);
        assert!(queue.leave(2).is_none() && queue.len() == 2);
        queue.grant(1);
        assert!(queue.take_grant(1) && !queue.take_grant(1));
    }
}
