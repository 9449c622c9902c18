//! The heartbeat of a pool's async workers: one thread that wakes each of them every 10 ms while it
//! has jobs.
//!
//! glommio may park with runnable tasks until some new event comes. So each worker that is called,
//! or has jobs, gets one from here. It comes by one of several eventfds in turn: where glommio parks
//! after it has taken the completion of one in and before it polls it anew, the next beat comes by
//! another, which is still polled.
//!
//! ```text
//!   worker w, or who calls it            the heart
//!   beating[w] = true                    beats for each w that is beating, then sleeps 10 ms;
//!   armed.must_ring(): unpark it         none: armed.arm(), look again, park (`armed.rs`)
//!
//!   worker w, before it sleeps with no job: beating[w] = false, then its bit in the roster, by a
//!   Release that whoever calls it acquires: the call's `true` comes after the `false`.
//! ```

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};

use crate::armed::Armed;

/// How long a job of a worker that glommio has parked by mistake waits at most, about.
const BEAT: Duration = Duration::from_millis(10);
/// Wrong parks in a row, with no look at the beats between them, that would silence a worker.
const STRINGS: usize = 4;

/// The beats of one worker: eventfds that do not block.
pub(super) type Strings = [Arc<OwnedFd>; STRINGS];

/// The heartbeat of one pool.
pub(super) struct Heart {
    armed: Armed,
    /// By worker: whether it gets beats. Set by it and by who calls it, cleared by it.
    beating: Box<[AtomicBool]>,
    strings: Box<[Strings]>,
    /// Workers that have not ended. The heart ends with the last.
    workers_left: AtomicUsize,
    thread: OnceLock<Thread>,
}

impl Heart {
    /// A heart for so many workers, each of which has to [`leave`](Self::leave).
    pub(super) fn new(workers: usize) -> rustix::io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let strings: rustix::io::Result<Vec<Strings>> = (0..workers)
            .map(|_| {
                let string = || eventfd(0, flags).map(Arc::new);
                Ok([string()?, string()?, string()?, string()?])
            })
            .collect();
        Ok(Heart {
            armed: Armed::new(),
            beating: (0..workers).map(|_| AtomicBool::new(false)).collect(),
            strings: strings?.into(),
            workers_left: AtomicUsize::new(workers),
            thread: OnceLock::new(),
        })
    }

    /// Starts its thread, before any worker.
    pub(super) fn start(self: &Arc<Self>) -> std::io::Result<JoinHandle<()>> {
        let heart = self.clone();
        let thread =
            std::thread::Builder::new().name("task-beat".to_owned()).spawn(move || heart.run())?;
        let _ = self.thread.set(thread.thread().clone());
        Ok(thread)
    }

    /// What a worker listens to.
    pub(super) fn strings(&self, worker: usize) -> &Strings {
        &self.strings[worker]
    }

    /// A worker has something to do, or will have: it gets beats from now on.
    pub(super) fn beat_for(&self, worker: usize) {
        self.beating[worker].store(true, Ordering::Relaxed);
        self.wake();
    }

    /// The worker has no job and is about to sleep.
    pub(super) fn rest(&self, worker: usize) {
        self.beating[worker].store(false, Ordering::Relaxed);
    }

    /// The worker has ended.
    pub(super) fn leave(&self, worker: usize) {
        self.rest(worker);
        self.workers_left.fetch_sub(1, Ordering::AcqRel);
        self.wake();
    }

    fn wake(&self) {
        if self.armed.must_ring() {
            // Unset only while the pool starts: then its thread has not parked.
            self.thread.get().inspect(|thread| thread.unpark());
        }
    }

    fn run(&self) {
        // `start` may not have come so far; `wake` needs it once this thread parks.
        let _ = self.thread.set(std::thread::current());
        for beat in 0usize.. {
            if self.has_ended() {
                return;
            }
            if self.beat(beat % STRINGS) {
                std::thread::sleep(BEAT);
                continue;
            }
            self.armed.arm();
            if !self.is_beating() && !self.has_ended() {
                std::thread::park();
            }
            self.armed.disarm();
        }
    }

    /// One beat for each worker that has jobs; whether there was one.
    fn beat(&self, string: usize) -> bool {
        let mut any = false;
        for (beating, strings) in self.beating.iter().zip(&self.strings) {
            if beating.load(Ordering::Relaxed) {
                any = true;
                // It fails only where 2^64 - 2 beats are unread.
                let _ = rustix::io::write(&strings[string], &1u64.to_ne_bytes());
            }
        }
        any
    }

    fn is_beating(&self) -> bool {
        self.beating.iter().any(|beating| beating.load(Ordering::Relaxed))
    }

    fn has_ended(&self) -> bool {
        self.workers_left.load(Ordering::Acquire) == 0
    }
}
