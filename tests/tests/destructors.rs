//! Values of the user whose destructor panics: each costs itself only, wherever it is dropped. The
//! task worker, the executor and the outcome are as they would be without the panic.

use std::sync::Arc;
use std::time::Duration;

use sidecore_runtime::bell::Bell;
use sidecore_runtime::executor::sleep;
use sidecore_runtime::pool::{
    Cancelled, DispatchError, Failure, Finish, Pool, PoolConfig, Retry, RunError, Seat, TaskError,
    Tasks,
};

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
    let start = |bells: &[Arc<Bell>]| match asynchronous {
        true => Pool::start_async(&config, 1, bells, |_| |_, job| async move { run(job) }),
        false => Pool::start(&config, bells, |_, job| run(job)),
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
        let queued = tasks.job(bomb(0)).dispatch().unwrap();
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
        let delayed = tasks.job(bomb(0)).delay(Duration::from_secs(60)).dispatch().unwrap();
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
        let mut full = Vec::new();
        while let Ok(handle) = tasks.job(nap(20)).dispatch() {
            full.push(handle);
        }
        let value = Dispatches(tasks.clone());
        let callback = move |_| std::mem::forget(value);
        let refused = tasks.job(nap(0)).dispatch_then(callback);
        assert!(matches!(refused, Err(DispatchError::Full(_))));
        sleep(Duration::from_millis(150)).await;
    });
}

#[test]
fn of_jobs_that_wait_when_their_executor_ends() {
    check(|tasks| async move {
        // Its slot is dropped with the lane.
        let delayed = tasks.job(bomb(0)).delay(Duration::from_millis(20)).dispatch();
        assert!(delayed.is_ok());
    });
}

/// What a handler panics with is its own too: dropped where a panic of its destructor ends. The
/// executor, which every other connection shares, lives on.
#[test]
fn of_what_a_handler_panics_with() {
    use bytes::Bytes;
    use http_body_util::Full;
    use sidecore::{Config, Direct, Incoming, Request, Response, Server};
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
