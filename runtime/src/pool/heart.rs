//! The heartbeat of a pool's async workers: one thread that wakes each of them every 10 ms while it
//! has jobs.
//!
//! Their host may park with runnable tasks until some new event comes (`executor/hosted.rs`). So
//! each worker that is called, or has jobs, gets one from here. It comes by one of several eventfds
//! in turn: where the host parks after it has taken the completion of one in and before it polls
//! that one anew, the next beat comes by another, which is still polled. (With a preempt timer of
//! 50 µs, at which it does park so, jobs stalled for ever in 3 of 3 runs of 6 s without beats, in 1
//! of 4 with beats by one eventfd, in 0 of 3 with four; no job took longer than 32 ms there.)
//!
//! ```text
//!   worker w, or who calls it            the heart
//!   beating[w] = true                    beats for each w that is beating, then sleeps 10 ms;
//!   armed.must_ring(): unpark it         none: armed.arm(), look again, park (`armed.rs`)
//!
//!   worker w, before it sleeps with no job: beating[w] = false, then its bit in the roster, by a
//!   Release that whoever calls it acquires: the call's `true` comes after the `false`.
//!
//!   worker w, when it ends: beating[w] = false, workers_left -= 1 (AcqRel), unpark the heart
//! ```
//!
//! The heart acquires in `workers_left` what each worker did before it left: its last `false` above
//! all, so that no beat follows the end, and what who joins the heart's thread may rely on, that all
//! workers have left. The subtractions are read-modify-writes of one word, so the last one's Release
//! carries those before it. The flags themselves are Relaxed: a beat too many does no harm, and one
//! too few is made up for by the look after `armed.arm()`, whose fence pairs with that of `must_ring`.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};

use crate::armed::Armed;

/// How long a job of a worker that its host has parked by mistake waits at most, about.
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};
    use std::time::{Duration, Instant};

    use crate::bell::Bell;
    use crate::executor::hosted::timer;
    use crate::pool::{Pool, PoolConfig, Seat, TaskContext};

    /// Sleeps a little, twice, with turns of the reactor between: under test its preempt timer is
    /// so short that the host parks with runnable tasks again and again (`hosted.rs`).
    #[test]
    fn a_worker_that_is_parked_by_mistake_is_brought_back() {
        let seats = (0..2).map(|cpu| Seat { cpu, shared: true, domain: 0 }).collect();
        let config = PoolConfig::new(seats, 512);
        let bells = [Arc::new(Bell::new().unwrap())];
        let run = |_: TaskContext, us: u64| async move {
            timer::sleep(Duration::from_micros(us)).await;
            let end = Instant::now() + Duration::from_micros(us / 16);
            while Instant::now() < end {}
            timer::sleep(Duration::from_micros(us / 2)).await;
            Ok(())
        };
        let (pool, _lanes) = Pool::start_async(&config, 32, &bells, move |_| run).unwrap();
        let (tell, told) = mpsc::channel();
        pool.on_foreign_finish(move |finish| tell.send(finish.outcome).unwrap());
        let tasks = pool.tasks();
        let end = Instant::now() + Duration::from_secs(3);
        let mut burst = 0;
        while Instant::now() < end {
            burst = burst % 61 + 1;
            for job in 0..burst {
                tasks.dispatch(job * 37 % 2_000).unwrap();
            }
            for _ in 0..burst {
                // A stall is for ever; this machine may be busy.
                let outcome = told.recv_timeout(Duration::from_secs(2));
                assert_eq!(outcome, Ok(Ok(())), "{:?}", pool.snapshot());
            }
        }
        let end = pool.close(Instant::now() + Duration::from_secs(5));
        assert_eq!((end.outcomes.finished, end.outstanding()), (end.accepted, 0));
    }
}
