//! Whether an executor has come so far: a question that a local task of it answers.
//!
//! A finish is counted and its callback called without the executor doing anything else between.
//! So who sees the count, then asks and is answered, knows that the callback has returned.

use std::future::poll_fn;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

/// Shared by a test's thread and one executor.
#[derive(Default)]
pub(super) struct Echo {
    state: Mutex<EchoState>,
    answered: Condvar,
}

#[derive(Default)]
struct EchoState {
    asked: u64,
    answered: u64,
    waker: Option<Waker>,
}

impl Echo {
    /// Answers for ever, on the executor.
    pub(super) async fn answer(&self) {
        poll_fn(|context| {
            let mut state = self.state();
            state.answered = state.asked;
            state.waker = Some(context.waker().clone());
            self.answered.notify_all();
            Poll::<()>::Pending
        })
        .await;
    }

    /// Asks; false: no answer came in time.
    pub(super) fn ask(&self, limit: Duration) -> bool {
        let mut state = self.state();
        state.asked += 1;
        let asked = state.asked;
        if let Some(waker) = state.waker.take() {
            drop(state);
            waker.wake();
            state = self.state();
        }
        let unanswered = |state: &mut EchoState| state.answered < asked;
        let waited = self.answered.wait_timeout_while(state, limit, unanswered);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Nothing panics under the lock.
    fn state(&self) -> MutexGuard<'_, EchoState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
