//! Waiting on a lane: jobs that sleep until they are due, and the line for credits (`wait_queue.rs`).
//!
//! A job that sleeps holds no credit. When it is due it joins the line, and takes a credit as its
//! turn comes; so what sleeps keeps nothing from what could run, and what is due comes before later
//! dispatches. What sleeps is bounded by places of its own, and the line by these and by the futures
//! of the dispatches that wait.
//!
//! Where other executors have filled the queue no credit of the lane's tells when there is room: it
//! looks again after a pause, and a place is kept for it meanwhile (`reservations.rs`).

use crate::pool::shared::PoolShared;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::pool::lane::Installed;
use crate::pool::lane::delay_queue::Due;
use crate::pool::lane::installed::{self, with_lane};
use crate::pool::lane::slots::Whereabouts;
use crate::pool::lane::wait_queue::{Place, Who};
use crate::pool::shared::{Command, WaitTicket};
use crate::pool::task::error::DispatchError;
use crate::pool::task::options::{Options, Priority};
use crate::pool::task::{SlotKey, TaskId};
use crate::sys::instant::after;
use crate::sys::panics::wake_quietly;

/// After which a queue that other executors have filled is tried again.
const FULL_PAUSE: Duration = Duration::from_millis(1);

/// A dispatch that may have to wait, as it is polled.
pub(crate) struct WaitTurn<'a> {
    pub(crate) ticket: Option<WaitTicket>,
    pub(crate) priority: Priority,
    pub(crate) task_worker: Option<usize>,
    pub(crate) waker: &'a Waker,
}

/// The place of a dispatch that waits. Tickets are a lane's own, and its future may be moved to
/// another thread, polled and dropped there.
#[derive(Clone, Copy)]
pub(crate) struct Held {
    pub(crate) executor: usize,
    pub(crate) ticket: WaitTicket,
}

impl Held {
    /// Gives the place up, and what was kept for it, from any thread.
    pub(crate) fn give_up<J: Send + 'static, O: Send + 'static>(
        self,
        pool: &Arc<PoolShared<J, O>>,
    ) {
        let here = with_lane(installed::key(pool), |lane: &Installed<J, O>| {
            let here = lane.executor == self.executor;
            if here {
                lane.leave_line(self.ticket);
            }
            here
        });
        if here != Some(true) {
            let lane = &pool.lanes[self.executor];
            lane.commands.push(Command::Leave(self.ticket));
            lane.doorbell.ring();
        }
    }

    /// The ticket, on the executor that gave it; elsewhere the place is given up.
    pub(crate) fn ticket_on<J: Send + 'static, O: Send + 'static>(
        self,
        lane: &Installed<J, O>,
    ) -> Option<WaitTicket> {
        if lane.executor == self.executor {
            return Some(self.ticket);
        }
        self.give_up(&lane.pool);
        None
    }
}

impl<J: Send + 'static, O: Send + 'static> Installed<J, O> {
    /// Accepts a job that sleeps until its time, if there is a place for it and it is not due after
    /// the drain.
    pub(crate) fn accept_sleeper(&self, key: SlotKey, job: J, at: Instant) -> Result<TaskId, J> {
        if !self.has_sleeping_place() || self.is_after_drain(at) {
            return Err(self.refuse(job));
        }
        self.sleeping.set(self.sleeping.get() + 1);
        self.keep(key, job, Whereabouts::Asleep);
        self.add_due(at, Due::Start(key));
        Ok(self.accept())
    }

    pub(crate) fn has_sleeping_place(&self) -> bool {
        self.sleeping.get() < self.sleeping_max
    }

    /// Whether a job that is due then would have to wait longer than the drain lasts.
    pub(crate) fn is_after_drain(&self, at: Instant) -> bool {
        self.drain_end.get().is_some_and(|end| at > end)
    }

    /// Why a job was not taken.
    pub(crate) fn refusal(&self, job: J, options: &Options) -> DispatchError<J> {
        match options.delay.is_some_and(|delay| self.is_after_drain(after(delay))) {
            true => DispatchError::Closed(job),
            false => DispatchError::Full(job),
        }
    }

