//! One bit an executor: whether it is about to sleep and wants its doorbell rung.
//!
//! ```text
//!   executor (drainer)                      any other thread (producer)
//!   arm:  armed.swap(true)                  push to an inbound queue
//!         fence(SeqCst)                     must_ring: fence(SeqCst)
//!         look at every inbound queue                  armed.load && armed.swap(false)
//!         empty: sleep until the doorbell                  won: ring the doorbell
//!   disarm when awake: armed = false
//! ```
//!
//! The two fences are totally ordered. If the producer's is first, its push is seen by the
//! drainer's look; if the drainer's is first, the producer sees `armed`. So a push is never missed
//! by both. The swap in `must_ring` lets one producer ring of all that push while it is armed. Who
//! finds the bit cleared by another need not: the drainer arms it again before it sleeps, and that
//! fence comes after the finder's, or the finder would have seen the bit set anew.
//!
//! The bit itself orders nothing, since each look at a queue that decides stands behind a fence: it
//! is Relaxed. `arm` is a swap, not a store, so that it has its place behind the swap whose result it
//! replaces; loom, which knows no such place for a store, finds a push that is missed.

use crate::sys::sync::{AtomicBool, Ordering, fence};

/// True from `arm` until a producer takes it on itself to ring, or the executor is awake.
///
/// Set by the executor; cleared by it, or by the one producer that then rings.
pub(crate) struct Armed {
    armed: AtomicBool,
}

impl Armed {
    pub(crate) fn new() -> Self {
        Armed { armed: AtomicBool::new(false) }
    }

    /// The executor is about to sleep; it must look at every inbound queue after this.
    pub(crate) fn arm(&self) {
        self.armed.swap(true, Ordering::Relaxed);
        // Pairs with the fence of `must_ring`.
        fence(Ordering::SeqCst);
    }

    /// The executor is awake and looks at its queues anyway.
    pub(crate) fn disarm(&self) {
        self.armed.store(false, Ordering::Relaxed);
    }

    /// After a push: whether this thread has to ring the doorbell.
    #[must_use]
    pub(crate) fn must_ring(&self) -> bool {
        // Pairs with the fence of `arm`.
        fence(Ordering::SeqCst);
        self.armed.load(Ordering::Relaxed) && self.armed.swap(false, Ordering::Relaxed)
    }
}
