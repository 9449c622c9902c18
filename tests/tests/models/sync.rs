//! loom's types under the names of the runtime's `sync`, and the faults they can be told to commit.

use std::cell::Cell;

pub(crate) use loom::sync::atomic::Ordering;
pub(crate) use loom::thread::yield_now;

use crate::sites::{Part, Site, order};

/// A fault that a protocol must be seen to need the absence of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// All is as written.
    None,
    /// One operation orders less than is written, or one fence is left out.
    Weak(Site),
    /// A swap of a flag is a load and then a store.
    TornSwap,
    /// A swap that sets a flag which is set writes nothing.
    SkippedSwap,
    /// A futex wait sleeps without looking at the word.
    BlindWait,
    /// A compare-exchange is a load and then a store.
    TornExchange,
    /// What was moved to another queue is announced to nobody (see `queue.rs`).
    SilentMove,
    /// A job for one worker alone is announced by a token that any may take (see `park.rs`).
    MailByToken,
    /// The chain wake finds nothing to wake for (see `park.rs`).
    NoChain,
    /// A worker rests after it has said that it sleeps (see `heartbeat_state.rs`).
    LateRest,
    /// A worker is woken before the push that it is for (see `wake_batch.rs`).
    EarlyWake,
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

/// Where an ordering is weakened now.
pub(crate) fn weak_site() -> Option<Site> {
    match FAULT.get() {
        Fault::Weak(site) => Some(site),
        _ => None,
    }
}

#[track_caller]
pub(crate) fn fence(ordering: Ordering) {
    match order(Part::Fence, ordering) {
        Ordering::Relaxed => {}
        ordering => loom::sync::atomic::fence(ordering),
    }
}

/// A type of loom's with what all types have.
macro_rules! atomic {
    ($name:ident, $value:ty) => {
        #[derive(Debug)]
        pub(crate) struct $name(loom::sync::atomic::$name);

        // Not each type is used in each way.
        #[allow(dead_code)]
        impl $name {
            pub(crate) fn new(value: $value) -> Self {
                $name(loom::sync::atomic::$name::new(value))
            }

            #[track_caller]
            pub(crate) fn load(&self, ordering: Ordering) -> $value {
                self.0.load(order(Part::Whole, ordering))
            }

            #[track_caller]
            pub(crate) fn store(&self, value: $value, ordering: Ordering) {
                self.0.store(value, order(Part::Whole, ordering));
            }

            #[track_caller]
            pub(crate) fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                if commits(Fault::TornExchange) {
                    let found = self.0.load(Ordering::Acquire);
                    if found != current {
                        return Err(found);
                    }
                    self.0.store(new, Ordering::Release);
                    return Ok(found);
                }
                let (success, failure) =
                    (order(Part::Whole, success), order(Part::Failure, failure));
                self.0.compare_exchange(current, new, success, failure)
            }
        }
    };
}

/// What numbers have besides.
macro_rules! number {
    ($name:ident, $value:ty, $($operation:ident)*) => {
        atomic!($name, $value);

        impl $name {
            $(
                #[track_caller]
                pub(crate) fn $operation(&self, value: $value, ordering: Ordering) -> $value {
                    self.0.$operation(value, order(Part::Whole, ordering))
                }
            )*
        }
    };
}

atomic!(AtomicBool, bool);
atomic!(AtomicU16, u16);
number!(AtomicU32, u32, fetch_add fetch_sub);
number!(AtomicU64, u64, fetch_add fetch_sub fetch_or fetch_and);
number!(AtomicUsize, usize, fetch_add fetch_sub);

impl AtomicBool {
    #[track_caller]
    pub(crate) fn swap(&self, value: bool, ordering: Ordering) -> bool {
        if commits(Fault::TornSwap) {
            let before = self.0.load(Ordering::Acquire);
            self.0.store(value, Ordering::Release);
            return before;
        }
        if commits(Fault::SkippedSwap) && value && self.0.load(Ordering::Relaxed) {
            return true;
        }
        self.0.swap(value, order(Part::Whole, ordering))
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
        if commits(Fault::BlindWait) || word.0.load(Ordering::SeqCst) == expected {
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