    /// A job that was delayed, or is to be tried again, is due: it goes into the queue by the credit
    /// that it has, or waits in line for one.
    pub(crate) fn start(&self, key: SlotKey) {
        let priority = {
            let mut slots = self.slots.borrow_mut();
            let Some(slot) = slots.get(key) else { return };
            match slot.whereabouts {
                Whereabouts::Asleep => {
                    slot.whereabouts = Whereabouts::InLine;
                    Some(slot.options.priority)
                }
                Whereabouts::InLine => return,
                Whereabouts::Paused | Whereabouts::Away => None,
            }
        };
        match priority {
            Some(priority) => {
                self.sweep_line();
                self.wait_queue.borrow_mut().join(priority, Who::Job(key));
                self.serve_line();
            }
            None if !self.push_slot(key) => self.add_due(after(FULL_PAUSE), Due::Start(key)),
            None => {}
        }
    }

    /// Gives the credits that are left to those in line.
    pub(crate) fn serve_line(&self) {
        self.bring_back();
        self.give_credits();
        self.release_room_of_nobody();
    }

    fn give_credits(&self) {
        while self.credits_left.get() > 0 {
            let next = self.wait_queue.borrow_mut().next();
            let Some(Place { ticket, priority, who }) = next else { return };
            match who {
                Who::Sender(waker) => {
                    self.credits_left.set(self.credits_left.get() - 1);
                    self.wait_queue.borrow_mut().grant(ticket);
                    waker.into_iter().for_each(wake_quietly);
                }
                // It has ended meanwhile; its slot may be there still, for who awaits it.
                Who::Job(key) if !self.slots.borrow().is_in_line(key) => {}
                Who::Job(key) => {
                    if !self.serve_job(key, Place { ticket, priority, who }) {
                        return;
                    }
                }
            }
        }
    }

    /// Puts a job that is in line into the queue; false: that is full, and nobody else has a turn.
    fn serve_job(&self, key: SlotKey, place: Place) -> bool {
        let task_worker = self.slots.borrow_mut().get(key).and_then(|it| it.options.task_worker);
        let is_behind =
            task_worker.is_some_and(|it| self.wait_queue.borrow().waits_before(it, place.ticket));
        if !is_behind {
            self.credits_left.set(self.credits_left.get() - 1);
            if self.push_slot(key) {
                self.sleeping.set(self.sleeping.get() - 1);
                self.bring_back();
                return true;
            }
            self.credits_left.set(self.credits_left.get() + 1);
        }
        let priority = place.priority;
        match task_worker {
            Some(task_worker) => self.wait_queue.borrow_mut().set_aside(task_worker, place),
            None => self.wait_queue.borrow_mut().put_back(place),
        }
        self.look_later(task_worker.is_none().then_some(priority));
        task_worker.is_some()
    }

    /// Who stood aside for a mailbox that has room again is in line again.
    fn bring_back(&self) {
        if self.wait_queue.borrow().has_some_aside() {
            let queues = &self.pool.queues;
            self.wait_queue.borrow_mut().bring_back(|task_worker| queues.has_room_for(task_worker));
        }
    }

    /// The queue or a mailbox is full, and no credit of ours will tell when there is room: looks again
    /// after a pause. In the queue of a priority a place is kept meanwhile.
    fn look_later(&self, full: Option<Priority>) {
        full.into_iter().for_each(|priority| self.keep_room(priority));
        if !self.looks_again.replace(true) {
            self.add_due(after(FULL_PAUSE), Due::WaitQueue);
        }
    }

    fn keep_room(&self, priority: Priority) {
        let mut kept = self.kept_room.get();
        if !kept[priority as usize] {
            kept[priority as usize] = self.pool.queues.keep_room(self.executor, priority);
            self.kept_room.set(kept);
        }
    }

    pub(crate) fn look_again(&self) {
        self.looks_again.set(false);
        self.serve_line();
        if self.wait_queue.borrow().has_some_aside() {
            self.look_later(None);
        }
    }

    /// Jobs that were cancelled in line leave their places: these are at most twice the sleepers.
    fn sweep_line(&self) {
        let live = self.sleeping.get();
        let mut queue = self.wait_queue.borrow_mut();
        if queue.len() > 64 + 2 * live {
            let slots = self.slots.borrow();
            queue.sweep(|key| slots.is_in_line(key));
        }
    }

