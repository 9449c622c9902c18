//! Closures as jobs of a server, from its handlers, from task workers and from plain threads.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use sidecore::lifecycle::Report;
use sidecore::tasks::closures::{Closure, ClosureOutput, Closures};
use sidecore::tasks::{DispatchError, Failure, Priority, RunError, TaskError, TaskId};
use sidecore::{Config, Running, Server, TaskContext, Tasks};
use sidecore_tests::{Client, wait_until};

type ClosureTasks = Tasks<Closure, ClosureOutput>;

const LIMIT: Duration = Duration::from_secs(10);

/// How tasks ended that nobody awaited; a `u64` that was left over is told, too.
type Ended = Result<Option<u64>, TaskError>;

/// A server of closures with one executor and one task worker.
struct Served {
    running: Running,
    tasks: ClosureTasks,
    finishes: Receiver<(TaskId, Ended)>,
}

impl Served {
    fn start(queue_depth: usize, router: fn() -> Router<ClosureTasks>) -> Served {
        let mut config = Config::default();
        config.port = 0;
        config.options.worker_num = Some(1);
        config.options.task_worker_num = Some(1);
        config.options.task_queue_depth = queue_depth;
        let (told, finishes) = channel();
        let told: Mutex<Sender<_>> = Mutex::new(told);
        let (handed, handle) = channel();
        let running = Server::new(config)
            .on_closures()
            .on_finish(move |finish, ended| {
                let ended = ended.map(|output: ClosureOutput| output.downcast::<u64>().ok());
                let _ = told.lock().unwrap().send((finish.id, ended));
            })
            .start(move |executor| {
                let _ = handed.send(executor.tasks());
                router().with_state(executor.tasks())
            })
            .expect("the server starts");
        Served { running, tasks: handle.recv().unwrap(), finishes }
    }

    fn client(&self) -> Client {
        Client::connect(self.running.address())
    }

    fn next_finish(&self) -> (TaskId, Ended) {
        self.finishes.recv_timeout(LIMIT).expect("a finish")
    }

    fn stop(self) -> Report {
        self.running.shutdown().raise();
        self.running.wait().expect("it ends")
    }
}

fn text(client: &mut Client, path: &str) -> (u16, String) {
    let answer = client.request("GET", path, "");
    (answer.status, String::from_utf8(answer.body).unwrap())
}

