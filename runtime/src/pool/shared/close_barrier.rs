//! The gate through which threads that are no executors dispatch: once it is shut none comes
//! through, and whoever shuts it waits for those who are within.
//!
//! ```text
//!   a dispatcher                          who shuts
//!   enter: within += 1                    shut = true
//!          fence(SeqCst)                  fence(SeqCst)
//!          shut: leave, refused           within > 0: wait, look again
//!   push                                  what was pushed is seen, and nothing follows
//!   leave: within -= 1 (Release)          (within is read with Acquire)
//! ```
//!
//! Of the two fences one is first: either the dispatcher sees that the gate is shut, or who shuts it
//! sees the dispatcher within, and then, when it has left, what it pushed.

use crate::sys::sync::{AtomicBool, AtomicU32, Ordering, fence, yield_now};

/// See the module.
pub(crate) struct CloseBarrier {
    /// Dispatchers between `enter` and `leave`: written by each of them.
    within: AtomicU32,
    /// Set once, by `shut`.
    shut: AtomicBool,
}

impl CloseBarrier {
    pub(crate) fn new() -> Self {
        CloseBarrier { within: AtomicU32::new(0), shut: AtomicBool::new(false) }
    }

    /// Whether the caller is within, and must leave; false: the gate is shut.
    #[must_use]
    pub(crate) fn enter(&self) -> bool {
        self.within.fetch_add(1, Ordering::Relaxed);
        // Pairs with the fence of `shut`.
        fence(Ordering::SeqCst);
        let open = !self.shut.load(Ordering::Relaxed);
        if !open {
            self.leave();
        }
        open
    }

    /// After the push.
    pub(crate) fn leave(&self) {
        self.within.fetch_sub(1, Ordering::Release);
    }

    /// Lets nobody in any more, and waits until those within have left.
    pub(crate) fn shut(&self) {
        self.shut.store(true, Ordering::Relaxed);
        // Pairs with the fence of `enter`.
        fence(Ordering::SeqCst);
        while self.within.load(Ordering::Acquire) > 0 {
            yield_now();
        }
    }
}
