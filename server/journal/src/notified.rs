//! Whether the writer was notified that settlements wait, so that it is notified once for many.
//!
//! Who settles pushes the settlement, then sets the flag; who found it clear notifies the writer.
//! The writer, notified, clears the flag, then takes what is there. Both are swaps, in one order: if
//! the set comes before the clear, the clear (Acquire) pairs with it (Release) and sees the push; if
//! it comes after, it finds the flag clear and notifies the writer again. Nothing goes the other
//! way: a set acquires nothing, and a clear releases nothing.
//!
//! A notice that a full channel refuses is not needed: the writer clears the flag after each group
//! that it takes from the channel.

use crate::sync::{AtomicBool, Ordering};

/// The flag. Set by who settles, cleared by the writer.
#[derive(Debug)]
pub(crate) struct WriterNotified(AtomicBool);

impl WriterNotified {
    pub(crate) fn new() -> Self {
        WriterNotified(AtomicBool::new(false))
    }

    /// After a push: whether the writer must be notified.
    #[must_use]
    pub(crate) fn set(&self) -> bool {
        !self.0.swap(true, Ordering::Release)
    }

    /// By the writer, before it looks.
    pub(crate) fn clear(&self) {
        self.0.swap(false, Ordering::Acquire);
    }
}
