//! The executor's local tasks and wakers under stress: foreign threads clone, wake and drop wakers
//! while tasks complete and the loop falls asleep.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use sidecore_runtime::executor::{
    Executor, ExecutorConfig, ExecutorSnapshot, sleep, spawn_local, yield_now,
};
use sidecore_runtime::net::RingConfig;
use sidecore_runtime::sys::doorbell::Doorbell;

/// Runs a main future on an executor of its own, and returns its counters.
fn on_executor<F: Future<Output = ()> + 'static>(
    main: impl FnOnce() -> F + Send + 'static,
) -> ExecutorSnapshot {
    let doorbell = Arc::new(Doorbell::new().unwrap());
    let ring = RingConfig::default();
    let config = ExecutorConfig { index: 0, cpu: 0, ring, spin: Duration::ZERO };
    let executor = Executor::start(config, doorbell, main).unwrap();
    let stats = executor.stats().clone();
    executor.join(0, 0).unwrap();
    stats.snapshot()
}

/// What a task gives to a foreign thread: its waker, and the flag that it waits for.
struct Order {
    waker: Waker,
    done: Arc<AtomicBool>,
}

struct CountDrop(Arc<AtomicU64>);

impl Drop for CountDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Wakes each task it is told of, from several clones, some of which outlive the task.
fn foreign_thread(orders: Arc<Mutex<std::sync::mpsc::Receiver<Order>>>, seed: u64) {
    let mut state = seed | 1;
    let mut kept: Vec<Waker> = Vec::new();
    loop {
        let Ok(order) = orders.lock().unwrap().recv() else { break };
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let clone = order.waker.clone();
        if state % 3 == 0 {
            // A wake too early: the task is polled and finds nothing.
            clone.wake_by_ref();
        }
        if state % 64 == 0 {
            // Lets the loop fall asleep.
            std::thread::sleep(Duration::from_micros(state % 200));
        }
        order.done.store(true, Ordering::Release);
        match state % 2 {
            0 => order.waker.wake(),
            _ => order.waker.wake_by_ref(),
        }
        // Wakes after the task may have ended, of a slot that may have a new owner.
        if let Some(stale) = (kept.len() > 16).then(|| kept.swap_remove(state as usize % 16)) {
            stale.wake();
        }
        kept.push(clone);
    }
}

async fn one_task(orders: Sender<Order>, dropped: CountDrop) {
    let _dropped = dropped;
    for _ in 0..4 {
        let done = Arc::new(AtomicBool::new(false));
        let mut sent = false;
        poll_fn(|context| {
            if done.load(Ordering::Acquire) {
                return Poll::Ready(());
            }
            if !std::mem::replace(&mut sent, true) {
                let waker = context.waker().clone();
                orders.send(Order { waker, done: done.clone() }).unwrap();
            }
            Poll::Pending
        })
        .await;
    }
}

#[test]
fn each_future_is_dropped_once_and_no_wake_is_lost() {
    const TASKS: u64 = 100_000;
    const ALIVE_MAX: u64 = 64;
    let dropped = Arc::new(AtomicU64::new(0));
    let seen = dropped.clone();
    let (orders, receiver) = channel::<Order>();
    let receiver = Arc::new(Mutex::new(receiver));
    let threads: Vec<_> = (0..3u64)
        .map(|seed| {
            let receiver = receiver.clone();
            std::thread::spawn(move || foreign_thread(receiver, seed * 0x9E37_79B9 + 7))
        })
        .collect();
    let start = Instant::now();
    let stats = on_executor(move || async move {
        let mut spawned = 0;
        while dropped.load(Ordering::Relaxed) < TASKS {
            // A stall is a lost wake: the time limit turns it into a failure.
            assert!(start.elapsed() < Duration::from_secs(120), "stalled at {dropped:?}");
            while spawned < TASKS && spawned - dropped.load(Ordering::Relaxed) < ALIVE_MAX {
                spawned += 1;
                spawn_local(one_task(orders.clone(), CountDrop(dropped.clone())));
            }
            sleep(Duration::from_millis(1)).await;
        }
    });
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(seen.load(Ordering::Relaxed), TASKS);
    assert_eq!(stats.panics, 0);
}

#[test]
fn a_panic_ends_its_task_and_nothing_else() {
    let stats = on_executor(|| async {
        let reached = Rc::new(Cell::new(0));
        for at in 0..10 {
            let reached = reached.clone();
            spawn_local(async move {
                yield_now().await;
                reached.set(reached.get() + 1);
                assert!(at % 2 == 0, "an odd task");
            });
        }
        sleep(Duration::from_millis(20)).await;
        assert_eq!(reached.get(), 10);
    });
    assert_eq!(stats.panics, 5);
}

