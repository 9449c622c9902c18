//! A task's right to finish, once: consumed by its finish, and by nothing else.

use std::sync::Arc;
use std::time::Duration;

use rtrb::{Consumer, Producer, RingBuffer};

use crate::pool::shared::PoolShared;
use crate::pool::shared::external::External;
use crate::pool::task::error::TaskError;
use crate::pool::task::{Finish, FinishMessage, Receiver, SlotKey, TaskId};
use crate::sys::doorbell::Doorbell;
use crate::sys::panics::catch;

/// The way home to one executor, held by one task worker.
pub(crate) struct FinishSender<J, O> {
    pub(crate) ring: Producer<FinishMessage<J, O>>,
    pub(crate) doorbell: Arc<Doorbell>,
}

/// The consumers of an executor's finish rings, one for each task worker.
pub(crate) type Finishes<J, O> = Vec<Consumer<FinishMessage<J, O>>>;

/// A finish ring for each worker, spares too, and executor: the producers by worker, the consumers
/// by executor. Each holds as many finishes as the executor has credits.
pub(crate) fn rings<J, O>(
    shared: &PoolShared<J, O>,
    credits: usize,
) -> (Vec<Vec<FinishSender<J, O>>>, Vec<Finishes<J, O>>) {
    let mut finishes: Vec<Finishes<J, O>> = shared.lanes.iter().map(|_| Vec::new()).collect();
    let mut senders = Vec::new();
    for _ in &shared.workers {
        let to_lanes = shared.lanes.iter().zip(&mut finishes).map(|(lane, finishes)| {
            let (ring, consumer) = RingBuffer::new(credits);
            finishes.push(consumer);
            FinishSender { ring, doorbell: lane.doorbell.clone() }
        });
        senders.push(to_lanes.collect());
    }
    (senders, finishes)
}

/// Where a finish goes.
pub(crate) enum FinishRoute<'a, J, O> {
    /// Through the ring of the executor that dispatched the task.
    Ring { sender: &'a mut FinishSender<J, O>, slot: Option<SlotKey> },
    /// To a receiver, here.
    External { external: &'a External<O>, receiver: Receiver<O> },
    /// It has been sent.
    Sent,
}

/// The finish that a running task owes. Dropping it without [`finish`](Self::finish) still
/// delivers one, as [`TaskError::Lost`].
pub(crate) struct FinishGuard<'a, J, O> {
    pub(crate) way: FinishRoute<'a, J, O>,
    pub(crate) id: TaskId,
    pub(crate) task_worker: usize,
    pub(crate) waited: Duration,
    pub(crate) attempts: u32,
}

impl<J, O> FinishGuard<'_, J, O> {
    /// Sends the outcome home and wakes the executor if it sleeps. With a job that may be tried
    /// again.
    pub(crate) fn finish(
        mut self,
        outcome: Result<O, TaskError>,
        ran: Option<Duration>,
        job: Option<Box<J>>,
    ) {
        self.send(outcome, ran, job);
    }

    fn send(&mut self, outcome: Result<O, TaskError>, ran: Option<Duration>, job: Option<Box<J>>) {
        let finish = Finish {
            id: self.id,
            outcome,
            task_worker: ran.is_some().then_some(self.task_worker),
            waited: self.waited,
            ran: ran.unwrap_or_default(),
            attempts: self.attempts,
        };
        match std::mem::replace(&mut self.way, FinishRoute::Sent) {
            FinishRoute::Ring { sender, slot } => {
                // The ring holds as many as the executor has credits, and this task holds one of
                // them until its finish is popped: there is room (the credits model checks it).
                // rtrb's push publishes with Release, its pop reads with Acquire.
                let pushed = sender.ring.push(FinishMessage { finish, slot, job });
                // Lost in silence it would never be missed: the worker reports the panic.
                assert!(pushed.is_ok(), "credits bound the finish ring");
                sender.doorbell.ring();
            }
            FinishRoute::External { external, receiver } => {
                // A receiver's panic is its own; the task worker lives on.
                let _ = catch(|| external.deliver(receiver, finish));
            }
            FinishRoute::Sent => {}
        }
    }
}

impl<J, O> Drop for FinishGuard<'_, J, O> {
    fn drop(&mut self) {
        if !matches!(self.way, FinishRoute::Sent) {
            self.send(Err(TaskError::Lost), None, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More finishes than credits, which no way leads to: the last is not lost in silence.
    #[test]
    #[should_panic(expected = "credits bound the finish ring")]
    fn a_finish_that_finds_no_room_panics() {
        let (ring, mut consumer) = RingBuffer::<FinishMessage<(), u64>>::new(1);
        let mut sender = FinishSender { ring, doorbell: Arc::new(Doorbell::new().unwrap()) };
        let mut finish = |id| {
            let way = FinishRoute::Ring { sender: &mut sender, slot: None };
            let waited = Duration::ZERO;
            FinishGuard { way, id, task_worker: 0, waited, attempts: 1 }.finish(Ok(id), None, None);
        };
        finish(1);
        assert_eq!(consumer.pop().map(|message| message.finish.id), Ok(1));
        finish(2);
        finish(3);
    }
}
