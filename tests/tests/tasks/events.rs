//! Events raised in handlers, on task workers and on plain threads; listeners deferred to a pool.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use sidecore::lifecycle::Report;
use sidecore::tasks::closures::{Closure, ClosureOutput, Closures};
use sidecore::tasks::events::{Events, Faults, Raised, deferred, dispatching};
use sidecore::tasks::{Failure, Priority};
use sidecore::{Config, Running, Server, TaskResult, Tasks};
use sidecore_tests::{get as http_get, wait_until};

type ClosureTasks = Tasks<Closure, ClosureOutput>;

const LIMIT: Duration = Duration::from_secs(10);

/// An event that counts its copies, and those that are left.
struct SignedUp {
    name: &'static str,
    copies: Arc<AtomicU64>,
    alive: Arc<()>,
}

impl SignedUp {
    fn new(name: &'static str) -> Self {
        SignedUp { name, copies: Arc::default(), alive: Arc::new(()) }
    }
}

impl Clone for SignedUp {
    fn clone(&self) -> Self {
        self.copies.fetch_add(1, Ordering::Relaxed);
        SignedUp { copies: self.copies.clone(), alive: self.alive.clone(), ..*self }
    }
}

fn config(queue_depth: usize) -> Config {
    let mut config = Config::default();
    config.port = 0;
    config.options.worker_num = Some(1);
    config.options.task_worker_num = Some(1);
    config.options.task_queue_depth = queue_depth;
    config
}

/// A server whose `GET /` raises an event and answers what became of it.
struct Served {
    running: Running,
    tasks: ClosureTasks,
    events: Arc<Events>,
    /// What listeners said, with the name of their thread.
    heard: Receiver<(String, String)>,
    /// How tasks ended.
    ended: Receiver<TaskResult<()>>,
}

/// What a listener says that it heard.
#[derive(Clone)]
struct Say(Arc<Mutex<Sender<(String, String)>>>);

impl Say {
    fn say(&self, what: impl Into<String>) {
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        let _ = self.0.lock().unwrap().send((what.into(), thread));
    }
}

impl Served {
    fn start(
        queue_depth: usize,
        build: impl Fn(ClosureTasks, Say) -> Events + Send + Sync + 'static,
    ) -> Served {
        let ((say, heard), (end, ended)) = (channel(), channel());
        let (say, end) = (Say(Arc::new(Mutex::new(say))), Mutex::new(end));
        let built = Arc::new(OnceLock::new());
        let events = built.clone();
        let running = Server::new(config(queue_depth))
            .on_closures()
            .on_finish(move |_, ended: TaskResult<ClosureOutput>| {
                let _ = end.lock().unwrap().send(ended.map(|_| ()));
            })
            .start(move |executor| {
                let tasks = executor.tasks();
                let make = || (tasks.clone(), Arc::new(build(tasks.clone(), say.clone())));
                let events = built.get_or_init(make).1.clone();
                Router::new().route("/", get(raise)).with_state(events)
            })
            .expect("the server starts");
        let (tasks, events) = events.get().expect("the executor has built them").clone();
        Served { running, tasks, events, heard, ended }
    }

    fn get(&self) -> String {
        String::from_utf8(http_get(self.running.address(), "/").body).unwrap()
    }

    fn hear(&self) -> (String, String) {
        self.heard.recv_timeout(LIMIT).expect("a listener")
    }

    fn stop(self) -> Report {
        self.running.shutdown().raise();
        self.running.wait().expect("it ends")
    }
}

async fn raise(State(events): State<Arc<Events>>) -> String {
    let event = SignedUp::new("ada");
    let raised = events.raise(&event);
    format!("{raised:?} {} copies", event.copies.load(Ordering::Relaxed))
}

fn raised(called: u64, deferred: u64, faults: Faults) -> Raised {
    Raised { called, deferred, faults }
}

#[test]
fn deferred_listeners_run_on_a_task_worker_and_share_one_copy() {
    let served = Served::start(64, |tasks, say| {
        let (first, second, third) = (say.clone(), say.clone(), say);
        let low = tasks.with(|job| job.priority(Priority::Low));
        Events::new()
            .on(deferred(&tasks, move |event: &SignedUp| first.say(event.name)))
            .on(move |event: &SignedUp| second.say(event.name.to_uppercase()))
            .on(deferred(&low, move |event: &SignedUp| third.say(event.name.repeat(2))))
    });
    assert_eq!(served.get(), format!("{:?} 1 copies", raised(1, 2, Faults::default())));
    let mut heard = [served.hear(), served.hear(), served.hear()];
    heard.sort();
    let [(upper, executor), first, second] = heard;
    assert_eq!(upper, "ADA");
    assert_ne!(executor, "task-0");
    assert_eq!(first, ("ada".into(), "task-0".into()));
    assert_eq!(second, ("adaada".into(), "task-0".into()));
    assert_eq!(served.stop().finished, 2);
}

