//! Tasks from an executor's own futures: periodic ones, waiting for room in turn, callbacks, many at
//! once, and from one pool to another.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use sidecore_runtime::executor::{begin_drain, sleep, spawn_local, tasks_quiet, yield_now};
use sidecore_runtime::pool::{
    DispatchError, Failure, Overlap, PeriodicSnapshot, Pool, PoolConfig, Priority, Retry, RunError,
    TaskContext, TaskError, Tasks,
};
use sidecore_runtime::sys::doorbell::Doorbell;
use sidecore_tests::{pool_config as config, wait_until};

/// Sleeps so many milliseconds and returns them; 99 fails.
fn nap(_: &TaskContext, ms: u64) -> Result<u64, Failure> {
    if ms == 99 {
        return Err(Failure::new("asked to"));
    }
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

#[test]
fn a_periodic_task_does_not_drift_and_stops_when_told() {
    with_pool(&config(1, 64), |tasks| async move {
        let start = Instant::now();
        let periodic = tasks.every(Duration::from_millis(20), Overlap::Queue, || 1);
        sleep(Duration::from_millis(410)).await;
        periodic.stop();
        let counts = periodic.snapshot();
        // What a late timer leaves out is made up for by no later one.
        let times = (start.elapsed().as_millis() / 20) as u64;
        assert!(counts.dispatched <= times && counts.dispatched + 4 >= times, "{counts:?}");
        sleep(Duration::from_millis(100)).await;
        assert_eq!(periodic.snapshot().dispatched, counts.dispatched);
    });
}

#[test]
fn a_periodic_task_whose_job_lasts_is_left_out_or_queued_as_asked() {
    with_pool(&config(1, 64), |tasks| async move {
        let skipping = tasks.every(Duration::from_millis(10), Overlap::Skip, || 55);
        sleep(Duration::from_millis(300)).await;
        skipping.stop();
        let counts = skipping.snapshot();
        assert!(counts.dispatched <= 6 && counts.skipped >= 10, "{counts:?}");
        let queueing = tasks.every(Duration::from_millis(10), Overlap::Queue, || 20);
        sleep(Duration::from_millis(200)).await;
        queueing.stop();
        let counts = queueing.snapshot();
        assert!(counts.dispatched >= 12 && counts.skipped <= 1, "{counts:?}");
    });
}

#[test]
fn who_waits_for_room_gets_it_in_turn_and_before_those_that_do_not_wait() {
    with_pool(&config(1, 1), |tasks| async move {
        // Two credits: one job runs, one waits.
        let first = tasks.dispatch(60).unwrap();
        sleep(Duration::from_millis(20)).await;
        let second = tasks.dispatch(1).unwrap();
        assert!(tasks.dispatch(1).is_err());
        let order = Rc::new(RefCell::new(vec![first, second]));
        for _ in 0..6 {
            let (tasks, order) = (tasks.clone(), order.clone());
            spawn_local(async move {
                let id = tasks.dispatch_when_room(1).await.unwrap();
                order.borrow_mut().push(id);
            });
        }
        // One that goes away leaves its turn to the next.
        let gone = tasks.clone();
        spawn_local(async move {
            let send = gone.dispatch_when_room(1);
            let limit = sleep(Duration::from_millis(5));
            let (mut send, mut limit) = (Box::pin(send), Box::pin(limit));
            std::future::poll_fn(|context| {
                assert!(send.as_mut().poll(context).is_pending());
                limit.as_mut().poll(context)
            })
            .await;
        });
        let end = Instant::now() + Duration::from_secs(5);
        while order.borrow().len() < 8 {
            assert!(Instant::now() < end, "{:?}", order.borrow());
            if order.borrow().len() < 7 {
                assert!(tasks.dispatch(1).is_err(), "one that did not wait went first");
            }
            sleep(Duration::from_millis(1)).await;
        }
        assert!(order.borrow().is_sorted(), "{:?}", order.borrow());
    });
}

#[test]
fn a_dispatch_that_waits_for_room_ends_at_its_deadline_with_its_job() {
    with_pool(&config(1, 1), |tasks| async move {
        tasks.dispatch(200).unwrap();
        sleep(Duration::from_millis(10)).await;
        tasks.dispatch(1).unwrap();
        let start = Instant::now();
        let late = tasks.job(7).deadline(Duration::from_millis(30)).spawn_when_room().await;
        assert!(matches!(late, Err(DispatchError::TimedOut(7))), "{late:?}");
        let waited = start.elapsed();
        assert!((30..150).contains(&waited.as_millis()), "{waited:?}");
        // It left the line: the next one is first.
        assert!(tasks.job(2).deadline(Duration::from_secs(9)).spawn_when_room().await.is_ok());
    });
}

#[test]
fn what_sleeps_keeps_nothing_from_what_could_run() {
    with_pool(&config(1, 4), |tasks| async move {
        let hour = Duration::from_secs(3600);
        let delayed: Vec<_> =
            (0..1025).map(|_| tasks.job(1).delay(hour).spawn().unwrap()).collect();
        let failing = Retry { retries: 1, backoff: hour, backoff_max: hour };
        let paused: Vec<_> =
            (0..64).map(|_| tasks.job(99).retry(failing).spawn_when_room()).collect();
        let mut handles = Vec::new();
        for paused in paused {
            handles.push(paused.await.unwrap());
        }
        while tasks.snapshot().unwrap().retried < 64 {
            sleep(Duration::from_millis(1)).await;
        }
        assert!(handles.iter().all(|handle| !handle.is_over()));
        assert_eq!(tasks.run(1).await.unwrap(), 1);
        let start = Instant::now();
        begin_drain(Instant::now() + Duration::from_secs(30));
        tasks_quiet().await;
        assert!(start.elapsed() < Duration::from_secs(5), "what is due later is not waited for");
        assert!(delayed.iter().all(|handle| handle.is_over()));
        let outcomes = tasks.snapshot().unwrap().outcomes;
        assert_eq!((outcomes.lost, outcomes.finished), (1025 + 64, 1), "{outcomes:?}");
    });
}

#[test]
fn those_that_wait_for_room_go_by_priority() {
    with_pool(&config(1, 8), |tasks| async move {
        let low: Vec<_> =
            (0..200).map(|_| tasks.job(2).priority(Priority::Low).spawn_when_room()).collect();
        let ended = Rc::new(Cell::new(0));
        for low in low {
            let ended = ended.clone();
            spawn_local(async move {
                low.await.unwrap();
                ended.set(ended.get() + 1);
            });
        }
        sleep(Duration::from_millis(10)).await;
        assert!(ended.get() < 100, "they wait");
        let before = ended.get();
        let high = tasks.job(1).priority(Priority::High).spawn_when_room().await;
        assert!(high.is_ok());
        assert!(ended.get() < before + 20, "{} before it", ended.get() - before);
    });
}

#[test]
fn nobody_is_accepted_while_one_waits() {
    with_pool(&config(1, 2), |tasks| async move {
        while tasks.dispatch(20).is_ok() {}
        let waits = tasks.clone();
        let accepted = Rc::new(Cell::new(None));
        let when = accepted.clone();
        let start = Instant::now();
        spawn_local(async move {
            waits.dispatch_when_room(1).await.unwrap();
            when.set(Some(start.elapsed()));
        });
        sleep(Duration::from_millis(1)).await;
        let mut passed = 0;
        while accepted.get().is_none() {
            passed += u32::from(tasks.dispatch(1).is_ok());
            passed += u32::from(tasks.job(1).spawn().is_ok());
            passed += u32::from(tasks.run(1).handle().is_some());
            yield_now().await;
        }
        assert_eq!(passed, 0, "accepted before the one that waits");
    });
}

#[test]
fn one_executor_of_two_can_fill_the_queue_and_the_workers() {
    let doorbells: Vec<_> = (0..2).map(|_| Arc::new(Doorbell::new().unwrap())).collect();
    let (pool, lanes) = Pool::start(&config(1, 1024), &doorbells, nap).unwrap();
    let tasks = pool.tasks();
    let [first, second] = <[_; 2]>::try_from(lanes).ok().expect("a lane for each executor");
    let source = first.install(|_| {});
    tasks.dispatch(300).unwrap();
    wait_until("it runs", || pool.snapshot().workers[0].running.is_some());
    let accepted = (0..2000).take_while(|_| tasks.dispatch(0).is_ok()).count();
    assert_eq!(accepted, 1024);
    drop(second);
    let end = Instant::now() + Duration::from_secs(10);
    while source.in_flight() > 0 {
        assert!(Instant::now() < end, "{} do not end", source.in_flight());
        source.drain();
    }
    tasks.uninstall();
    pool.close(Instant::now() + Duration::from_secs(5));
}

#[test]
fn attempts_of_an_earlier_life_count_as_retries() {
    let doorbell = Arc::new(Doorbell::new().unwrap());
    let (attempted, attempts) = channel();
    let fails = move |context: &TaskContext, _: u64| -> Result<u64, Failure> {
        attempted.send(context.attempt).unwrap();
        Err(Failure::new("asked to"))
    };
    let (pool, mut lanes) =
        Pool::start(&config(1, 8), std::slice::from_ref(&doorbell), fails).unwrap();
    let (told, ends) = channel();
    let source = lanes.remove(0).install(move |finish| told.send(finish.attempts).unwrap());
    let retry = Retry { backoff: Duration::from_millis(1), ..Retry::times(3) };
    for before in [0, 2, 9] {
        pool.tasks().job(1).retry(retry).attempts_before(before).spawn().unwrap();
        let end = Instant::now() + Duration::from_secs(5);
        while source.in_flight() > 0 {
            assert!(Instant::now() < end, "the task does not end");
            source.drain();
        }
    }
    assert!(attempts.try_iter().eq([1, 2, 3, 4, 3, 4, 10]));
    assert!(ends.try_iter().eq([4, 4, 10]));
    pool.tasks().uninstall();
    pool.close(Instant::now() + Duration::from_secs(5));
}

#[test]
fn a_callback_of_its_own_takes_the_place_of_on_finish() {
    with_pool(&config(2, 64), |tasks| async move {
        let (told, finished) = channel();
        let handle = tasks
            .job(3)
            .spawn_then(move |finish| told.send((finish.id, finish.outcome.unwrap())).unwrap())
            .unwrap();
        tasks_quiet().await;
        assert_eq!(finished.try_recv().unwrap(), (handle.id(), 3));
        assert!(handle.is_over());
    });
}

#[test]
fn many_at_once_end_by_position_within_their_time() {
    with_pool(&config(2, 64), |tasks| async move {
        let start = Instant::now();
        let outcomes = tasks.run_all([5, 400, 99, 10], Duration::from_millis(100)).await;
        let took = start.elapsed();
        assert!((100..390).contains(&(took.as_millis() as u64)), "{took:?}");
        let outcomes: Vec<_> = outcomes
            .into_iter()
            .map(|outcome| match outcome {
                Ok(ms) => Ok(ms),
                Err(RunError::Failed(error)) => Err(error),
                Err(other) => panic!("{other}"),
            })
            .collect();
        assert_eq!(outcomes[0], Ok(5));
        assert_eq!(outcomes[1], Err(TaskError::TimedOut));
        assert!(matches!(outcomes[2], Err(TaskError::Failed(_))));
        assert_eq!(outcomes[3], Ok(10));
    });
}

#[test]
fn a_job_whose_last_attempt_fails_is_a_dead_letter_before_its_outcome_is_told() {
    let doorbell = Arc::new(Doorbell::new().unwrap());
    let (pool, mut lanes) =
        Pool::start(&config(1, 8), std::slice::from_ref(&doorbell), nap).unwrap();
    let (told, events) = channel();
    let dead = told.clone();
    let lane = lanes.remove(0).on_dead_letter(move |letter| {
        dead.send(("dead", letter.job, letter.attempts)).unwrap();
    });
    let source = lane.install(move |finish| told.send(("end", 0, finish.attempts)).unwrap());
    let retry = Retry { backoff: Duration::from_millis(1), ..Retry::times(2) };
    pool.tasks().job(99).retry(retry).spawn().unwrap();
    pool.tasks().job(1).retry(retry).spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(5);
    while source.in_flight() > 0 {
        assert!(Instant::now() < end, "the tasks do not end");
        source.drain();
    }
    let mut events: Vec<_> = events.try_iter().collect();
    events.retain(|event| *event != ("end", 0, 1));
    assert_eq!(events, [("dead", 99, 3), ("end", 0, 3)]);
    pool.tasks().uninstall();
    pool.close(end);
}

/// A job of which each copy panics when it is dropped.
struct Brittle {
    is_copy: bool,
}

impl Clone for Brittle {
    fn clone(&self) -> Self {
        Brittle { is_copy: true }
    }
}

impl Drop for Brittle {
    fn drop(&mut self) {
        assert!(!self.is_copy, "a destructor that panics");
    }
}

/// The copy that was kept for another attempt is dropped by the executor.
#[test]
fn the_destructor_of_a_failed_job_may_panic() {
    let doorbell = Arc::new(Doorbell::new().unwrap());
    let fails =
        |_: &TaskContext, _: Brittle| -> Result<u64, Failure> { Err(Failure::new("asked to")) };
    let (pool, mut lanes) =
        Pool::start(&config(1, 8), std::slice::from_ref(&doorbell), fails).unwrap();
    let (told, ends) = channel();
    let source = lanes.remove(0).install(move |finish| told.send(finish.outcome).unwrap());
    let job = pool.tasks().job(Brittle { is_copy: false });
    assert!(job.retry(Retry::times(0)).spawn().is_ok());
    let end = Instant::now() + Duration::from_secs(5);
    while source.in_flight() > 0 {
        assert!(Instant::now() < end, "the task does not end");
        source.drain();
    }
    assert!(matches!(ends.try_recv().unwrap(), Err(TaskError::Failed(_))));
    pool.tasks().uninstall();
    pool.close(end);
}

/// A task dispatches to another pool and waits for its output, on its task worker.
#[test]
fn a_task_of_one_pool_uses_another() {
    let doorbell = Arc::new(Doorbell::new().unwrap());
    let doorbells = std::slice::from_ref(&doorbell);
    let (inner, _lanes) = Pool::start(&config(1, 8), doorbells, nap).unwrap();
    let inner_tasks = inner.tasks();
    let outer_run = move |_: &TaskContext, ms: u64| {
        let waited = inner_tasks.run(ms).wait(Duration::from_secs(5));
        waited.map_err(|_| Failure::new("too late"))?.map_err(Failure::new)
    };
    let (outer, _lanes) = Pool::start(&config(1, 8), doorbells, outer_run).unwrap();
    let output = outer.tasks().run(7).wait(Duration::from_secs(5)).unwrap();
    assert_eq!(output.unwrap(), 7);
    let deadline = Instant::now() + Duration::from_secs(5);
    assert_eq!(outer.close(deadline).outcomes.finished, 1);
    assert_eq!(inner.close(deadline).outcomes.finished, 1);
}

#[test]
fn times_without_end_are_no_limit() {
    with_pool(&config(1, 64), |tasks| async move {
        let far = Duration::MAX;
        let delayed = tasks.job(1).delay(far).spawn().unwrap();
        assert_eq!(tasks.job(1).deadline(far).run().await.unwrap(), 1);
        let outputs = tasks.run_all([1, 2], far).await;
        assert!(outputs.iter().all(Result::is_ok), "{outputs:?}");
        let never = tasks.every(far, Overlap::Queue, || 1);
        sleep(Duration::from_millis(20)).await;
        assert_eq!(never.snapshot(), PeriodicSnapshot::default());
        let endless = sleep(far);
        drop(endless);
        let _ = delayed.cancel();
    });
}

#[test]
fn a_sleep_counts_from_when_it_begins() {
    with_pool(&config(1, 64), |_tasks| async move {
        sleep(Duration::from_millis(5)).await;
        std::thread::sleep(Duration::from_millis(100));
        let start = Instant::now();
        sleep(Duration::from_millis(50)).await;
        assert!(start.elapsed() >= Duration::from_millis(50), "{:?}", start.elapsed());
    });
}

#[test]
fn a_periodic_task_survives_the_panic_of_what_makes_its_jobs() {
    with_pool(&config(1, 64), |tasks| async move {
        let mut made = 0;
        let periodic = tasks.every(Duration::from_millis(10), Overlap::Queue, move || {
            made += 1;
            assert!(made % 2 == 0, "each other time");
            1
        });
        let end = Instant::now() + Duration::from_secs(20);
        let mut counts = periodic.snapshot();
        while counts.dispatched < 2 || counts.panicked < 2 {
            assert!(Instant::now() < end, "{counts:?}");
            sleep(Duration::from_millis(10)).await;
            counts = periodic.snapshot();
        }
        periodic.stop();
    });
}

#[test]
fn times_that_an_executor_came_to_too_late_are_counted_as_left_out() {
    with_pool(&config(1, 64), |tasks| async move {
        let start = Instant::now();
        let periodic = tasks.every(Duration::from_millis(10), Overlap::Queue, || 1);
        sleep(Duration::from_millis(5)).await;
        std::thread::sleep(Duration::from_millis(100));
        sleep(Duration::from_millis(30)).await;
        periodic.stop();
        let counts = periodic.snapshot();
        let due = (start.elapsed().as_millis() / 10) as u64;
        assert!(counts.skipped >= 7, "{counts:?}");
        assert!(counts.dispatched + counts.skipped <= due, "{counts:?} of {due}");
    });
}

#[test]
fn no_periodic_job_begins_once_its_executor_drains() {
    with_pool(&config(1, 64), |tasks| async move {
        let periodic = tasks.every(Duration::from_millis(10), Overlap::Queue, || 1);
        sleep(Duration::from_millis(55)).await;
        begin_drain(Instant::now() + Duration::from_secs(5));
        let before = periodic.snapshot();
        assert!(before.dispatched > 0);
        sleep(Duration::from_millis(50)).await;
        assert_eq!(periodic.snapshot(), before);
    });
}

#[test]
fn all_who_wait_for_the_tasks_to_end_are_told() {
    with_pool(&config(1, 64), |tasks| async move {
        let told = Rc::new(Cell::new(0));
        tasks.dispatch(50).unwrap();
        for _ in 0..3 {
            let told = told.clone();
            spawn_local(async move {
                tasks_quiet().await;
                told.set(told.get() + 1);
            });
        }
        sleep(Duration::from_millis(1)).await;
        assert_eq!(told.get(), 0);
        tasks_quiet().await;
        sleep(Duration::from_millis(1)).await;
        assert_eq!(told.get(), 3);
    });
}
