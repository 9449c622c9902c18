//! Jobs of threads that are no executors, on their way to executor 0.
//!
//! Such a thread begins the write itself, so that a refusal is told at once. What follows the write
//! needs an executor, which settles the record when the job is over: one task of executor 0 takes
//! the offers and has each placed by a local task of its own, as if it had been dispatched there.
//!
//! Bounded by the journal's `pending_max`, as each offer has a place in the journal before it is
//! made. Executor 0's end closes the intake: what waits in it is told so, and runs after a restart
//! if it had become durable.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use sidecore_runtime::executor::spawn_local;

use crate::durable::dispatch::{Answer, Parcel, WriteResult};
use crate::durable::finish::Acknowledged;
use crate::durable::oneshot::{Receiver, Sender};
use crate::durable::plan::Plan;
use crate::durable::{DurableJob, DurableTasks};

/// A job whose write has begun.
pub(super) struct Offer<J, O> {
    pub(super) job: J,
    pub(super) plan: Plan,
    pub(super) durable: Receiver<WriteResult>,
    /// Who dispatched it, and who awaits its output.
    pub(super) told: Sender<Answer<J>>,
    pub(super) awaiter: Option<Sender<Acknowledged<O>>>,
}

/// See the module.
pub(super) struct Intake<J, O> {
    state: Mutex<IntakeState<J, O>>,
}

struct IntakeState<J, O> {
    offers: VecDeque<Offer<J, O>>,
    taker: Option<Waker>,
    is_closed: bool,
}

impl<J, O> Intake<J, O> {
    pub(super) fn new() -> Self {
        let state = IntakeState { offers: VecDeque::new(), taker: None, is_closed: false };
        Intake { state: Mutex::new(state) }
    }

    /// Whether executor 0 has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// Hands an offer over. Where nobody takes it any more it is dropped, which tells who waits.
    pub(super) fn push(&self, offer: Offer<J, O>) {
        let mut state = self.lock();
        let refused = match state.is_closed {
            true => Some(offer),
            false => {
                state.offers.push_back(offer);
                None
            }
        };
        let taker = state.taker.take();
        drop(state);
        drop(refused);
        if let Some(taker) = taker {
            taker.wake();
        }
    }

    fn poll_offer(&self, context: &Context<'_>) -> Poll<Offer<J, O>> {
        let mut state = self.lock();
        match state.offers.pop_front() {
            Some(offer) => Poll::Ready(offer),
            None => {
                state.taker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        let left = std::mem::take(&mut state.offers);
        drop(state);
        // They wake who waits: not under the lock.
        drop(left);
    }

    /// Nothing of the user's runs under the lock.
    fn lock(&self) -> MutexGuard<'_, IntakeState<J, O>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has what is offered placed by this executor, until it ends.
pub(super) fn take_offers<J: DurableJob, O: Send + 'static>(tasks: DurableTasks<J, O>) {
    let closing = CloseOnDrop(tasks.intake.clone());
    spawn_local(async move {
        let closing = closing;
        loop {
            let offer = poll_fn(|context| closing.0.poll_offer(context)).await;
            let Offer { job, plan, durable, told, awaiter } = offer;
            let (shared, pool) = (tasks.shared.clone(), tasks.tasks.clone());
            let parcel = Parcel { shared, tasks: pool, job, plan, on_dispatch: None };
            parcel.place_later(durable, told, awaiter);
        }
    });
}

struct CloseOnDrop<J, O>(Arc<Intake<J, O>>);

impl<J, O> Drop for CloseOnDrop<J, O> {
    fn drop(&mut self) {
        self.0.close();
    }
}