#[test]
fn who_raises_goes_on_while_its_listeners_run_and_the_last_drops_the_event() {
    let (go, gone) = channel::<()>();
    let gone = Arc::new(Mutex::new(gone));
    let served = Served::start(64, move |tasks, say| {
        let gone = gone.clone();
        let listener = move |event: &SignedUp| {
            let _ = gone.lock().unwrap().recv_timeout(LIMIT);
            say.say(event.name);
        };
        Events::new().on(deferred(&tasks, listener))
    });
    // The listener waits until this thread has gone on.
    let event = SignedUp::new("bob");
    assert_eq!(served.events.raise(&event).deferred, 1);
    assert_eq!(Arc::strong_count(&event.alive), 2);
    go.send(()).unwrap();
    assert_eq!(served.hear(), ("bob".into(), "task-0".into()));
    wait_until("the copy is dropped", || Arc::strong_count(&event.alive) == 1);
    served.stop();
}

#[test]
fn what_finds_no_room_is_counted_and_told_and_what_was_accepted_runs() {
    const RAISED: u64 = 20;
    let told = Arc::new(Mutex::new(Vec::new()));
    let teller = told.clone();
    let served = Served::start(4, move |tasks, say| {
        let (teller, last) = (teller.clone(), say.clone());
        Events::new()
            .on(deferred(&tasks, move |_: &SignedUp| say.say("deferred")))
            .on(move |_: &SignedUp| last.say("called"))
            .on_fault(move |fault| teller.lock().unwrap().push(fault.to_string()))
    });
    let (go, gone) = channel::<()>();
    let busy = served.tasks.call(move |_| gone.recv().is_ok());
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..RAISED {
        let raised = served.events.raise(&SignedUp::new("eve"));
        assert_eq!((raised.called, raised.deferred + raised.faults.refused), (1, 1));
        accepted += raised.deferred;
        refused += raised.faults.refused;
    }
    assert!(accepted >= 1 && refused >= 1, "{accepted} {refused}");
    assert_eq!(served.events.faults(), Faults { refused, ..Faults::default() });
    let told = told.lock().unwrap().clone();
    assert_eq!(told.len() as u64, refused);
    assert!(told[0].contains("the task queue is full"), "{told:?}");
    go.send(()).unwrap();
    assert!(busy.wait(LIMIT).expect("in time").unwrap());
    let heard: Vec<_> = (0..RAISED + accepted).map(|_| served.hear().0).collect();
    assert_eq!(heard.iter().filter(|what| *what == "deferred").count() as u64, accepted);
    assert_eq!(served.stop().finished, accepted + 1);
}

#[test]
fn how_a_deferred_listener_ends_is_told_to_on_finish() {
    let served = Served::start(64, |tasks, say| {
        let failing = |_: &SignedUp| Err::<(), _>(Failure::new("no paper"));
        Events::new()
            .on(deferred(&tasks, failing))
            .on(deferred(&tasks, |event: &SignedUp| assert_eq!(event.name, "bob")))
            .on(deferred(&tasks, move |event: &SignedUp| say.say(event.name)))
    });
    assert!(served.get().starts_with(&format!("{:?}", raised(0, 3, Faults::default()))));
    assert_eq!(served.hear(), ("ada".into(), "task-0".into()));
    let report = served.stop();
    assert_eq!((report.finished, report.failed, report.panicked), (1, 1, 1));
}

#[test]
fn events_are_raised_by_task_workers_and_their_listeners_deferred_again() {
    let served = Served::start(64, |tasks, say| {
        let say_on = say.clone();
        Events::new().on(deferred(&tasks, move |event: &SignedUp| say_on.say(event.name)))
    });
    let events = served.events.clone();
    let inner = served.tasks.call(move |_| events.raise(&SignedUp::new("eve")));
    assert_eq!(inner.wait(LIMIT).expect("in time").unwrap(), raised(0, 1, Faults::default()));
    assert_eq!(served.hear(), ("eve".into(), "task-0".into()));
    // The call was awaited; the listener's task goes to `on_finish`.
    assert_eq!(served.ended.recv_timeout(LIMIT), Ok(Ok(())));
    assert_eq!(served.stop().finished, 2);
}

/// A job of a pool that knows its own kind of work.
#[derive(Debug, PartialEq)]
struct Welcome {
    to: String,
}

#[test]
fn a_dispatching_listener_makes_the_pools_own_job_of_the_event() {
    let (say, said) = channel();
    let say = Mutex::new(say);
    let running = Server::new(config(64))
        .on_task(move |task, job: Welcome| say.lock().unwrap().send((task.executor, job)).is_ok())
        .on_finish(|_, _| {})
        .start(|executor| {
            let to_mail = |event: &SignedUp| Welcome { to: event.name.to_owned() };
            let events = Events::new().on(dispatching(&executor.tasks(), to_mail));
            Router::new().route("/", get(raise)).with_state(Arc::new(events))
        })
        .expect("the server starts");
    let answer = http_get(running.address(), "/");
    let raised = raised(0, 1, Faults::default());
    assert_eq!(String::from_utf8(answer.body).unwrap(), format!("{raised:?} 0 copies"));
    assert_eq!(said.recv_timeout(LIMIT), Ok((Some(0), Welcome { to: "ada".into() })));
    running.shutdown().raise();
    assert_eq!(running.wait().expect("it ends").finished, 1);
}
