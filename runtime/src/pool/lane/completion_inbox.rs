//! How outcomes come home: from the finish rings, or decided here by a cancellation or a deadline.
//!
//! Each accepted task is delivered once. Where that is before its finish came home, the slot is gone
//! by then, or [`Sink::Done`] until its future has taken it, and the finish only gives the credit
//! back.

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::executor::Inbox;
use crate::pool::lane::delay_queue::Due;
use crate::pool::lane::slots::{Sink, Whereabouts};
use crate::pool::lane::{DeadLetter, Installed};
use crate::pool::shared::Command;
use crate::pool::task::control::Stopped;
use crate::pool::task::error::TaskError;
use crate::pool::task::{Finish, FinishMessage, SlotKey};
use crate::sys::instant::after;
use crate::sys::panics::{catch, drop_quietly, wake_quietly};

/// What becomes of a job that failed and was kept for another attempt.
enum Attempt<J> {
    /// Another one, for which it sleeps without a credit.
    Asleep,
    /// Another one, until which it keeps its credit.
    Paused,
    /// There is no other.
    Last(J),
    /// There would be, but not within the drain.
    NoTime(J),
    /// It was cancelled, or its deadline passed, since the attempt ended.
    Withdrawn(J),
}

impl<J: Send + 'static, O: Send + 'static> Installed<J, O> {
    pub(crate) fn poll_slot(
        &self,
        key: SlotKey,
        context: &mut Context<'_>,
    ) -> Poll<Option<Finish<O>>> {
        let mut slots = self.slots.borrow_mut();
        let Some(slot) = slots.get(key) else { return Poll::Ready(None) };
        if let Sink::Waiting(kept) = &mut slot.sink {
            let waker = context.waker();
            let old = match kept.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
                true => None,
                false => kept.replace(waker.clone()),
            };
            // A waker's destructor may drop the task that it wakes, and that what awaits here.
            drop(slots);
            drop(old);
            return Poll::Pending;
        }
        let slot = slots.remove(key);
        drop(slots);
        match slot.map(|slot| slot.sink) {
            Some(Sink::Done(finish)) => Poll::Ready(Some(finish)),
            _ => Poll::Ready(None),
        }
    }

    /// The future is gone: its finish, come or coming, goes to `on_finish`.
    pub(crate) fn detach(&self, key: SlotKey) {
        let mut slots = self.slots.borrow_mut();
        let Some(slot) = slots.get(key) else { return };
        let sink = std::mem::replace(&mut slot.sink, Sink::OnFinish);
        let over = if let Sink::Done(_) = &sink { slots.remove(key) } else { None };
        drop(slots);
        match sink {
            Sink::Done(finish) => self.orphans.borrow_mut().push_back(finish),
            sink => drop_quietly(sink),
        }
        drop_quietly(over);
    }

    fn pop(&self, at: usize) -> Option<FinishMessage<J, O>> {
        self.rings.borrow_mut()[at].pop().ok()
    }

    /// Takes in a finish: another attempt, the outcome, or only the credit.
    fn take_in(&self, message: FinishMessage<J, O>) {
        let FinishMessage { finish, slot, job } = message;
        let Some(key) = slot else {
            self.release_credit();
            self.count(&finish);
            return self.call(|| (self.on_finish)(finish));
        };
        let dead = match job.map(|job| self.try_again(key, *job, &finish)) {
            Some(Attempt::Asleep) => return self.release_credit(),
            Some(Attempt::Paused) => return,
            Some(Attempt::Withdrawn(job)) => {
                // Who withdrew it has told that, or is about to (`Command::Withdrawn`, `expire`).
                drop_quietly(job);
                drop_quietly(finish);
                return self.release_credit();
            }
            Some(Attempt::NoTime(job)) => {
                drop_quietly(job);
                self.release_credit();
                return self.deliver(key, Finish { outcome: Err(TaskError::Lost), ..finish });
            }
            Some(Attempt::Last(job)) => Some(job),
            None => None,
        };
        self.release_credit();
        if let Some(job) = dead {
            self.bury(key, job, &finish);
        }
        self.deliver(key, finish);
    }

    /// Shows a job whose last attempt has failed to the dead-letter callback, or drops it.
    fn bury(&self, key: SlotKey, job: J, finish: &Finish<O>) {
        match (&self.on_dead, &finish.outcome) {
            (Some(on_dead), Err(error)) if !self.is_decided(key) => {
                let (id, attempts, error) = (finish.id, finish.attempts, error.clone());
                self.call(|| on_dead(DeadLetter { id, job, attempts, error }));
            }
            // The destructor is the user's: a panic in it would end the executor.
            _ => drop_quietly(job),
        }
    }

    /// Whether the outcome was delivered before.
    fn is_decided(&self, key: SlotKey) -> bool {
        let mut slots = self.slots.borrow_mut();
        slots.get(key).is_none_or(|slot| matches!(slot.sink, Sink::Done(_)))
    }

    /// Plans another attempt, where one is left and wanted; else gives the job back.
    fn try_again(&self, key: SlotKey, job: J, finish: &Finish<O>) -> Attempt<J> {
        let mut slots = self.slots.borrow_mut();
        let Some(slot) = slots.get(key) else { return Attempt::Last(job) };
        let Some(control) = &slot.control else { return Attempt::Last(job) };
        let retry = slot.options.retry.filter(|retry| slot.attempt <= retry.retries);
        let is_wanted = !matches!(slot.sink, Sink::Done(_))
            && finish.outcome.as_ref().is_err_and(TaskError::may_be_retried);
        let at = retry.filter(|_| is_wanted).map(|retry| after(retry.pause(slot.attempt)));
        let no_time = at.is_some_and(|at| self.is_after_drain(at));
        let Some(at) = at.filter(|_| !no_time && control.requeue()) else {
            return match control.give_up() {
                true if no_time => Attempt::NoTime(job),
                true => Attempt::Last(job),
                false => Attempt::Withdrawn(job),
            };
        };
        slot.attempt += 1;
        drop(slots);
        self.outside().stats.retried.add(1);
        let sleeps = self.has_sleeping_place();
        if sleeps {
            self.sleeping.set(self.sleeping.get() + 1);
        }
        let whereabouts = if sleeps { Whereabouts::Asleep } else { Whereabouts::Paused };
        self.keep(key, job, whereabouts);
        self.add_due(at, Due::Start(key));
        if sleeps { Attempt::Asleep } else { Attempt::Paused }
    }

    /// To the slot's future or callback, else to `on_finish`; nowhere, if the outcome was delivered
    /// before.
    fn deliver(&self, key: SlotKey, finish: Finish<O>) {
        let mut slots = self.slots.borrow_mut();
        let Some(slot) = slots.get(key).filter(|slot| !matches!(slot.sink, Sink::Done(_))) else {
            drop(slots);
            return drop_quietly(finish);
        };
        self.count(&finish);
        if let Sink::Waiting(waker) = &mut slot.sink {
            let waker = waker.take();
            slot.sink = Sink::Done(finish);
            drop(slots);
            waker.into_iter().for_each(wake_quietly);
            return;
        }
        let slot = slots.remove(key);
        drop(slots);
        match slot.map(|slot| slot.sink) {
            Some(Sink::Callback(callback)) => self.call(|| callback(finish)),
            _ => self.call(|| (self.on_finish)(finish)),
        }
    }

    fn count(&self, finish: &Finish<O>) {
        self.in_flight.set(self.in_flight.get() - 1);
        self.outside().stats.count_outcome(&finish.outcome);
    }

    /// Calls back; a panic ends there.
    fn call(&self, callback: impl FnOnce()) {
        if catch(callback).is_none() {
            self.outside().stats.callback_panics.add(1);
        }
    }

    /// Ends a task here, before its finish comes home or without one. `attempted`: the attempt whose
    /// number its slot has was begun.
    fn end_early(&self, key: SlotKey, error: TaskError, attempted: bool) {
        if self.is_decided(key) {
            return;
        }
        let mut slots = self.slots.borrow_mut();
        let Some(slot) = slots.get(key) else { return };
        let (id, attempts) = (slot.id, slot.attempt - u32::from(!attempted));
        let (job, whereabouts) = (slot.job.take(), slot.whereabouts);
        // Its finish, if it is away, brings the credit.
        slot.whereabouts = Whereabouts::Away;
        drop(slots);
        drop_quietly(job);
        match whereabouts {
            Whereabouts::Away => {}
            Whereabouts::Asleep | Whereabouts::InLine => {
                self.sleeping.set(self.sleeping.get() - 1);
            }
            Whereabouts::Paused => self.release_credit(),
        }
        let (waited, ran) = (Duration::ZERO, Duration::ZERO);
        let outcome = Err(error);
        self.deliver(key, Finish { id, outcome, task_worker: None, waited, ran, attempts });
    }

    /// The deadline of a task has passed.
    fn expire(&self, key: SlotKey) {
        let control = {
            let mut slots = self.slots.borrow_mut();
            slots.get(key).and_then(|slot| slot.control.clone())
        };
        let Some(control) = control else { return };
        match control.expire() {
            Stopped::Withdrawn { attempted } => self.end_early(key, TaskError::TimedOut, attempted),
            // It is let run, and what it returns is thrown away.
            Stopped::Asked => self.end_early(key, TaskError::TimedOut, true),
            // It is on its way home, and counts; or it is cancelled, which another command says.
            Stopped::Over | Stopped::CancelledBefore => {}
        }
    }

    fn obey(&self, command: Command) {
        match command {
            Command::Detach(key) => self.detach(key),
            Command::Leave(ticket) => self.leave_line(ticket),
            Command::Withdrawn { slot, attempted } => {
                self.end_early(slot, TaskError::Cancelled, attempted);
            }
        }
    }

    fn do_what_is_due(&self) {
        if self.delay_queue.borrow().next_at().is_none() {
            return;
        }
        let now = Instant::now();
        while let Some(due) = self.next_due_entry(now) {
            match due {
                Due::Start(key) => self.start(key),
                Due::Expire(key) => self.expire(key),
                Due::Sender(ticket) => self.wake_sender(ticket),
                Due::WaitQueue => self.look_again(),
            }
        }
    }

    fn next_due_entry(&self, now: Instant) -> Option<Due> {
        self.delay_queue.borrow_mut().pop(now)
    }

    fn next_orphan(&self) -> Option<Finish<O>> {
        self.orphans.borrow_mut().pop_front()
    }
}