/// The status and the text of a call that may not have brought its output.
fn told<T: ToString>(outcome: Result<T, RunError<Closure>>) -> (StatusCode, String) {
    match outcome {
        Ok(value) => (StatusCode::OK, value.to_string()),
        Err(RunError::Refused(refused)) => (StatusCode::SERVICE_UNAVAILABLE, refused.to_string()),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

#[test]
fn a_call_returns_the_closures_own_type_or_says_why_not() {
    let served = Served::start(64, || {
        Router::new()
            .route(
                "/string",
                get(async |State(tasks): State<ClosureTasks>| {
                    told(
                        tasks
                            .call(|task| format!("task {} on {}", task.id, task.task_worker))
                            .await,
                    )
                }),
            )
            .route(
                "/number",
                get(async |State(tasks): State<ClosureTasks>| {
                    let numbers = vec![1_u64, 2, 3];
                    told(tasks.call(move |_| numbers.into_iter().sum::<u64>()).await)
                }),
            )
            .route(
                "/fails",
                get(async |State(tasks): State<ClosureTasks>| {
                    told::<u64>(tasks.try_call(|_| Err(Failure::new("no paper"))).await)
                }),
            )
            .route(
                "/panics",
                get(async |State(tasks): State<ClosureTasks>| {
                    told(tasks.call(|_| Vec::<u64>::new()[0]).await)
                }),
            )
    });
    let mut client = served.client();
    assert_eq!(text(&mut client, "/string"), (200, "task 1 on 0".into()));
    assert_eq!(text(&mut client, "/number"), (200, "6".into()));
    assert_eq!(text(&mut client, "/fails"), (500, "the task failed: no paper".into()));
    let (status, panic) = text(&mut client, "/panics");
    assert!(status == 500 && panic.contains("index out of bounds"), "{status} {panic}");
    // The task worker lives on.
    assert_eq!(text(&mut client, "/number"), (200, "6".into()));
    drop(client);
    let Report { accepted, finished, failed, panicked, .. } = served.stop();
    assert_eq!((accepted, finished, failed, panicked), (5, 3, 1, 1));
}

#[test]
fn spawned_closures_are_told_to_on_finish_with_their_ids() {
    let served = Served::start(64, || {
        Router::new().route(
            "/",
            get(async |State(tasks): State<ClosureTasks>| {
                let well = tasks.dispatch_closure(|_| ()).unwrap();
                let failed =
                    tasks.dispatch_closure(|_| Err::<(), _>(Failure::new("no paper"))).unwrap();
                let panicked = tasks.dispatch_closure(|_| assert_eq!(1, 2)).unwrap();
                format!("{well} {failed} {panicked}")
            }),
        )
    });
    assert_eq!(text(&mut served.client(), "/"), (200, "1 2 3".into()));
    assert_eq!(served.next_finish(), (1, Ok(None)));
    assert_eq!(served.next_finish(), (2, Err(TaskError::Failed(Failure::new("no paper")))));
    let (id, panicked) = served.next_finish();
    assert!(id == 3 && matches!(&panicked, Err(TaskError::Panicked(_))), "{panicked:?}");
    let Report { accepted, finished, failed, panicked, .. } = served.stop();
    assert_eq!((accepted, finished, failed, panicked), (3, 1, 1, 1));
}

#[test]
fn a_call_whose_future_is_dropped_runs_and_its_output_goes_to_on_finish() {
    let served = Served::start(64, || {
        Router::new().route(
            "/",
            get(async |State(tasks): State<ClosureTasks>| {
                drop(tasks.call(|_| {
                    std::thread::sleep(Duration::from_millis(50));
                    42_u64
                }));
                "dropped"
            }),
        )
    });
    assert_eq!(text(&mut served.client(), "/"), (200, "dropped".into()));
    assert_eq!(served.next_finish(), (1, Ok(Some(42))));
    // A plain thread's goes nowhere, and counts all the same.
    drop(served.tasks.call(|_| 43_u64));
    wait_until("both have ended", || served.tasks.snapshot().unwrap().outcomes.finished == 2);
    assert!(served.finishes.try_recv().is_err());
    served.stop();
}

/// Returns some time after its deadline.
fn late(task: &TaskContext) -> u64 {
    let start = Instant::now();
    while !task.is_cancelled() && start.elapsed() < LIMIT {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(200));
    7
}

#[test]
fn options_hold_for_each_closure_of_a_handle() {
    let served = Served::start(64, || {
        Router::new()
            .route(
                "/late",
                get(async |State(tasks): State<ClosureTasks>| {
                    let hasty = tasks.with(|job| job.deadline(Duration::from_millis(100)));
                    told(hasty.call(late).await)
                }),
            )
            .route(
                "/order",
                get(async |State(tasks): State<ClosureTasks>| {
                    let order = Arc::new(Mutex::new(Vec::new()));
                    let note = |name: &'static str| {
                        let order = order.clone();
                        move |_: &TaskContext| order.lock().unwrap().push(name)
                    };
                    // The worker is kept busy until all are queued.
                    let (go, gone) = channel::<()>();
                    let first = tasks.call(move |_| gone.recv().is_ok());
                    let low = tasks.with(|job| job.priority(Priority::Low)).call(note("low"));
                    let normal = tasks.call(note("normal"));
                    let high = tasks.with(|job| job.priority(Priority::High)).call(note("high"));
                    go.send(()).unwrap();
                    assert!(first.await.unwrap());
                    for noted in [low, normal, high] {
                        noted.await.unwrap();
                    }
                    let order = order.lock().unwrap();
                    order.join(" ")
                }),
            )
    });
    let mut client = served.client();
    assert_eq!(text(&mut client, "/late"), (500, "the task's deadline passed".into()));
    assert_eq!(text(&mut client, "/order"), (200, "high normal low".into()));
    drop(client);
    let Report { finished, timed_out, .. } = served.stop();
    assert_eq!((finished, timed_out), (4, 1));
}

#[test]
fn a_cancelled_closure_never_runs_and_what_it_holds_is_dropped() {
    let served = Served::start(64, Router::new);
    let (go, gone) = channel::<()>();
    let busy = served.tasks.call(move |_| gone.recv().is_ok());
    let held = Arc::new(());
    let holds = held.clone();
    let call = served.tasks.call(move |_| Arc::strong_count(&holds));
    call.handle().expect("it was accepted").cancel();
    go.send(()).unwrap();
    assert!(busy.wait(LIMIT).expect("in time").unwrap());
    let outcome = call.wait(LIMIT).expect("in time");
    assert!(matches!(outcome, Err(RunError::Failed(TaskError::Cancelled))), "{outcome:?}");
    wait_until("the closure is dropped", || Arc::strong_count(&held) == 1);
    assert_eq!(served.stop().cancelled, 1);
}

#[test]
fn a_refused_closure_is_given_back_and_can_be_dispatched_again() {
    let served = Served::start(1, Router::new);
    let (go, gone) = channel::<()>();
    let busy = served.tasks.call(move |_| gone.recv().is_ok());
    // Until then it is in the queue, and takes the room of the next one.
    wait_until("it runs", || served.tasks.snapshot().unwrap().workers[0].running_jobs == 1);
    let (say, said) = channel();
    let refused = loop {
        let say = say.clone();
        match served.tasks.dispatch_closure(move |_| say.send("ran").map_err(Failure::new)) {
            Ok(_) => {}
            Err(refused) => break refused,
        }
    };
    assert!(refused.is_full(), "{refused:?}");
    let refused_call = served.tasks.call(|_| 1).wait(LIMIT).expect("at once");
    assert!(matches!(refused_call, Err(RunError::Refused(DispatchError::Full(_)))));
    let given_back = refused.into_job();
    let before = served.tasks.snapshot().unwrap().accepted;
    go.send(()).unwrap();
    assert!(busy.wait(LIMIT).expect("in time").unwrap());
    wait_until("there is room", || served.tasks.snapshot().unwrap().outstanding() == 0);
    served.tasks.dispatch(given_back).expect("there is room");
    for _ in 0..before {
        // Of those accepted before, all but the busy one; and the one that was given back.
        assert_eq!(said.recv_timeout(LIMIT), Ok("ran"));
    }
    served.stop();
}

#[test]
fn closures_spawn_closures_on_their_task_worker() {
    let served = Served::start(64, || {
        Router::new().route(
            "/",
            get(async |State(tasks): State<ClosureTasks>| {
                let outer = tasks.clone();
                let spawned = tasks.call(move |_| outer.dispatch_closure(|_| ()).ok()).await;
                told(spawned.map(|id| id.expect("it was accepted")))
            }),
        )
    });
    let (status, id) = text(&mut served.client(), "/");
    assert_eq!(status, 200);
    assert_eq!(served.next_finish(), (id.parse().unwrap(), Ok(None)));
    let Report { accepted, finished, .. } = served.stop();
    assert_eq!((accepted, finished), (2, 2));
}
