//! Values of the user whose destructor panics: each costs itself only, wherever it is dropped. The
//! task worker, the executor and the outcome are as they would be without the panic.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use sidecore_runtime::executor::{sleep, tasks_quiet};
use sidecore_runtime::pool::{
    Cancelled, DispatchError, Failure, Finish, Overlap, Pool, PoolConfig, Retry, RunError, Seat,
    TaskError, Tasks,
};
use sidecore_runtime::sys::doorbell::Doorbell;

/// Panics when it is dropped, unless that is while another panic goes through.
#[derive(Clone, Debug)]
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "a destructor of the user's panics");
    }
}

/// Runs for so long, and has a bomb with it or returns one.
#[derive(Clone, Debug)]
struct Job {
    ms: u64,
    carries: Option<Bomb>,
    returns: bool,
}

type Output = Option<Bomb>;

fn nap(ms: u64) -> Job {
    Job { ms, carries: None, returns: false }
}

fn bomb(ms: u64) -> Job {
    Job { carries: Some(Bomb), ..nap(ms) }
}

fn run(job: Job) -> Result<Output, Failure> {
    std::thread::sleep(Duration::from_millis(job.ms));
    // The job itself is not dropped in its run, which would be a panic of the job.
    std::mem::forget(job.carries);
    Ok(job.returns.then(|| Bomb))
}

const PATIENCE: Duration = Duration::from_secs(10);

/// Runs a main future on an executor with a pool of one task worker; whatever it did, a job runs
/// afterwards, and the pool's end adds up.
fn with_pool<F: Future<Output = ()> + 'static>(
    asynchronous: bool,
    main: impl FnOnce(Tasks<Job, Output>) -> F + Send + 'static,
) {
    let config = PoolConfig::new(vec![Seat { cpu: 1, shared: true, domain: 0 }], 4);
    let start = |doorbells: &[Arc<Doorbell>]| match asynchronous {
        true => Pool::start_async(&config, 1, doorbells, |_| |_, job| async move { run(job) }),
        false => Pool::start(&config, doorbells, |_, job| run(job)),
    };
    let forget = |finish: Finish<Output>| std::mem::forget(finish.outcome);
    let end = sidecore_tests::with_pool(start, forget, |tasks: Tasks<Job, Output>| async move {
        main(tasks.clone()).await;
        let after = tasks.job(nap(1)).deadline(PATIENCE).run().await;
        assert!(after.is_ok(), "the worker has gone: {after:?}");
    });
    assert_eq!(end.outcomes.lost, 0, "{end:?}");
}

/// In a pool of each kind.
fn check<F: Future<Output = ()> + 'static>(
    main: impl FnOnce(Tasks<Job, Output>) -> F + Clone + Send + 'static,
) {
    with_pool(false, main.clone());
    with_pool(true, main);
}

fn ended_by(outcome: Result<Output, RunError<Job>>) -> TaskError {
    match outcome {
        Err(RunError::Failed(error)) => error,
        other => {
            let text = format!("{other:?}");
            std::mem::forget(other);
            panic!("{text}");
        }
    }
}

#[test]
fn of_a_job_that_is_cancelled_in_the_queue() {
    check(|tasks| async move {
        let busy = tasks.run(nap(50));
        let queued = tasks.job(bomb(0)).spawn().unwrap();
        assert_eq!(queued.cancel(), Cancelled::Withdrawn);
        assert!(busy.await.is_ok());
    });
}

#[test]
fn of_a_job_that_comes_too_late_to_its_worker() {
    check(|tasks| async move {
        let busy = tasks.run(nap(60));
        let late = tasks.job(bomb(0)).deadline(Duration::from_millis(10)).run();
        assert_eq!(ended_by(late.await), TaskError::TimedOut);
        assert!(busy.await.is_ok());
    });
}

#[test]
fn of_the_copy_that_was_kept_of_a_job_which_succeeds() {
    check(|tasks| async move {
        let outcome = tasks.job(bomb(1)).retry(Retry::times(3)).run().await;
        assert!(matches!(outcome, Ok(None)), "a success stays one");
    });
}

#[test]
fn of_an_output_that_comes_too_late() {
    check(|tasks| async move {
        let job = Job { returns: true, ..nap(60) };
        let late = tasks.job(job).deadline(Duration::from_millis(10)).run();
        assert_eq!(ended_by(late.await), TaskError::TimedOut);
        // It comes home, to nobody.
        sleep(Duration::from_millis(100)).await;
    });
}

#[test]
fn of_a_delayed_job_that_is_cancelled() {
    check(|tasks| async move {
        let delayed = tasks.job(bomb(0)).delay(Duration::from_secs(60)).spawn().unwrap();
        assert_eq!(delayed.cancel(), Cancelled::Withdrawn);
        sleep(Duration::from_millis(5)).await;
    });
}

#[test]
fn of_a_callback_that_is_refused_which_dispatches_in_its_destructor() {
    /// Dispatches when it is dropped, and panics.
    struct Dispatches(Tasks<Job, Output>);
    impl Drop for Dispatches {
        fn drop(&mut self) {
            let _ = self.0.dispatch(nap(0));
            assert!(std::thread::panicking(), "a destructor of the user's panics");
        }
    }
    check(|tasks| async move {
        let fill = || while tasks.dispatch(nap(50)).is_ok() {};
        fill();
        // The worker has taken one meanwhile: now the credits are used up.
        sleep(Duration::from_millis(20)).await;
        fill();
        let value = Dispatches(tasks.clone());
        let callback = move |_| std::mem::forget(value);
        let refused = tasks.job(nap(0)).spawn_then(callback);
        assert!(matches!(refused, Err(DispatchError::Full(_))));
        sleep(Duration::from_millis(300)).await;
    });
}

