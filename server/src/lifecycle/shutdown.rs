//! One flag that every executor waits for, raised from any thread.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

use sidecore_runtime::sys::published::Flag;

/// Tells a running server to shut down gracefully. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    shared: Arc<ShutdownShared>,
}

#[derive(Debug, Default)]
struct ShutdownShared {
    raised: Flag,
    /// A waker an executor that waits: as many as there are executors.
    wakers: Mutex<Vec<Waker>>,
}

impl Shutdown {
    /// A flag that is not raised.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins the shutdown; again does nothing.
    pub fn raise(&self) {
        self.shared.raised.raise();
        let wakers = std::mem::take(&mut *self.wakers());
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Whether it was raised.
    pub fn is_raised(&self) -> bool {
        self.shared.raised.is_raised()
    }

    /// Ready once it is raised.
    pub(crate) async fn raised(&self) {
        poll_fn(|context| {
            // Registered before the look: a raise after the look finds the waker.
            self.keep(context.waker());
            match self.is_raised() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }

    /// Keeps a waker once: an executor polls this with each connection that it accepts.
    fn keep(&self, waker: &Waker) {
        let mut wakers = self.wakers();
        if !wakers.iter().any(|kept| kept.will_wake(waker)) {
            wakers.push(waker.clone());
        }
    }

    fn wakers(&self) -> std::sync::MutexGuard<'_, Vec<Waker>> {
        self.shared.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Begins the shutdown of the whole server when an executor ends, for whatever reason: also where it
/// has not come so far as to be polled.
pub(crate) struct RaiseOnDrop(pub(crate) Shutdown);

impl Drop for RaiseOnDrop {
    fn drop(&mut self) {
        self.0.raise();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::Context;

    #[test]
    fn a_waiter_that_is_polled_often_is_kept_once_and_ends_when_raised() {
        let shutdown = Shutdown::new();
        let mut raised = pin!(shutdown.raised());
        // A clone, as the ones that are kept: only those are known to be alike.
        let waker = Waker::noop().clone();
        let mut context = Context::from_waker(&waker);
        for _ in 0..100 {
            assert!(raised.as_mut().poll(&mut context).is_pending());
        }
        assert_eq!(shutdown.wakers().len(), 1);
        shutdown.raise();
        assert!(raised.as_mut().poll(&mut context).is_ready());
    }
}