impl<J: Send + 'static, O: Send + 'static> Inbox for Installed<J, O> {
    fn drain(&self) -> usize {
        let mut taken = 0;
        // No more than are out now: a callback that dispatches cannot keep the loop here.
        let limit = self.credits - self.credits_left.get();
        let rings = self.rings.borrow().len();
        for at in 0..rings {
            while taken < limit {
                let Some(message) = self.pop(at) else { break };
                self.take_in(message);
                taken += 1;
            }
        }
        // A pop of an empty queue costs a fence, and each turn looks.
        while !self.outside().commands.is_empty()
            && let Some(command) = self.outside().commands.pop()
        {
            self.obey(command);
        }
        while let Some(finish) = self.next_orphan() {
            self.call(|| (self.on_finish)(finish));
        }
        self.do_what_is_due();
        taken
    }

    fn has_arrivals(&self) -> bool {
        !self.orphans.borrow().is_empty()
            || !self.outside().commands.is_empty()
            || self.rings.borrow().iter().any(|ring| !ring.is_empty())
    }

    fn next_due(&self) -> Option<Instant> {
        self.delay_queue.borrow().next_at()
    }

    fn in_flight(&self) -> usize {
        self.in_flight.get() + self.orphans.borrow().len()
    }

    fn begin_drain(&self, end: Instant) {
        self.drain_end.set(Some(end));
        self.wake_timed_senders();
        let late = self.delay_queue.borrow().starts_after(end);
        for key in late {
            let control = self.slots.borrow_mut().get(key).and_then(|slot| slot.control.clone());
            // A handle that withdraws it at this moment has told that, and a command says so.
            if control.is_none_or(|control| matches!(control.expire(), Stopped::Withdrawn { .. })) {
                self.end_early(key, TaskError::Lost, false);
            }
        }
    }

    fn flush_wakes(&self, batching: bool) {
        if self.wake_batch.turn(batching, Instant::now) {
            self.pool.park.notify();
        }
    }
}
