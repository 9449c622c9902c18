//! What comes in to an executor from outside, as its loop sees it.

use std::rc::Rc;
use std::time::Instant;

use super::current;

/// An inbox of an executor, drained on each turn of its loop. A pool has one on each of its
/// executors, by which the finishes of its tasks come in.
pub trait Inbox {
    /// Delivers what is there and does what is due, with no borrow held; returns how many came in.
    fn drain(&self) -> usize;
    /// Whether there is something to deliver; looked at before the executor sleeps.
    fn has_arrivals(&self) -> bool;
    /// When there is something to do by the clock.
    fn next_due(&self) -> Option<Instant>;
    /// What was sent out from here and has not come back.
    fn in_flight(&self) -> usize;
    /// The executor drains until `end`: what is due later is not waited for, and ends now.
    fn begin_drain(&self, end: Instant);
    /// Lets go the wake-ups of others that were put off. With `batching` they are put off from now
    /// on, within bounds of the inbox's own, so that a sleeper is woken once for several. The loop
    /// calls it on each turn.
    fn flush_wakes(&self, batching: bool);
}

/// Has the loop of this executor drain `inbox` from now on.
///
/// # Panics
/// On a thread that is not an executor's.
pub fn add_inbox(inbox: Rc<dyn Inbox>) {
    current().inboxes.borrow_mut().push(inbox);
}
