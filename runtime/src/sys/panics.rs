//! Where panics of the user's code end: calls into it, and destructors of its values.
//!
//! Jobs, outputs, callbacks, worker states, futures, wakers and panic payloads are the user's. Each is
//! dropped by [`drop_quietly`] wherever a panic of its destructor would otherwise take more with it
//! than that value: an executor, a task worker, a connection, a lock.

use std::any::Any;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

/// Drops a value whose destructor may panic; the panic ends there.
pub fn drop_quietly<T>(value: T) {
    let _ = catch(|| drop(value));
}

/// A value of the user's that others hold together: whoever drops it last, a panic of its destructor
/// ends there.
#[derive(Debug)]
pub struct Quiet<T>(Option<T>);

impl<T> Quiet<T> {
    /// Holds it.
    pub fn new(value: T) -> Self {
        Quiet(Some(value))
    }
}

impl<T> Deref for Quiet<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("it is there until this is dropped")
    }
}

impl<T> Drop for Quiet<T> {
    fn drop(&mut self) {
        drop_quietly(self.0.take());
    }
}

/// Wakes whoever awaits something, by a waker that may be of the user's making: a panic of it costs
/// that wake.
pub fn wake_quietly(waker: Waker) {
    let _ = catch(|| waker.wake());
}

/// The same of one that is kept.
pub fn wake_by_ref_quietly(waker: &Waker) {
    let _ = catch(|| waker.wake_by_ref());
}

/// Calls `call`; a panic ends there. The error is its text.
///
/// # Errors
/// The panic's message.
pub fn caught<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(message)
}

/// The same for whom the text is of no use. None: it panicked.
pub fn catch<T>(call: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(value) => Some(value),
        Err(payload) => {
            if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
                // A payload that panics while it is dropped has another; a leak of a few bytes is
                // the end of it.
                std::mem::forget(again);
            }
            None
        }
    }
}

/// The text of a panic; its payload is dropped where a panic of its destructor ends.
pub fn message(payload: Box<dyn Any + Send>) -> String {
    let message = match payload.downcast_ref::<&str>() {
        Some(text) => (*text).to_owned(),
        None => payload
            .downcast_ref::<String>()
            .cloned()
            .unwrap_or_else(|| "a payload that is no text".to_owned()),
    };
    drop_quietly(payload);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Panics each time a value of it is dropped, with another such value.
    struct Endless;
    impl Drop for Endless {
        fn drop(&mut self) {
            std::panic::panic_any(Endless);
        }
    }

    #[test]
    fn a_panic_of_a_destructor_ends_where_the_value_is_dropped() {
        drop_quietly(Endless);
    }

    #[test]
    fn a_panic_whose_payload_panics_ends_at_the_call() {
        assert!(catch(|| std::panic::panic_any(Endless)).is_none());
        assert_eq!(catch(|| 7), Some(7));
    }

    #[test]
    fn a_panic_has_a_text_whatever_its_payload() {
        assert_eq!(caught(|| 7), Ok(7));
        let text = |panics: fn()| caught(panics).unwrap_err();
        assert_eq!(text(|| panic!("plain")), "plain");
        assert_eq!(text(|| panic!("of {}", 7)), "of 7");
        assert_eq!(text(|| std::panic::panic_any(Endless)), "a payload that is no text");
    }
}
