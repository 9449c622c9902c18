//! Dispatches that wait for room: whom they hold up, where their futures may go, what the drain says
//! to them.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use sidecore_runtime::executor::{begin_drain, sleep, spawn_local};
use sidecore_runtime::pool::{
    DispatchError, Failure, Pool, PoolConfig, RunError, TaskContext, TaskError, TaskHandle,
    TaskState, Tasks,
};
use sidecore_runtime::sys::doorbell::Doorbell;
use sidecore_tests::pool_config as config;

const LONG: Duration = Duration::from_secs(10);

/// Sleeps so many milliseconds and returns them.
fn nap(_: &TaskContext, ms: u64) -> Result<u64, Failure> {
    std::thread::sleep(Duration::from_millis(ms));
    Ok(ms)
}

/// Runs a main future on an executor with a pool, and checks that nothing was lost.
fn with_pool<F: Future<Output = ()> + 'static>(
    config: &PoolConfig,
    main: impl FnOnce(Tasks<u64, u64>) -> F + Send + 'static,
) {
    sidecore_tests::with_pool(|doorbells| Pool::start(config, doorbells, nap), |_| {}, main);
}

async fn ms(ms: u64) {
    sleep(Duration::from_millis(ms)).await;
}

/// Keeps task worker 0 of two busy, and its mailbox full; one credit is left.
async fn fill_a_mailbox(tasks: &Tasks<u64, u64>) -> Vec<TaskHandle> {
    let mut handles = Vec::new();
    for nap in [500, 1, 1] {
        handles.push(tasks.job(nap).task_worker(0).spawn().unwrap());
        while handles[0].state() == TaskState::Queued {
            ms(1).await;
        }
    }
    handles
}

/// Whoever else dispatches is accepted meanwhile, and served by the other worker.
async fn others_are_served(tasks: &Tasks<u64, u64>, busy: &TaskHandle) {
    ms(20).await;
    for _ in 0..5 {
        assert_eq!(tasks.job(1).run().await.expect("it is not held up"), 1);
        assert!(tasks.job(1).deadline(LONG).spawn_when_room().await.is_ok());
        ms(5).await;
    }
    let refused = tasks.job(1).task_worker(0).spawn();
    assert!(matches!(refused, Err(DispatchError::Full(1))), "nobody passes who waits: {refused:?}");
    assert!(!busy.is_over(), "the machine is too slow for this test");
}

#[test]
fn a_delayed_job_for_a_worker_whose_mailbox_is_full_holds_up_nobody_else() {
    with_pool(&config(2, 2), |tasks| async move {
        let handles = fill_a_mailbox(&tasks).await;
        let due = |_| tasks.job(1).task_worker(0).delay(Duration::from_millis(1)).spawn();
        let delayed: Vec<_> = (0..3).map(|number| due(number).unwrap()).collect();
        others_are_served(&tasks, &handles[0]).await;
        assert!(delayed.iter().all(|delayed| !delayed.is_over()));
        while !delayed.iter().all(TaskHandle::is_over) {
            ms(5).await;
        }
    });
}

#[test]
fn a_send_to_a_worker_whose_mailbox_is_full_holds_up_nobody_else_and_those_go_in_order() {
    with_pool(&config(2, 2), |tasks| async move {
        let handles = fill_a_mailbox(&tasks).await;
        let (tell, told) = channel();
        for number in 0..4 {
            let (tasks, tell) = (tasks.clone(), tell.clone());
            spawn_local(async move {
                assert!(tasks.job(1).task_worker(0).spawn_when_room().await.is_ok());
                tell.send(number).unwrap();
            });
        }
        drop(tell);
        others_are_served(&tasks, &handles[0]).await;
        assert!(told.try_recv().is_err(), "there was no room");
        ms(600).await;
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [0, 1, 2, 3]);
    });
}

/// Polls it once, for nobody; it waits.
fn waits<F: Future + Send>(mut future: Pin<&mut F>) {
    assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
}

