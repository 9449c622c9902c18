//! Jobs that yield, sleep, read, compute, panic and wait for other threads, dispatched in bursts
//! with pauses in which the workers fall asleep: each has its outcome once, and soon.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use sidecore_runtime::executor::hosted::glommio::{io::BufferedFile, timer};
use sidecore_runtime::pool::{Failure, Finish, Lane, Pool, TaskContext, TaskError, Tasks};
use sidecore_runtime::sys::doorbell::Doorbell;
use sidecore_tests::Random;

use super::{SOON, alone, config};

/// What a job of the stress does, on its way to its id.
#[derive(Clone, Debug)]
enum Act {
    Return,
    Yield(u32),
    Sleep(u64),
    Spin(u64),
    Read,
    Panic,
    /// Waits until another thread wakes it.
    Signal(mpsc::Sender<Signal>),
}

/// A flag that is raised by another thread.
#[derive(Clone, Debug, Default)]
struct Signal(Arc<Mutex<(bool, Option<Waker>)>>);

impl Signal {
    fn raise(&self) {
        let waker = {
            let mut state = self.0.lock().unwrap();
            state.0 = true;
            state.1.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }
}

impl Future for Signal {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock().unwrap();
        if state.0 {
            return Poll::Ready(());
        }
        state.1 = Some(context.waker().clone());
        Poll::Pending
    }
}

async fn yields(times: u32) {
    let mut left = times;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

async fn act(task: TaskContext, act: Act) -> Result<u64, Failure> {
    match act {
        Act::Return => {}
        Act::Yield(times) => yields(times).await,
        Act::Sleep(us) => timer::sleep(Duration::from_micros(us)).await,
        Act::Spin(us) => {
            let end = Instant::now() + Duration::from_micros(us);
            while Instant::now() < end {
                std::hint::spin_loop();
            }
        }
        Act::Read => {
            let file = BufferedFile::open("/proc/self/cmdline").await.map_err(Failure::new)?;
            let read = file.read_at(0, 64).await.map_err(Failure::new)?;
            assert!(!read.is_empty());
            file.close().await.map_err(Failure::new)?;
        }
        Act::Panic => panic!("asked to"),
        Act::Signal(signals) => {
            let signal = Signal::default();
            signals.send(signal.clone()).map_err(Failure::new)?;
            signal.await;
        }
    }
    Ok(task.id)
}

/// One executor's thread: bursts, pauses in which the workers fall asleep, each outcome once and
/// in time.
fn drive(
    lane: Lane<Act, u64>,
    tasks: &Tasks<Act, u64>,
    seed: u64,
    end: Instant,
) -> (u64, Duration) {
    let (signals, raised) = mpsc::channel::<Signal>();
    let raiser = std::thread::spawn(move || raised.iter().for_each(|signal| signal.raise()));
    let open: Rc<RefCell<HashMap<u64, (bool, Instant)>>> = Rc::default();
    let slowest = Rc::new(Cell::new(Duration::ZERO));
    let source = {
        let (open, slowest) = (open.clone(), slowest.clone());
        lane.install(move |finish: Finish<u64>| {
            let (panics, since) = open.borrow_mut().remove(&finish.id).expect("one finish a task");
            slowest.set(slowest.get().max(since.elapsed()));
            match finish.outcome {
                Ok(id) => assert!(id == finish.id && !panics),
                Err(TaskError::Panicked(_)) => assert!(panics),
                Err(other) => panic!("task {}: {other}", finish.id),
            }
        })
    };
    let mut random = Random::new(seed);
    let mut accepted = 0;
    while Instant::now() < end || !open.borrow().is_empty() {
        let burst = if Instant::now() < end { random.below(40) } else { 0 };
        for _ in 0..burst {
            let act = match random.below(16) {
                0..=3 => Act::Return,
                4 | 5 => Act::Yield(random.below(200) as u32),
                6..=8 => Act::Sleep(random.below(3_000) as u64),
                9 => Act::Spin(random.below(300) as u64),
                10 | 11 => Act::Read,
                12 => Act::Panic,
                _ => Act::Signal(signals.clone()),
            };
            let panics = matches!(act, Act::Panic);
            if let Ok(id) = tasks.dispatch(act) {
                open.borrow_mut().insert(id, (panics, Instant::now()));
                accepted += 1;
            }
        }
        let pause = Instant::now() + Duration::from_micros(random.below(4_000) as u64);
        while Instant::now() < pause {
            source.drain();
            std::thread::sleep(Duration::from_micros(100));
        }
        source.drain();
        let oldest = open.borrow().values().map(|(_, since)| since.elapsed()).max();
        assert!(oldest.unwrap_or_default() < SOON, "a job stalls");
    }
    tasks.uninstall();
    drop(signals);
    // The queue's copies of the sender are gone with their jobs.
    raiser.join().unwrap();
    (accepted, slowest.get())
}

#[test]
fn no_job_stalls_however_its_worker_is_woken() {
    let _alone = alone();
    let doorbells: Vec<_> = (0..2).map(|_| Arc::new(Doorbell::new().unwrap())).collect();
    let (pool, lanes) = Pool::start_async(&config(2, 256), 32, &doorbells, |_| act).unwrap();
    let tasks = pool.tasks();
    let end = Instant::now() + Duration::from_secs(6);
    let threads: Vec<_> = lanes
        .into_iter()
        .enumerate()
        .map(|(index, lane)| {
            let tasks = tasks.clone();
            std::thread::spawn(move || drive(lane, &tasks, 7 + index as u64, end))
        })
        .collect();
    let driven: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let closed = pool.close(Instant::now() + SOON);
    let accepted: u64 = driven.iter().map(|(accepted, _)| accepted).sum();
    assert!(accepted > 1_000, "{accepted}");
    assert_eq!((closed.accepted, closed.outcomes.total()), (accepted, accepted));
    assert_eq!((closed.outcomes.lost, closed.queued, closed.callback_panics), (0, 0, 0));
    assert!(closed.workers.iter().all(|worker| worker.ran > 0), "{closed:?}");
    for (accepted, slowest) in driven {
        eprintln!("{accepted} jobs, the slowest took {slowest:?}");
        assert!(slowest < Duration::from_secs(1), "the slowest took {slowest:?}");
    }
}
