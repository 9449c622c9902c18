//! Whether the writer was told that settlements wait, so that it is told once for many.
//!
//! Who settles pushes the settlement, then raises the flag; who found it low tells the writer. The
//! writer, told, lowers the flag, then takes what is there. Both are swaps, in one order: if the
//! raise comes before the lowering, the lowering (Acquire) pairs with it (Release) and sees the
//! push; if it comes after, it finds the flag low and tells the writer again. Nothing goes the other
//! way: a raise acquires nothing, and a lowering releases nothing.
//!
//! A word that a full channel refuses is not needed: the writer lowers the flag after each group
//! that it takes from the channel.

use crate::sync::{AtomicBool, Ordering};

/// The flag. Raised by who settles, lowered by the writer.
#[derive(Debug)]
pub(crate) struct Told(AtomicBool);

impl Told {
    pub(crate) fn new() -> Self {
        Told(AtomicBool::new(false))
    }

    /// After a push: whether the writer must be told.
    #[must_use]
    pub(crate) fn raise(&self) -> bool {
        !self.0.swap(true, Ordering::Release)
    }

    /// By the writer, before it looks.
    pub(crate) fn lower(&self) {
        self.0.swap(false, Ordering::Acquire);
    }
}
