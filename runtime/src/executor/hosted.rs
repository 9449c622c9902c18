//! glommio as the host of async task workers: its executor on a thread of theirs, its files, sockets
//! and timers for their jobs.
//!
//! A serving executor's loop never returns to glommio; an async worker does, since its jobs want the
//! reactor. What glommio lacks then is made up for around it: jobs are polled in one glommio task with
//! wakers of our own, so that a panic ends the job alone and a wake from another thread is sound; other
//! threads wake it by eventfds that it polls; and where its scheduler parks with runnable tasks, as it
//! may when its preempt timer fires before a task's turn, a heartbeat brings it back.

// The wakers are of `waker.rs`, the heartbeat of `pool/wake/heartbeat.rs`. Nothing could bring the host back
// before the eventfds are polled: until then the preempt timer does not fire (`preempted`).

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use glommio::io::PollableFd;
use glommio::{Latency, LocalExecutorBuilder, Placement, Shares, Task};

pub use glommio;

use super::GLOMMIO_IO_MEMORY_BYTES;

/// Until the host can be brought back.
const NO_PREEMPT_TIMER: Duration = Duration::from_secs(24 * 60 * 60);

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
        .preempt_timer(NO_PREEMPT_TIMER)
        .make()?;
    Ok(executor.run(async move { main().await }))
}

/// Runs a task, and those that it spawns, with the preempt timer: what keeps glommio from its timers
/// and files does so for no longer. The timer is that of the busiest queue of tasks, and this one's.
pub(crate) async fn preempted<T: 'static>(main: impl Future<Output = T> + 'static) -> T {
    let latency = Latency::Matters(PREEMPT_TIMER);
    let queue = glommio::executor().create_task_queue(Shares::default(), latency, "worker");
    glommio::spawn_local_into(main, queue).expect("its queue was just made").await
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
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, mpsc};
    use std::time::{Duration, Instant};

    use crate::pool::{Failure, Pool, PoolConfig, Seat, TaskContext, TaskError};
    use crate::sys::doorbell::Doorbell;

    const STARTS: usize = 300;
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

    /// Its host is preempted again and again meanwhile; a start that it sleeps through never ends.
    #[test]
    fn a_worker_starts_on_a_cpu_that_others_keep_busy() {
        let over = Arc::new(AtomicBool::new(false));
        let busy: Vec<_> = (0..2)
            .map(|_| {
                let over = over.clone();
                std::thread::spawn(move || {
                    let cpus = core_affinity::get_core_ids().unwrap();
                    core_affinity::set_for_current(cpus[0]);
                    while !over.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                })
            })
            .collect();
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            for _ in 0..STARTS {
                let seats = vec![Seat { cpu: 0, shared: true, domain: 0 }];
                let doorbells = [Arc::new(Doorbell::new().unwrap())];
                let config = PoolConfig::new(seats, 8);
                let make_worker = |_| wait_or_break;
                let (pool, _lanes) =
                    Pool::start_async(&config, 4, &doorbells, make_worker).unwrap();
                pool.close(Instant::now() + SOON);
                tell.send(()).unwrap();
            }
        });
        for round in 0..STARTS {
            let started = told.recv_timeout(SOON * 6);
            assert!(started.is_ok(), "start {round} has not ended");
        }
        over.store(true, Ordering::Relaxed);
        busy.into_iter().for_each(|thread| thread.join().unwrap());
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
