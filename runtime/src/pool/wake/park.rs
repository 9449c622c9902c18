//! How task workers sleep, and how a push wakes one at no cost while another is awake.
//!
//! `state` counts, in one word, the workers that sleep and those that search for a job; `tokens`
//! is the futex word on which sleepers wait. A worker is in one of three states:
//!
//! ```text
//!            queue empty                      spun in vain
//!  Running ───────────────► Searching ─────────────────────────► Sleeping
//!     ▲    searching += 1       │  ▲   searching -= 1, sleeping += 1  │
//!     └─────────────────────────┘  └──────────────────────────────────┘
//!      found: searching -= 1           a producer, the closer or the worker itself moves it:
//!                                      sleeping -= 1, searching += 1
//!
//! producer, after a push            worker, about to sleep
//!   fence(SeqCst)                     state: searching -> sleeping
//!   s = state                         fence(SeqCst)
//!   s.searching > 0: done             queue not empty, or closing: take back by CAS, or, if no
//!   s.sleeping == 0: done               sleeper is counted any more, the token is on its way
//!   CAS sleeping -> searching         otherwise wait for a token
//!   tokens += 1, wake one
//! ```
//!
//! - A push is never missed: of the two fences one is first; either the producer sees the sleeper,
//!   or the sleeper sees the job. With a searcher counted the producer leaves it to the searcher.
//! - A searcher that finds a job and was the last looks again, after a fence, and wakes another if
//!   there is more (the chain wake): a producer may have left the second job to this searcher.
//! - Tokens are anonymous: each CAS from sleeping to searching is followed by one token, and
//!   each worker that was moved consumes one. Whoever takes it is the searcher that was counted.
//! - A job for one worker alone (`post`) cannot go by tokens, since another may take them. It
//!   raises the epoch in the upper half of `tokens` and wakes all sleepers: each looks into its
//!   own mailbox between reading the word and sleeping on it, so that either it sees the job, or
//!   the word has changed and it does not sleep. Who has mail takes itself back by CAS as above.
//! - The epoch has 16 bits and wraps. A worker would sleep beside its mail if, between its read of
//!   the word and the kernel's look at it, a multiple of 65,536 posts came, no more and no fewer, and
//!   no token; each of these posts wakes all who sleep by then, with a system call of a microsecond,
//!   so the worker would have to stand still for 65 ms between two instructions and a system call,
//!   and then meet that count. The next post or token would wake it.
//! - `closing` is set, then all sleepers are moved. A worker leaves only when it sees `closing`
//!   and, after that, an empty queue; the last push happens before `close`.
//! - What is in the queue is published by the queue, and that it is there by the fences: each look that
//!   decides to sleep, or to wake nobody, stands behind one. So `state` and the tokens carry nothing
//!   and are Relaxed: a token says only that the worker is to look again. Two looks have no fence
//!   before them, and acquire: that for mail behind the word of `tokens`, which a post changes behind
//!   its fence, and that for a job behind `closing`, which is released.

use crate::sys::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence, futex};

const SLEEPING: u64 = 1;
const SEARCHING: u64 = 1 << 32;
/// One of the epoch of mail; below it are tokens.
const EPOCH: u32 = 1 << 16;

/// The parking lot of one pool.
pub(crate) struct Park {
    /// Sleeping workers in the low half, searching ones in the high half. Written by all.
    state: AtomicU64,
    /// Low half: wake-ups granted and not consumed, incremented by who moves a sleeper, decremented
    /// by it. High half: the epoch of mail, raised by who posts to one worker.
    tokens: AtomicU32,
    /// Set once, by `close`.
    closing: AtomicBool,
    wakes: Wakes,
}

/// System calls made to wake sleepers: a statistic, which orders nothing. Counted behind the call,
/// when the worker that was woken already works on the words of the `Park`: so it has a cache line
/// of its own.
#[derive(Default)]
#[repr(align(128))]
struct Wakes(std::sync::atomic::AtomicU64);

/// What a worker has in the queue: looked at, or taken.
pub(crate) trait Source {
    /// What is taken.
    type Item;
    /// Takes one item.
    fn pop(&self) -> Option<Self::Item>;
    /// Whether there is one to take.
    fn is_empty(&self) -> bool;
    /// Whether there is one that only this worker may take.
    fn has_mail(&self) -> bool;
    /// Waits a little for an item, without sleeping; None when the worker should sleep.
    fn spin(&self) -> Option<Self::Item>;
}

impl Park {
    pub(crate) fn new() -> Self {
        Park {
            state: AtomicU64::new(0),
            tokens: AtomicU32::new(0),
            closing: AtomicBool::new(false),
            wakes: Wakes::default(),
        }
    }

