//! The atomics that the lock-free protocols use, in one place so that a model checker's can stand
//! in: the models compile the files of the protocols against loom's through a module of the same
//! name.

pub(crate) use std::hint::spin_loop;
pub(crate) use std::sync::atomic::{
    AtomicBool, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
pub(crate) use std::thread::yield_now;

/// Sleeping and waking on a word of memory (futex(2)).
pub(crate) mod futex {
    use std::num::NonZeroU32;
    use std::sync::atomic::AtomicU32;

    use rustix::thread::futex;

    /// Sleeps while `word` holds `expected`; may return early.
    pub(crate) fn wait(word: &AtomicU32, expected: u32) {
        // Woken, interrupted (EINTR) or no longer equal (EAGAIN): the caller looks again anyway.
        let _ = futex::wait(word, futex::Flags::PRIVATE, expected, None);
    }

    /// Wakes at most `count` threads that sleep on `word`.
    pub(crate) fn wake(word: &AtomicU32, count: u32) {
        if let Some(count) = NonZeroU32::new(count) {
            let _ = futex::wake(word, futex::Flags::PRIVATE, count.get());
        }
    }
}
