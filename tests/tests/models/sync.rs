//! loom's types under the names of the runtime's `sync`, and the faults they can be told to commit.

use std::cell::Cell;

pub(crate) use loom::sync::atomic::Ordering;
pub(crate) use loom::thread::yield_now;

/// A fault that a protocol must be seen to need the absence of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// All is as written.
    None,
    /// Fences do nothing.
    NoFence,
    /// A swap of a flag orders nothing.
    RelaxedSwap,
    /// A swap of a flag is a load and then a store.
    TornSwap,
    /// A swap that sets a flag which is set writes nothing.
    SkippedSwap,
    /// A store of a word orders nothing.
    RelaxedStore,
    /// A load of a word of 64 bits orders nothing.
    RelaxedLoad,
    /// A futex wait sleeps without looking at the word.
    BlindWait,
    /// A compare-exchange is a load and then a store.
    TornExchange,
    /// A compare-exchange of a word orders nothing.
    RelaxedExchange,
    /// What was moved to another queue is announced to nobody (see `queue.rs`).
    SilentMove,
    /// A job for one worker alone is announced by a token that any may take (see `park.rs`).
    MailByToken,
    /// The chain wake finds nothing to wake for (see `park.rs`).
    NoChain,
    /// A credit is given back before its finish is popped (see `credits.rs`).
    EarlyCredit,
}

thread_local! {
    static FAULT: Cell<Fault> = const { Cell::new(Fault::None) };
}

/// The fault of the models that this thread runs from now on.
pub(crate) fn commit(fault: Fault) {
    FAULT.set(fault);
}

/// Whether that fault is to be committed.
pub(crate) fn commits(fault: Fault) -> bool {
    FAULT.get() == fault
}

pub(crate) fn fence(ordering: Ordering) {
    if !commits(Fault::NoFence) {
        loom::sync::atomic::fence(ordering);
    }
}

#[derive(Debug)]
pub(crate) struct AtomicBool(loom::sync::atomic::AtomicBool);

impl AtomicBool {
    pub(crate) fn new(value: bool) -> Self {
        AtomicBool(loom::sync::atomic::AtomicBool::new(value))
    }

    pub(crate) fn load(&self, ordering: Ordering) -> bool {
        self.0.load(ordering)
    }

    pub(crate) fn store(&self, value: bool, ordering: Ordering) {
        self.0.store(value, ordering);
    }

    pub(crate) fn swap(&self, value: bool, ordering: Ordering) -> bool {
        if commits(Fault::RelaxedSwap) {
            return self.0.swap(value, Ordering::Relaxed);
        }
        if commits(Fault::TornSwap) {
            let before = self.0.load(Ordering::Acquire);
            self.0.store(value, Ordering::Release);
            return before;
        }
        if commits(Fault::SkippedSwap) && value && self.0.load(Ordering::Relaxed) {
            return true;
        }
        self.0.swap(value, ordering)
    }
}

#[derive(Debug)]
pub(crate) struct AtomicU32(loom::sync::atomic::AtomicU32);

impl AtomicU32 {
    pub(crate) fn new(value: u32) -> Self {
        AtomicU32(loom::sync::atomic::AtomicU32::new(value))
    }

    pub(crate) fn load(&self, ordering: Ordering) -> u32 {
        self.0.load(ordering)
    }

    pub(crate) fn store(&self, value: u32, ordering: Ordering) {
        let relaxed = commits(Fault::RelaxedStore);
        self.0.store(value, if relaxed { Ordering::Relaxed } else { ordering });
    }

    pub(crate) fn fetch_add(&self, value: u32, ordering: Ordering) -> u32 {
        self.0.fetch_add(value, ordering)
    }

    pub(crate) fn fetch_sub(&self, value: u32, ordering: Ordering) -> u32 {
        self.0.fetch_sub(value, ordering)
    }

    pub(crate) fn compare_exchange(
        &self,
        current: u32,
        new: u32,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u32, u32> {
        if commits(Fault::TornExchange) {
            let found = self.0.load(Ordering::Acquire);
            if found != current {
                return Err(found);
            }
            self.0.store(new, Ordering::Release);
            return Ok(found);
        }
        if commits(Fault::RelaxedExchange) {
            let relaxed = Ordering::Relaxed;
            return self.0.compare_exchange(current, new, relaxed, relaxed);
        }
        self.0.compare_exchange(current, new, success, failure)
    }
}

#[derive(Debug)]
pub(crate) struct AtomicU64(loom::sync::atomic::AtomicU64);

impl AtomicU64 {
    pub(crate) fn new(value: u64) -> Self {
        AtomicU64(loom::sync::atomic::AtomicU64::new(value))
    }

    pub(crate) fn load(&self, ordering: Ordering) -> u64 {
        let relaxed = commits(Fault::RelaxedLoad);
        self.0.load(if relaxed { Ordering::Relaxed } else { ordering })
    }

    pub(crate) fn store(&self, value: u64, ordering: Ordering) {
        let relaxed = commits(Fault::RelaxedStore);
        self.0.store(value, if relaxed { Ordering::Relaxed } else { ordering });
    }

    pub(crate) fn fetch_add(&self, value: u64, ordering: Ordering) -> u64 {
        self.0.fetch_add(value, ordering)
    }

    pub(crate) fn fetch_sub(&self, value: u64, ordering: Ordering) -> u64 {
        self.0.fetch_sub(value, ordering)
    }

    pub(crate) fn fetch_or(&self, value: u64, ordering: Ordering) -> u64 {
        self.0.fetch_or(value, ordering)
    }

    pub(crate) fn fetch_and(&self, value: u64, ordering: Ordering) -> u64 {
        self.0.fetch_and(value, ordering)
    }

    pub(crate) fn compare_exchange(
        &self,
        current: u64,
        new: u64,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u64, u64> {
        self.0.compare_exchange(current, new, success, failure)
    }
}

/// A futex of loom's parts: the look at the word and the sleep are one step under a lock, as the
/// kernel's are under its own.
pub(crate) mod futex {
    use loom::sync::atomic::Ordering;
    use loom::sync::{Condvar, Mutex};

    use super::{AtomicU32, Fault, commits};

    loom::lazy_static! {
        static ref QUEUE: (Mutex<()>, Condvar) = (Mutex::new(()), Condvar::new());
    }

    pub(crate) fn wait(word: &AtomicU32, expected: u32) {
        let guard = QUEUE.0.lock().unwrap();
        if commits(Fault::BlindWait) || word.load(Ordering::SeqCst) == expected {
            drop(QUEUE.1.wait(guard).unwrap());
        }
    }

    pub(crate) fn wake(_: &AtomicU32, count: u32) {
        let _guard = QUEUE.0.lock().unwrap();
        // No model has more threads than this.
        for _ in 0..count.min(4) {
            QUEUE.1.notify_one();
        }
    }
}