    /// After a push: wakes a worker, if one sleeps and none searches.
    pub(crate) fn notify(&self) {
        // Pairs with the fence of `sleep`.
        fence(Ordering::SeqCst);
        let mut state = self.state.load(Ordering::Relaxed);
        while state / SEARCHING == 0 && state % SEARCHING != 0 {
            match self.move_sleepers(state, 1) {
                Ok(()) => return,
                Err(current) => state = current,
            }
        }
    }

    /// After a push that is for one worker alone: wakes every sleeper, so that it looks.
    pub(crate) fn post(&self) {
        // Pairs with the fence of `sleep`: a worker that is not counted as a sleeper yet sees the
        // job when it looks again.
        fence(Ordering::SeqCst);
        let sleepers = self.state.load(Ordering::Relaxed) % SEARCHING;
        if sleepers != 0 {
            // Relaxed: behind the fence above it releases the job all the same, to the Acquire of
            // `consume_token`.
            self.tokens.fetch_add(EPOCH, Ordering::Relaxed);
            // Those whose token is on its way wait on the same word, and may be woken first.
            self.wake(u32::MAX >> 1);
        }
    }

    /// The next item for a worker; None once closed and empty.
    pub(crate) fn next<S: Source>(&self, source: &S) -> Option<S::Item> {
        if let Some(item) = source.pop() {
            return Some(item);
        }
        self.state.fetch_add(SEARCHING, Ordering::Relaxed);
        loop {
            // Acquire pairs with the Release of `close`: all pushes are seen by the look below.
            let closing = self.closing.load(Ordering::Acquire);
            if let Some(item) = source.pop().or_else(|| source.spin()) {
                self.found(source);
                return Some(item);
            }
            if closing {
                self.state.fetch_sub(SEARCHING, Ordering::Relaxed);
                return None;
            }
            self.sleep(source);
        }
    }

    /// Wakes all workers; each leaves when it finds the queue empty. No push may follow.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
        let mut state = self.state.load(Ordering::Relaxed);
        while state % SEARCHING != 0 {
            match self.move_sleepers(state, state % SEARCHING) {
                Ok(()) => return,
                Err(current) => state = current,
            }
        }
    }

    /// System calls that were made to wake workers.
    pub(crate) fn wakes(&self) -> u64 {
        self.wakes.0.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Workers that sleep now.
    pub(crate) fn sleeping(&self) -> u32 {
        (self.state.load(Ordering::Relaxed) % SEARCHING) as u32
    }

    /// A searcher goes to sleep and comes back a searcher.
    fn sleep<S: Source>(&self, source: &S) {
        let moved = SEARCHING - SLEEPING;
        self.state.fetch_sub(moved, Ordering::Relaxed);
        // Pairs with the fences of `notify` and `close`.
        fence(Ordering::SeqCst);
        let awake = !source.is_empty() || self.closing.load(Ordering::Relaxed);
        if awake && self.take_back() {
            return;
        }
        self.consume_token(source);
    }

    /// A sleeper makes itself a searcher again; false if somebody has moved it already.
    fn take_back(&self) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        while state % SEARCHING != 0 {
            let next = state - SLEEPING + SEARCHING;
            match self.state.compare_exchange(state, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(current) => state = current,
            }
        }
        false
    }

    /// Waits for a token, or until there is mail.
    fn consume_token<S: Source>(&self, source: &S) {
        loop {
            // Acquire: whoever sees an epoch sees the mail that it was raised for.
            let word = self.tokens.load(Ordering::Acquire);
            if word % EPOCH == 0 {
                if source.has_mail() && self.take_back() {
                    return;
                }
                futex::wait(&self.tokens, word);
                continue;
            }
            let (relaxed, less) = (Ordering::Relaxed, word - 1);
            if self.tokens.compare_exchange(word, less, relaxed, relaxed).is_ok() {
                return;
            }
        }
    }

    /// A searcher found an item: it runs now, and passes the search on where it was the last.
    fn found<S: Source>(&self, source: &S) {
        let before = self.state.fetch_sub(SEARCHING, Ordering::Relaxed);
        if before / SEARCHING == 1 {
            // Pairs with the fence of `notify`, whose producer may have seen this searcher.
            fence(Ordering::SeqCst);
            if !source.is_empty() {
                self.notify();
            }
        }
    }

    /// Moves `count` sleepers to searching and grants as many tokens.
    fn move_sleepers(&self, state: u64, count: u64) -> Result<(), u64> {
        let next = state - count * SLEEPING + count * SEARCHING;
        self.state.compare_exchange(state, next, Ordering::Relaxed, Ordering::Relaxed)?;
        self.tokens.fetch_add(count as u32, Ordering::Relaxed);
        self.wake(count as u32);
        Ok(())
    }

    fn wake(&self, count: u32) {
        futex::wake(&self.tokens, count);
        self.wakes.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}