#[test]
fn the_place_of_a_send_is_given_up_wherever_its_future_is_dropped_or_polled() {
    with_pool(&PoolConfig { credits: Some(1), ..config(1, 4) }, |tasks| async move {
        let busy = tasks.job(100).spawn().unwrap();
        let mut sends =
            [tasks.job(1).spawn_when_room(), tasks.job(2).spawn_when_room()].map(Box::pin);
        let mut plain = Box::pin(tasks.dispatch_when_room(3));
        sends.iter_mut().for_each(|send| waits(send.as_mut()));
        waits(plain.as_mut());
        let elsewhere = std::thread::spawn(move || {
            let [dropped, mut polled] = sends;
            drop((dropped, plain));
            let context = &mut Context::from_waker(Waker::noop());
            match polled.as_mut().poll(context) {
                Poll::Ready(Err(refused)) => refused.into_job(),
                other => panic!("{other:?}"),
            }
        });
        assert_eq!(elsewhere.join().unwrap(), 2);
        while !busy.is_over() {
            ms(5).await;
        }
        ms(20).await;
        assert_eq!(tasks.job(4).run().await.expect("the only credit is free"), 4);
    });
}

#[test]
fn a_send_that_is_due_after_the_drain_is_refused_at_once() {
    // With places among the sleepers, and without any.
    for delayed_max in [4, 0] {
        with_pool(&PoolConfig { delayed_max, ..config(1, 4) }, |tasks| async move {
            let (tell, told) = channel();
            let send = move |tasks: &Tasks<u64, u64>, job, delay_s| {
                let (tasks, tell) = (tasks.clone(), tell.clone());
                spawn_local(async move {
                    let sent =
                        tasks.job(job).delay(Duration::from_secs(delay_s)).spawn_when_room().await;
                    tell.send(sent.map(drop).map_err(|refused| refused.map(drop))).unwrap();
                });
            };
            send(&tasks, 1, 3600);
            ms(20).await;
            let before = told.try_recv();
            begin_drain(Instant::now() + LONG);
            send(&tasks, 2, 3600);
            let at_once = tasks.job(4).delay(Duration::from_secs(3600)).spawn();
            assert!(matches!(at_once, Err(DispatchError::Closed(4))), "{at_once:?}");
            ms(20).await;
            let after: Vec<_> = told.try_iter().collect();
            let refused = |sent: &Result<_, _>| matches!(sent, Err(DispatchError::Closed(())));
            assert!(after.iter().all(refused), "{after:?}");
            match before {
                // It sleeps: it is lost with the drain.
                Ok(sent) => assert!(sent.is_ok() && after.len() == 1, "{after:?}"),
                Err(_) => assert_eq!(after.len(), 2, "{after:?}"),
            }
            // What is due within it is not.
            send(&tasks, 3, 0);
            ms(50).await;
            assert!(matches!(told.try_recv(), Ok(Ok(()))));
        });
    }
}

/// A thread that is no executor waits for its task no longer than the task's deadline, whatever the
/// only task worker does; the outcome is counted as what it was told.
#[test]
fn a_deadline_ends_the_wait_of_another_thread_behind_a_worker_that_is_busy() {
    let doorbell = Arc::new(Doorbell::new().unwrap());
    let (pool, lanes) = Pool::start(&config(1, 4), std::slice::from_ref(&doorbell), nap).unwrap();
    let tasks = pool.tasks();
    let busy = tasks.run(600);
    let start = Instant::now();
    let queued = tasks.job(1).deadline(Duration::from_millis(50)).run();
    let outcome = queued.wait(LONG).expect("it is over");
    assert!(matches!(outcome, Err(RunError::Failed(TaskError::TimedOut))), "{outcome:?}");
    let waited = start.elapsed();
    assert!((50..500).contains(&waited.as_millis()), "{waited:?}");
    assert!(matches!(busy.wait(LONG), Ok(Ok(600))));
    // One that runs is told as soon.
    let start = Instant::now();
    let running = tasks.job(600).deadline(Duration::from_millis(50)).run();
    let outcome = running.wait(LONG).expect("it is over");
    assert!(matches!(outcome, Err(RunError::Failed(TaskError::TimedOut))), "{outcome:?}");
    assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
    // And one whose deadline is later than the wait is given back.
    let later = tasks.job(1).deadline(LONG).run().wait(Duration::from_millis(20)).unwrap_err();
    assert!(matches!(later.wait(LONG), Ok(Ok(1))));
    drop(lanes);
    let end = pool.close(Instant::now() + LONG);
    assert_eq!((end.accepted, end.outcomes.finished, end.outcomes.timed_out), (4, 2, 2));
}
