//! Which async task workers sleep, and how a push calls one of them, at no cost while none does.
//!
//! Such a worker sleeps inside the reactor of its host, on its doorbell, with jobs of its own that wait for
//! files and timers: any of these may wake it too. So sleepers are named here, one bit each, where
//! `park.rs` counts them and hands out tokens. A worker is in one of three states:
//!
//! ```text
//!            nothing to do, room for a job            a producer, or the closer, by CAS; rings it
//!  Awake ───────────────────────────────► Asleep ─────────────────────────────────────────► Called
//!    ▲      the worker: asleep |= bit       │        asleep &= !bit, called |= bit            │
//!    └──────────────────────────────────────┴──────────────────────────────────────────────────┘
//!                    the worker, whatever woke it: asleep &= !bit, called &= !bit
//!
//! producer, after a push              worker, about to sleep          worker, woken
//!   fence(SeqCst)                       asleep |= bit                   clear both bits
//!   some worker called: done            fence(SeqCst)                   fence(SeqCst)
//!   none asleep: done                   queue not empty, or closing:    take jobs; was it called,
//!   CAS asleep -> called, ring it         wake up again                 and is there more: notify
//! ```
//!
//! - A push is never missed: of the fences of producer and sleeper one is first; either the producer
//!   sees the sleeper, or the sleeper the job. A worker without room does not sleep by these:
//!   it looks at the queue when one of its jobs ends.
//! - With a worker called, producers leave their jobs to it: a burst costs one ring. Its bit is
//!   cleared before it looks, so it sees each job that was left to it, and where it does not take
//!   the last one it notifies as a producer does (the chain call).
//! - A job for one worker alone (`post`) calls that one, or finds it awake: then it looks before it
//!   sleeps, or when it has room again.
//! - A doorbell that was rung for a worker which woke by itself meanwhile only wakes it once in vain.
//! - `closing` is set, then all that sleep are called. A worker leaves only when it sees `closing`
//!   and, after that, an empty queue; the last push happens before `close`.
//! - The fences order the looks at the queue, as in `park.rs`. The bits carry one thing more: who calls
//!   a worker (Acquire) sees what it did before it said that it sleeps (Release; each change between
//!   the two is a read-modify-write). A worker that wakes acquires nothing, since it looks behind a
//!   fence, and who finds it called leaves it alone.

use crate::sys::sync::{AtomicBool, AtomicU64, Ordering, fence};

/// Workers of one group: half the bits of its word.
const GROUP: usize = 32;
const ASLEEP: u64 = (1 << GROUP) - 1;

/// The states of a pool's async workers.
pub(crate) struct Sleepers {
    /// For each 32 workers: those asleep in the low half, those called in the high half, no worker
    /// in both. Set asleep and cleared by the worker; moved to called by any.
    groups: Box<[AtomicU64]>,
    /// Set once, by `close`.
    closing: AtomicBool,
}

/// A worker's bit, where it sleeps and where it is called.
fn bits(worker: usize) -> (u64, u64) {
    let asleep = 1 << (worker % GROUP);
    (asleep, asleep << GROUP)
}

impl Sleepers {
    pub(crate) fn new(workers: usize) -> Self {
        let groups = (0..workers.div_ceil(GROUP)).map(|_| AtomicU64::new(0));
        Sleepers { groups: groups.collect(), closing: AtomicBool::new(false) }
    }

    /// After a push that any may take: the worker that the caller has to ring.
    #[must_use]
    pub(crate) fn notify(&self) -> Option<usize> {
        // Pairs with the fence of `sleep`.
        fence(Ordering::SeqCst);
        let called = |group: &AtomicU64| group.load(Ordering::Relaxed) > ASLEEP;
        if self.groups.iter().any(called) {
            return None;
        }
        (0..self.groups.len()).find_map(|group| self.call_one_of(group))
    }

    /// After a push that is for one worker alone: whether the caller has to ring it.
    #[must_use]
    pub(crate) fn post(&self, worker: usize) -> bool {
        // Pairs with the fence of `sleep`.
        fence(Ordering::SeqCst);
        let (asleep, _) = bits(worker);
        let group = worker / GROUP;
        let mut word = self.groups[group].load(Ordering::Relaxed);
        while word & asleep != 0 {
            match self.call(group, word, asleep) {
                Ok(()) => return true,
                Err(current) => word = current,
            }
        }
        false
    }

    /// A worker with room is about to sleep: true if it may. False: there is a job, or the pool
    /// closes. Either way [`wake_up`](Self::wake_up) follows, before it looks at the queue again.
    #[must_use]
    pub(crate) fn sleep(&self, worker: usize, is_empty: impl FnOnce() -> bool) -> bool {
        let (asleep, _) = bits(worker);
        // Release: who calls this worker sees what it did before, such as its rest (`heartbeat_state.rs`).
        self.groups[worker / GROUP].fetch_or(asleep, Ordering::Release);
        // Pairs with the fences of `notify`, `post` and `close`.
        fence(Ordering::SeqCst);
        is_empty() && !self.closing.load(Ordering::Relaxed)
    }

    /// The worker is awake; true: it was called, and owes a look and the chain call. A job that was
    /// left to it is seen by a look after this.
    #[must_use]
    pub(crate) fn wake_up(&self, worker: usize) -> bool {
        let (asleep, called) = bits(worker);
        let before = self.groups[worker / GROUP].fetch_and(!(asleep | called), Ordering::Relaxed);
        // Pairs with the fence of `notify`, whose producer may have seen this worker called.
        fence(Ordering::SeqCst);
        before & called != 0
    }

    /// Calls all that sleep, and tells the caller whom to ring. No push may follow.
    pub(crate) fn close(&self, workers: usize, ring: impl Fn(usize)) {
        self.closing.store(true, Ordering::Release);
        (0..workers).filter(|worker| self.post(*worker)).for_each(ring);
    }

    /// Whether the pool closes: a queue that is found empty after this stays so.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Workers that sleep now, with room for a job.
    pub(crate) fn sleeping(&self) -> u32 {
        let asleep = |group: &AtomicU64| (group.load(Ordering::Relaxed) & ASLEEP).count_ones();
        self.groups.iter().map(asleep).sum()
    }

    /// The first that sleeps, unless one of the group is called already.
    fn call_one_of(&self, group: usize) -> Option<usize> {
        let mut word = self.groups[group].load(Ordering::Relaxed);
        while word != 0 && word <= ASLEEP {
            let first = word.trailing_zeros() as usize;
            match self.call(group, word, 1 << first) {
                Ok(()) => return Some(group * GROUP + first),
                Err(current) => word = current,
            }
        }
        None
    }

    /// Moves a worker from asleep to called.
    fn call(&self, group: usize, word: u64, asleep: u64) -> Result<(), u64> {
        let next = word ^ asleep | asleep << GROUP;
        // Acquire pairs with the Release of `sleep`.
        self.groups[group]
            .compare_exchange(word, next, Ordering::Acquire, Ordering::Relaxed)
            .map(|_| ())
    }
}