    /// Puts the job of a slot into the queue; false: there is no room.
    fn push_slot(&self, key: SlotKey) -> bool {
        let mut slots = self.slots.borrow_mut();
        let Some(slot) = slots.get(key) else { return true };
        let Some(job) = slot.job.take() else { return true };
        let mut envelope = self.envelope(job, slot.id, Some(key), Instant::now());
        envelope.attempt = slot.attempt;
        envelope.control = slot.control.clone();
        envelope.deadline = slot.deadline;
        envelope.again = slot.again;
        let options = slot.options;
        let before = std::mem::replace(&mut slot.whereabouts, Whereabouts::Away);
        drop(slots);
        match self.push(envelope, &options, false) {
            Ok(()) => true,
            Err(envelope) => {
                self.keep(key, envelope.job, before);
                false
            }
        }
    }

    /// Gives a credit back, to who waits for one first.
    pub(crate) fn release_credit(&self) {
        self.credits_left.set(self.credits_left.get() + 1);
        if self.somebody_waits() || self.wait_queue.borrow().has_some_aside() {
            self.serve_line();
        }
    }

    /// Dispatches by `dispatch` in the order of the line; without room the job comes back with its
    /// ticket.
    pub(crate) fn dispatch_in_turn<T>(
        &self,
        job: J,
        WaitTurn { ticket, priority, task_worker, waker }: WaitTurn<'_>,
        dispatch: impl FnOnce(&Self, J) -> Result<T, J>,
    ) -> Result<T, (J, WaitTicket)> {
        let is_granted =
            ticket.is_some_and(|ticket| self.wait_queue.borrow_mut().take_grant(ticket));
        if is_granted {
            // What was kept for it.
            self.credits_left.set(self.credits_left.get() + 1);
        }
        let waits = || self.somebody_waits_before(task_worker);
        let is_first = ticket.is_none() && self.credits_left.get() > 0 && !waits();
        let has_turn = is_granted || is_first;
        let job = match has_turn {
            true => match dispatch(self, job) {
                Ok(sent) => {
                    self.release_room_of_nobody();
                    return Ok(sent);
                }
                Err(job) => job,
            },
            false => job,
        };
        if let (Some(ticket), false) = (ticket, has_turn) {
            let old = self.wait_queue.borrow_mut().set_waker(ticket, waker);
            drop(old);
            return Err((job, ticket));
        }
        let who = Who::Sender(Some(waker.clone()));
        let mut queue = self.wait_queue.borrow_mut();
        let ticket = ticket.unwrap_or_else(|| queue.new_ticket());
        let place = Place { ticket, priority, who };
        let is_behind = task_worker.is_some_and(|task_worker| queue.waits_for(task_worker));
        match task_worker {
            Some(task_worker) if has_turn || is_behind => queue.set_aside(task_worker, place),
            _ => queue.put_back(place),
        }
        drop(queue);
        if has_turn || is_behind {
            self.look_later((has_turn && task_worker.is_none()).then_some(priority));
        }
        Err((job, ticket))
    }

    fn release_room_of_nobody(&self) {
        if self.kept_room.get() == [false; 3] {
            return;
        }
        let is_deserted = |priority: &Priority| self.wait_queue.borrow().is_deserted(*priority);
        Priority::ALL
            .into_iter()
            .filter(is_deserted)
            .for_each(|priority| self.release_room(priority));
    }

    /// A dispatch that waited goes away: what was kept for it is for the next.
    pub(crate) fn leave_line(&self, ticket: WaitTicket) {
        if self.wait_queue.borrow_mut().take_grant(ticket) {
            self.release_credit();
        } else {
            let waker = self.wait_queue.borrow_mut().leave(ticket);
            drop(waker);
        }
        self.release_room_of_nobody();
    }

    /// Wakes a dispatch that waits, whose own time has come.
    pub(crate) fn wake_sender(&self, ticket: WaitTicket) {
        let waker = self.wait_queue.borrow_mut().waker(ticket);
        waker.into_iter().for_each(wake_quietly);
    }

    /// The drain has begun: dispatches that wait for a later time learn that.
    pub(crate) fn wake_timed_senders(&self) {
        let wakers = self.wait_queue.borrow().timed_wakers();
        wakers.into_iter().for_each(wake_quietly);
    }
}
