//! Words that publish what was written before them.
//!
//! There is one state besides the first: a [`Flag`] is down, then up for ever; a `Version` goes up
//! by one at a time; a ring's tail moves on. Any thread writes the first two, the ring's owner alone
//! the tail. Each write is a Release and each read an Acquire of the same word, so whoever reads what
//! was written sees all that its writer had done before. Nothing is promised to a reader of the old
//! value: who must not miss a change is woken by other means.
//!
//! A flag whose reader takes a lock of the writer's, or that is looked at after a wake-up, needs none
//! of this: the lock or the wake-up orders it, and it is Relaxed where it stands.

use crate::sys::sync::{AtomicBool, AtomicU16, AtomicU32, Ordering};

/// Raised once, by any thread.
#[derive(Debug)]
pub struct Flag(AtomicBool);

impl Flag {
    /// A flag that is down.
    pub fn new() -> Self {
        Flag(AtomicBool::new(false))
    }

    /// Raises it; again does nothing.
    pub fn raise(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it is up: then all that came before [`raise`](Self::raise) is seen too.
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Default for Flag {
    fn default() -> Self {
        Flag::new()
    }
}

/// How often something was replaced.
#[derive(Debug)]
pub(crate) struct Version(AtomicU32);

impl Version {
    pub(crate) fn new() -> Self {
        Version(AtomicU32::new(0))
    }

    /// Another one; whoever reads it sees what came before this. Of several that do this at once, the
    /// last one's reader sees what all of them did: an exchange goes on with the release that it finds.
    pub(crate) fn advance(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn current(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }
}

/// Moves the tail of a ring whose entries another side reads up to there, with Acquire.
pub(crate) fn move_tail(word: &AtomicU16, tail: u16) {
    word.store(tail, Ordering::Release);
}
