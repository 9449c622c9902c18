//! One value, from whoever comes to have it to the future that waits for it, on any threads.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Gives the value. Dropping it unused tells the receiver that none will come.
pub(super) struct Sender<T> {
    place: Arc<OneshotPlace<T>>,
}

/// The future of the value: `None` if none will come.
pub(super) struct Receiver<T> {
    place: Arc<OneshotPlace<T>>,
}

struct OneshotPlace<T> {
    content: Mutex<OneshotContent<T>>,
}

/// Nothing that can panic runs under its lock, and no waker is woken.
struct OneshotContent<T> {
    value: Option<T>,
    waker: Option<Waker>,
    sender_is_gone: bool,
    receiver_is_gone: bool,
}

pub(super) fn oneshot<T>() -> (Sender<T>, Receiver<T>) {
    let content = Mutex::new(OneshotContent {
        value: None,
        waker: None,
        sender_is_gone: false,
        receiver_is_gone: false,
    });
    let place = Arc::new(OneshotPlace { content });
    (Sender { place: place.clone() }, Receiver { place })
}

impl<T> OneshotPlace<T> {
    fn lock(&self) -> MutexGuard<'_, OneshotContent<T>> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Sender<T> {
    /// Gives the value, or gets it back where nobody waits for it any more.
    pub(super) fn send(self, value: T) -> Result<(), T> {
        let mut content = self.place.lock();
        if content.receiver_is_gone {
            return Err(value);
        }
        content.value = Some(value);
        drop(content);
        // The receiver is woken as this sender goes.
        Ok(())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut content = self.place.lock();
        content.sender_is_gone = true;
        let waker = content.waker.take();
        drop(content);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Receiver<T> {
    /// Waits no more: the value, if it came before.
    pub(super) fn leave(&mut self) -> Option<T> {
        let mut content = self.place.lock();
        content.receiver_is_gone = true;
        content.value.take()
    }
}

impl<T> Future for Receiver<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut content = self.place.lock();
        if let Some(value) = content.value.take() {
            return Poll::Ready(Some(value));
        }
        if content.sender_is_gone {
            return Poll::Ready(None);
        }
        content.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        // A value that nobody took is dropped with its destructor outside the lock.
        drop(self.leave());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;

    fn poll<T>(receiver: &mut Receiver<T>) -> Poll<Option<T>> {
        pin!(receiver).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_value_is_received_once_then_none() {
        let (sender, mut receiver) = oneshot();
        assert!(poll(&mut receiver).is_pending());
        sender.send(7).unwrap();
        assert_eq!(poll(&mut receiver), Poll::Ready(Some(7)));
        assert_eq!(poll(&mut receiver), Poll::Ready(None));
    }

    #[test]
    fn who_is_gone_is_noticed_by_the_other() {
        let (sender, mut receiver) = oneshot::<u8>();
        drop(sender);
        assert_eq!(poll(&mut receiver), Poll::Ready(None));
        let (sender, receiver) = oneshot();
        drop(receiver);
        assert_eq!(sender.send(7), Err(7));
        let (sender, mut receiver) = oneshot();
        sender.send(7).unwrap();
        assert_eq!(receiver.leave(), Some(7));
    }
}
