//! glommio as the host of async task workers: its executor on a thread of theirs, its files, sockets
//! and timers for their jobs.
//!
//! A serving executor's loop never returns to glommio (`turn.rs`); an async worker does, since its
//! jobs want the reactor. What glommio lacks then is made up for around it: jobs are polled in one
//! glommio task with wakers of our own, so that a panic ends the job alone and a wake from another
//! thread is sound (`waker.rs`); other threads wake it by eventfds that it polls; and where its
//! scheduler parks with runnable tasks, the heartbeat brings it back (`pool/wake/heartbeat.rs`).

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use glommio::io::PollableFd;
use glommio::{LocalExecutorBuilder, Placement, Task};

pub use glommio;

use super::GLOMMIO_IO_MEMORY_BYTES;

/// glommio's default. With a shorter one it parks with runnable tasks in nearly each run, which is
/// what tests of the heartbeat want.
const PREEMPT_TIMER: Duration =
    if cfg!(test) { Duration::from_micros(50) } else { Duration::from_millis(100) };

/// A descriptor that is listened to, until [`stop`](Listener::stop).
pub(crate) struct Listener(Task<()>);

/// Pins this thread and runs `main` on it, in an executor of its own.
///
/// # Panics
/// If a task that a job has spawned by glommio itself panics.
pub(crate) fn run<F: Future>(cpu: usize, main: impl FnOnce() -> F) -> io::Result<F::Output> {
    let executor = LocalExecutorBuilder::new(Placement::Fixed(cpu))
        .io_memory(GLOMMIO_IO_MEMORY_BYTES)
        .preempt_timer(PREEMPT_TIMER)
        .make()?;
    Ok(executor.run(async move { main().await }))
}

/// Calls `on_ring` whenever the eventfd of `doorbell`, which must not block, was written to.
pub(crate) fn listen(
    doorbell: impl AsRawFd + 'static,
    read: impl Fn() + 'static,
) -> io::Result<Listener> {
    let doorbell = PollableFd::new(doorbell)?;
    let listening = async move {
        while doorbell.readable().await.is_ok() {
            read()
        }
    };
    Ok(Listener(glommio::spawn_local(listening)))
}

impl Listener {
    /// Ends it; one that is left when its executor ends would leak its descriptor.
    pub(crate) async fn stop(self) {
        self.0.cancel().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};
    use std::time::{Duration, Instant};

    use crate::pool::{Failure, Pool, PoolConfig, Seat, TaskContext, TaskError};
    use crate::sys::doorbell::Doorbell;

    const SOON: Duration = Duration::from_secs(5);

    async fn wait_or_break(_: TaskContext, breaks: bool) -> Result<bool, Failure> {
        if breaks {
            // Its first poll would be made here, within the job's.
            let later = async {
                glommio::timer::sleep(Duration::from_millis(1)).await;
                panic!("asked to")
            };
            glommio::spawn_local(later).detach();
            glommio::timer::sleep(SOON * 100).await;
        }
        Ok(breaks)
    }

    /// Nothing catches that panic but the worker's thread: its executor is gone.
    #[test]
    fn a_panic_in_a_task_of_the_host_loses_what_runs_and_the_worker_lives_on() {
        let seats = vec![Seat { cpu: 0, shared: true, domain: 0 }];
        let config = PoolConfig::new(seats, 8);
        let doorbells = [Arc::new(Doorbell::new().unwrap())];
        let (tell_made, made) = mpsc::channel();
        let make_worker = move |worker| {
            tell_made.send(worker).unwrap();
            wait_or_break
        };
        let (pool, _lanes) = Pool::start_async(&config, 4, &doorbells, make_worker).unwrap();
        let (tell, told) = mpsc::channel();
        pool.on_external_finish(move |finish| tell.send(finish.outcome).unwrap());
        for _ in 0..2 {
            pool.tasks().dispatch(true).unwrap();
            assert_eq!(told.recv_timeout(SOON).unwrap(), Err(TaskError::Lost));
            pool.tasks().dispatch(false).unwrap();
            assert_eq!(told.recv_timeout(SOON).unwrap(), Ok(false));
        }
        let end = pool.close(Instant::now() + SOON);
        assert_eq!((end.outcomes.lost, end.outcomes.finished, end.outstanding()), (2, 2, 0));
        assert_eq!(made.try_iter().collect::<Vec<_>>(), [0, 0, 0]);
    }
}
