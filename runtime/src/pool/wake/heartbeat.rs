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
//! Who gets beats, and when the thread sleeps, is `heartbeat_state.rs`.

use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};

use crate::pool::wake::heartbeat_state::HeartbeatState;

/// How long a job of a worker that its host has parked by mistake waits at most, about.
const BEAT: Duration = Duration::from_millis(10);
/// Wrong parks in a row, with no look at the beats between them, that would silence a worker.
const BEAT_FDS: usize = 4;

/// The beats of one worker: eventfds that do not block.
pub(crate) type BeatFds = [Arc<OwnedFd>; BEAT_FDS];

/// The heartbeat of one pool.
pub(crate) struct Heartbeat {
    beats: HeartbeatState,
    beat_fds: Box<[BeatFds]>,
    thread: OnceLock<Thread>,
}

impl Heartbeat {
    /// A heart for so many workers, each of which has to [`leave`](Self::leave).
    pub(crate) fn new(workers: usize) -> rustix::io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let beat_fds: rustix::io::Result<Vec<BeatFds>> = (0..workers)
            .map(|_| {
                let beat_fd = || eventfd(0, flags).map(Arc::new);
                Ok([beat_fd()?, beat_fd()?, beat_fd()?, beat_fd()?])
            })
            .collect();
        Ok(Heartbeat {
            beats: HeartbeatState::new(workers),
            beat_fds: beat_fds?.into(),
            thread: OnceLock::new(),
        })
    }

    /// Starts its thread, before any worker.
    pub(crate) fn start(self: &Arc<Self>) -> std::io::Result<JoinHandle<()>> {
        let heartbeat = self.clone();
        let thread = std::thread::Builder::new()
            .name("task-beat".to_owned())
            .spawn(move || heartbeat.run())?;
        let _ = self.thread.set(thread.thread().clone());
        Ok(thread)
    }

    /// What a worker listens to.
    pub(crate) fn beat_fds(&self, worker: usize) -> &BeatFds {
        &self.beat_fds[worker]
    }

    /// A worker has something to do, or will have: it gets beats from now on.
    pub(crate) fn beat_for(&self, worker: usize) {
        if self.beats.begin(worker) {
            self.wake();
        }
    }

    /// The worker has no job and is about to sleep.
    pub(crate) fn rest(&self, worker: usize) {
        self.beats.rest(worker);
    }

    /// The worker has ended.
    pub(crate) fn leave(&self, worker: usize) {
        if self.beats.leave(worker) {
            self.wake();
        }
    }

    fn wake(&self) {
        // Unset only while the pool starts: then its thread has not parked.
        self.thread.get().inspect(|thread| thread.unpark());
    }

    fn run(&self) {
        // `start` may not have come so far; `wake` needs it once this thread parks.
        let _ = self.thread.set(std::thread::current());
        let beat_fd = Cell::new(0);
        let beat = |worker: usize| {
            // It fails only where 2^64 - 2 beats are unread.
            let _ = rustix::io::write(&self.beat_fds[worker][beat_fd.get()], &1u64.to_ne_bytes());
        };
        let pause = || {
            beat_fd.set((beat_fd.get() + 1) % BEAT_FDS);
            std::thread::sleep(BEAT);
        };
        self.beats.give(beat, pause, std::thread::park);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};
    use std::time::{Duration, Instant};

    use crate::executor::hosted::glommio::timer;
    use crate::pool::{Pool, PoolConfig, Seat, TaskContext};
    use crate::sys::doorbell::Doorbell;

    /// Sleeps a little, twice, with turns of the reactor between: under test its preempt timer is
    /// so short that the host parks with runnable tasks again and again (`hosted.rs`).
    #[test]
    fn a_worker_that_is_parked_by_mistake_is_brought_back() {
        let seats = (0..2).map(|cpu| Seat { cpu, shared: true, domain: 0 }).collect();
        let config = PoolConfig::new(seats, 512);
        let doorbells = [Arc::new(Doorbell::new().unwrap())];
        let run = |_: TaskContext, us: u64| async move {
            timer::sleep(Duration::from_micros(us)).await;
            let end = Instant::now() + Duration::from_micros(us / 16);
            while Instant::now() < end {}
            timer::sleep(Duration::from_micros(us / 2)).await;
            Ok(())
        };
        let (pool, _lanes) = Pool::start_async(&config, 32, &doorbells, move |_| run).unwrap();
        let (tell, told) = mpsc::channel();
        pool.on_external_finish(move |finish| tell.send(finish.outcome).unwrap());
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
