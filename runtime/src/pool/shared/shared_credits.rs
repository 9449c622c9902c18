//! Credits that several threads share: those of all threads that are no executors (`external.rs`).
//!
//! ```text
//!   who dispatches                         the task worker, with the finish
//!     left > 0: CAS left - 1 (Acquire)       left += 1 (Release)
//!     push; refused: left += 1 (Release)
//! ```
//!
//! Whoever takes a credit sees what was done before it was given back: above all, that the job which
//! it stood for has left the queue. All changes are read-modify-writes, so it sees this of each
//! credit that was given back until then, whoever has taken others meanwhile.

use crate::sys::sync::{AtomicUsize, Ordering};

/// See the module. On a cache line of its own: task workers write to it with each finish, and what
/// is beside it is the dispatchers'.
#[repr(align(128))]
pub(crate) struct SharedCredits {
    left: AtomicUsize,
}

impl SharedCredits {
    pub(crate) fn new(credits: usize) -> Self {
        SharedCredits { left: AtomicUsize::new(credits) }
    }

    /// Takes a credit; false: there is none.
    #[must_use]
    pub(crate) fn take(&self) -> bool {
        let mut left = self.left.load(Ordering::Relaxed);
        while left > 0 {
            let (taken, relaxed) = (Ordering::Acquire, Ordering::Relaxed);
            match self.left.compare_exchange(left, left - 1, taken, relaxed) {
                Ok(_) => return true,
                Err(current) => left = current,
            }
        }
        false
    }

    /// Gives one back.
    pub(crate) fn give_back(&self) {
        self.left.fetch_add(1, Ordering::Release);
    }
}
