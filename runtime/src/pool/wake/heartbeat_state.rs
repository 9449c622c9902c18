//! Which async workers get beats, and when the thread that gives them may sleep (`heartbeat.rs`).
//!
//! ```text
//!   worker w, or who calls it            the heart
//!   beating[w] = true                    beats for each w that is beating, then pauses;
//!   armed.must_ring(): unpark it         none: armed.arm(), look again, park (`armed.rs`)
//!
//!   worker w, before it sleeps with no job: beating[w] = false, then its bit among the sleepers, by a
//!   Release that whoever calls it acquires: the call's `true` comes after the `false`.
//!
//!   worker w, when it ends: beating[w] = false, workers_left -= 1 (Release), unpark the heart
//! ```
//!
//! The heartbeat thread acquires in `workers_left` what each worker did before it left: its last `false` above
//! all, so that no beat follows the end, and what who joins the heart's thread may rely on, that all
//! workers have left. The subtractions are read-modify-writes of one word, so that each stands in
//! the release sequence of those before it, and who reads the last one's result acquires all.
//!
//! The flags themselves are Relaxed: a beat too many does no harm, and one too few is made up for by
//! the look after `armed.arm()`, whose fence pairs with that of `must_ring`. No beat is told to a
//! worker by more than its eventfd, so nothing else needs an order.

use crate::sys::armed::Armed;
use crate::sys::sync::{AtomicBool, AtomicUsize, Ordering};

/// Who gets beats. See the module.
pub(crate) struct HeartbeatState {
    armed: Armed,
    /// By worker: whether it gets beats.
    beating: Box<[Beating]>,
    /// Workers that have not ended. The heartbeat thread ends with the last.
    workers_left: AtomicUsize,
}

/// Set by the worker and by who calls it, cleared by the worker: on a cache line of its own, which
/// no other worker writes to.
#[repr(align(128))]
struct Beating(AtomicBool);

impl HeartbeatState {
    pub(crate) fn new(workers: usize) -> Self {
        HeartbeatState {
            armed: Armed::new(),
            beating: (0..workers).map(|_| Beating(AtomicBool::new(false))).collect(),
            workers_left: AtomicUsize::new(workers),
        }
    }

    /// A worker gets beats from now on; whether the caller has to unpark the heart.
    #[must_use]
    pub(crate) fn begin(&self, worker: usize) -> bool {
        self.beating[worker].0.store(true, Ordering::Relaxed);
        self.armed.must_ring()
    }

    /// By the worker: it has no job and is about to sleep.
    pub(crate) fn rest(&self, worker: usize) {
        self.beating[worker].0.store(false, Ordering::Relaxed);
    }

    /// The worker has ended; whether the caller has to unpark the heart.
    #[must_use]
    pub(crate) fn leave(&self, worker: usize) -> bool {
        self.rest(worker);
        self.workers_left.fetch_sub(1, Ordering::Release);
        self.armed.must_ring()
    }

    /// The heart's life, until the last worker has left: `beat` for each worker that is to get one,
    /// `pause` behind those of one time, `park` until it is unparked.
    pub(crate) fn give(
        &self,
        mut beat: impl FnMut(usize),
        mut pause: impl FnMut(),
        park: impl Fn(),
    ) {
        while !self.has_ended() {
            let mut any = false;
            for worker in (0..self.beating.len()).filter(|worker| self.is_beating(*worker)) {
                any = true;
                beat(worker);
            }
            if any {
                pause();
                continue;
            }
            self.armed.arm();
            let nobody = !(0..self.beating.len()).any(|worker| self.is_beating(worker));
            if nobody && !self.has_ended() {
                park();
            }
            self.armed.disarm();
        }
    }

    pub(crate) fn is_beating(&self, worker: usize) -> bool {
        self.beating[worker].0.load(Ordering::Relaxed)
    }

    fn has_ended(&self) -> bool {
        self.workers_left.load(Ordering::Acquire) == 0
    }
}
