//! Waiting for a future on a thread that may block.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use sidecore_runtime::executor;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Blocks this thread until a future is ready, for `limit` at most. An executor is not blocked: it
/// would wait for itself.
pub(super) fn wait<F: Future + Unpin>(future: &mut F, limit: Duration) -> Option<F::Output> {
    if executor::current_index().is_some() {
        return None;
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let start = Instant::now();
    loop {
        if let Poll::Ready(output) = Pin::new(&mut *future).poll(&mut context) {
            return Some(output);
        }
        match limit.checked_sub(start.elapsed()) {
            Some(left) if !left.is_zero() => thread::park_timeout(left),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::oneshot::oneshot;

    #[test]
    fn a_value_of_another_thread_ends_the_wait_and_so_does_its_limit() {
        let (sender, mut receiver) = oneshot();
        assert_eq!(wait(&mut receiver, Duration::from_millis(1)), None);
        let giver = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            sender.send(7)
        });
        assert_eq!(wait(&mut receiver, Duration::MAX), Some(Some(7)));
        giver.join().unwrap().unwrap();
    }
}