/// Whatever the fraction of a millisecond, of its length and of the moment it begins.
#[test]
fn a_sleep_is_never_short() {
    let stats = on_executor(|| async {
        for at in 0..300 {
            let length = Duration::from_micros(1 + at * 37 % 2000);
            let start = Instant::now();
            sleep(length).await;
            assert!(start.elapsed() >= length, "{:?} of {length:?}", start.elapsed());
        }
    });
    assert_eq!(stats.panics, 0);
}

/// Idle and waiting ticks of CPU 0 since the system started (proc(5), `/proc/stat`).
fn idle_and_iowait() -> (u64, u64) {
    let stat = std::fs::read_to_string("/proc/stat").unwrap();
    let cpu = stat.lines().find_map(|line| line.strip_prefix("cpu0 ")).unwrap();
    let ticks: Vec<u64> = cpu.split(' ').map(|ticks| ticks.parse().unwrap()).collect();
    (ticks[3], ticks[4])
}

/// How CPU 0 counted while something ran that waits: idle and waiting ticks.
fn counted_while(run: impl FnOnce()) -> (u64, u64) {
    let (idle, iowait) = idle_and_iowait();
    run();
    let (idle_then, iowait_then) = idle_and_iowait();
    (idle_then.saturating_sub(idle), iowait_then.saturating_sub(iowait))
}

/// From Linux 6.15 on; before that all of it is iowait.
///
/// The CPU counts so for whoever last waited there, of all processes. So what it counts without
/// the executor is looked at before and after, and a round is of use only where that was idle.
#[test]
fn the_cpu_of_an_executor_that_waits_counts_as_idle() {
    const WINDOW: Duration = Duration::from_millis(200);
    const WRONG_MAX: u32 = 3;
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split('.').map_while(|number| number.parse::<u32>().ok());
    if (numbers.next(), numbers.next()) < (Some(6), Some(15)) {
        return;
    }
    let is_undisturbed = || {
        let (idle, iowait) = counted_while(|| std::thread::sleep(WINDOW));
        idle > 10 && iowait == 0
    };
    let mut wrong = 0;
    let mut before = is_undisturbed();
    for _ in 0..30 {
        let (idle, iowait) = counted_while(|| {
            let stats = on_executor(|| sleep(WINDOW));
            assert_eq!(stats.panics, 0);
        });
        let after = is_undisturbed();
        if std::mem::replace(&mut before, after) && after {
            if idle > iowait {
                return;
            }
            wrong += 1;
            assert!(
                wrong < WRONG_MAX,
                "an executor that waits counts as one that waits for a disk"
            );
        }
    }
    println!("others used CPU 0, or waited there, all the time: nothing was seen");
}

#[test]
fn a_task_that_is_always_ready_starves_neither_timers_nor_foreign_wakes() {
    let late = Arc::new(AtomicU64::new(0));
    let seen = late.clone();
    on_executor(move || async move {
        spawn_local(async {
            loop {
                yield_now().await;
            }
        });
        for _ in 0..50 {
            let start = Instant::now();
            sleep(Duration::from_millis(2)).await;
            late.fetch_max(start.elapsed().as_millis() as u64, Ordering::Relaxed);
            let (sender, receiver) = channel::<Waker>();
            let woken = Arc::new(AtomicBool::new(false));
            let flag = woken.clone();
            let thread = std::thread::spawn(move || {
                let waker = receiver.recv().unwrap();
                flag.store(true, Ordering::Release);
                waker.wake();
            });
            let mut sender = Some(sender);
            let start = Instant::now();
            poll_fn(|context| {
                if let Some(sender) = sender.take() {
                    sender.send(context.waker().clone()).unwrap();
                }
                if woken.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            late.fetch_max(start.elapsed().as_millis() as u64, Ordering::Relaxed);
            thread.join().unwrap();
        }
    });
    // Both CPUs may be busy with other tests; a starved timer would wait for ever.
    let late = seen.load(Ordering::Relaxed);
    assert!(late < 200, "{late} ms late");
}

#[test]
fn tasks_that_are_left_are_dropped_at_the_end() {
    let dropped = Arc::new(AtomicU64::new(0));
    let seen = dropped.clone();
    on_executor(move || async move {
        for _ in 0..100 {
            let guard = CountDrop(dropped.clone());
            spawn_local(async move {
                let _guard = guard;
                std::future::pending::<()>().await;
            });
        }
        yield_now().await;
    });
    assert_eq!(seen.load(Ordering::Relaxed), 100);
}