#[test]
fn of_jobs_that_wait_when_their_executor_ends() {
    check(|tasks| async move {
        // Its slot is dropped with the lane.
        let delayed = tasks.job(bomb(0)).delay(Duration::from_millis(20)).spawn();
        assert!(delayed.is_ok());
    });
}

/// What a handler panics with is its own too: dropped where a panic of its destructor ends. The
/// executor, which every other connection shares, lives on.
#[test]
fn of_what_a_handler_panics_with() {
    use bytes::Bytes;
    use http_body_util::Full;
    use sidecore::app::Direct;
    use sidecore::{Config, Incoming, Request, Response, Server};
    let mut config = Config::default();
    config.port = 0;
    config.options.worker_num = Some(1);
    config.options.task_worker_num = Some(0);
    let running = Server::new(config)
        .start(|_| {
            let service = tower::service_fn(|request: Request<Incoming>| {
                if request.uri().path() == "/at-the-call" {
                    std::panic::panic_any(Bomb);
                }
                async move {
                    if request.uri().path() == "/at-a-poll" {
                        std::panic::panic_any(Bomb);
                    }
                    Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from("ok"))))
                }
            });
            Direct::new(service, |head, _| {
                if head.target.path() == "/direct" {
                    std::panic::panic_any(Bomb);
                }
                None
            })
        })
        .unwrap();
    for path in ["/at-the-call", "/at-a-poll", "/direct"] {
        assert_eq!(sidecore_tests::get(running.address(), path).status, 500, "{path}");
        assert_eq!(sidecore_tests::get(running.address(), "/").status, 200, "after {path}");
    }
    running.shutdown().raise();
    running.wait().unwrap();
}

/// Panics when it wakes somebody.
struct BadWaker;

impl Wake for BadWaker {
    fn wake(self: Arc<Self>) {
        panic!("a waker of the user's");
    }
}

/// Polls a future with such a waker; it waits.
fn wait_badly(future: Pin<&mut impl Future>) {
    let waker = Waker::from(Arc::new(BadWaker));
    assert!(future.poll(&mut Context::from_waker(&waker)).is_pending());
}

#[test]
fn a_waker_that_panics_costs_its_own_wake() {
    check(|tasks| async move {
        let mut run = Box::pin(tasks.job(nap(10)).run());
        wait_badly(run.as_mut());
        let mut waits = Box::pin(sleep(Duration::from_millis(10)));
        wait_badly(waits.as_mut());
        let mut quiet = Box::pin(tasks_quiet());
        wait_badly(quiet.as_mut());
        let delayed = tasks.job(nap(1)).delay(Duration::from_millis(20));
        let deadline = Duration::from_millis(15);
        let mut late = Box::pin(delayed.deadline(deadline).spawn_when_room());
        assert!(late.as_mut().await.is_ok());
        sleep(Duration::from_millis(50)).await;
        assert!(run.await.is_ok());
        quiet.await;
    });
}

#[test]
fn a_waker_of_a_dispatch_that_waits_costs_its_own_wake() {
    let config = PoolConfig {
        credits: Some(1),
        delayed_max: 0,
        ..PoolConfig::new(vec![Seat { cpu: 1, shared: true, domain: 0 }], 4)
    };
    let start = |doorbells: &[Arc<Doorbell>]| Pool::start(&config, doorbells, |_, job| run(job));
    let end = sidecore_tests::with_pool(
        start,
        |_| {},
        |tasks: Tasks<Job, Output>| async move {
            tasks.dispatch(nap(30)).unwrap();
            let mut granted = Box::pin(tasks.job(nap(1)).spawn_when_room());
            wait_badly(granted.as_mut());
            let ten_ms = Duration::from_millis(10);
            let mut late = Box::pin(tasks.job(nap(1)).deadline(ten_ms).spawn_when_room());
            wait_badly(late.as_mut());
            let mut delayed = Box::pin(tasks.job(nap(1)).delay(ten_ms).spawn_when_room());
            wait_badly(delayed.as_mut());
            sleep(Duration::from_millis(60)).await;
            assert!(matches!(late.await, Err(DispatchError::TimedOut(_))));
            assert!(granted.await.is_ok());
            assert!(delayed.await.is_ok());
        },
    );
    assert_eq!(end.outcomes.finished, 3, "{end:?}");
}

#[test]
fn a_periodic_task_goes_on_where_a_refused_job_panics_as_it_is_dropped() {
    check(|tasks| async move {
        let refused = || tasks.snapshot().unwrap().refused;
        while tasks.dispatch(nap(20)).is_ok() {}
        let before = refused();
        let periodic = tasks.every(Duration::from_millis(2), Overlap::Queue, || bomb(1));
        let goes_on = || periodic.snapshot().dispatched > 1 && refused() > before;
        // The report of a panic may take this thread half a second.
        for _ in 0..5000 {
            if goes_on() {
                break;
            }
            sleep(Duration::from_millis(2)).await;
        }
        periodic.stop();
        assert!(goes_on(), "{:?}", periodic.snapshot());
        tasks_quiet().await;
    });
}
