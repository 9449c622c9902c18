//! The trigger layers around an axum router, with the pool of a running server.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use sidecore::tasks::trigger::{TriggerAfter, TriggerTask};
use sidecore::tasks::{Priority, TaskId};
use sidecore::test_server::TestServer;
use sidecore::{Config, Request, Response, Server, Tasks};
use sidecore_tests::{Client, wait_until};

const LIMIT: Duration = Duration::from_secs(10);

/// What is told of a request; `hold` keeps its task worker busy until the test lets go.
struct Audit(String);

/// A server of one executor and one task worker, whose queue holds two jobs.
struct Served {
    server: TestServer<Audit, String>,
    finishes: Receiver<(TaskId, String)>,
    let_go: Sender<()>,
}

impl Served {
    fn start(layer: fn(Tasks<Audit, String>, Router) -> Router) -> Served {
        let mut config = Config::default();
        config.options.worker_num = Some(1);
        config.options.task_worker_num = Some(1);
        config.options.task_queue_depth = 2;
        let ((told, finishes), (let_go, held)) = (channel(), channel());
        let (told, held) = (Mutex::new(told), Mutex::new(held));
        let server = Server::new(config)
            .on_task(move |_, Audit(what)| {
                if what.ends_with("/hold") {
                    let _ = held.lock().unwrap().recv_timeout(LIMIT);
                }
                what
            })
            .on_finish(move |finish, what: Result<String, _>| {
                let _ = told.lock().unwrap().send((finish.id, what.unwrap()));
            });
        let server = TestServer::start(server, move |executor| {
            let router = Router::new()
                .route("/{page}", get(async || "a page"))
                .route("/broken", get(async || StatusCode::INTERNAL_SERVER_ERROR));
            layer(executor.tasks(), router)
        });
        Served { server: server.expect("it starts"), finishes, let_go }
    }

    fn client(&self) -> Client {
        Client::connect(self.server.address())
    }

    fn next_finish(&self) -> (TaskId, String) {
        self.finishes.recv_timeout(LIMIT).expect("a finish")
    }

    /// Asks until the worker runs one job and two fill the queue.
    fn fill(&self, client: &mut Client) {
        assert_eq!(client.request("GET", "/hold", "").status, 200);
        let running = || self.server.tasks().snapshot().unwrap().queued == 0;
        wait_until("the job runs", running);
        assert_eq!(client.request("GET", "/first", "").status, 200);
        assert_eq!(client.request("GET", "/second", "").status, 200);
    }

    fn stop(self) -> u64 {
        self.server.stop().expect("it ends").finished
    }
}

fn audit<B>(request: &Request<B>) -> Option<Audit> {
    let path = request.uri().path();
    (path != "/quiet").then(|| Audit(format!("{} {path}", request.method())))
}

fn going_on(tasks: Tasks<Audit, String>, router: Router) -> Router {
    router.layer(TriggerTask::before(tasks, audit).tell_client())
}

#[test]
fn a_request_triggers_a_task_and_its_answer_names_it() {
    let served = Served::start(going_on);
    let mut client = served.client();
    let answer = client.request("GET", "/page", "");
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"a page"[..]));
    let id = answer.field("x-task-id").expect("a task").parse().unwrap();
    assert_eq!(served.next_finish(), (id, "GET /page".into()));
    assert_eq!(client.request("GET", "/quiet", "").field("x-task-id"), None);
    drop(client);
    assert_eq!(served.stop(), 1);
}

#[test]
fn with_a_full_queue_requests_go_on_and_say_so() {
    let served = Served::start(going_on);
    let mut client = served.client();
    served.fill(&mut client);
    let answer = client.request("GET", "/third", "");
    assert_eq!((answer.status, answer.field("x-task-refused")), (200, Some("queue full")));
    served.let_go.send(()).unwrap();
    // What was accepted runs, in its order; what was refused never does.
    let ran = [(); 3].map(|()| served.next_finish().1);
    assert_eq!(ran, ["GET /hold", "GET /first", "GET /second"]);
    drop(client);
    assert_eq!(served.stop(), 3);
}

#[test]
fn with_a_full_queue_a_request_that_must_have_its_task_is_refused() {
    let served = Served::start(|tasks, router| {
        router.layer(TriggerTask::before(tasks, audit).or_unavailable(7))
    });
    let mut client = served.client();
    served.fill(&mut client);
    let refused = client.request("GET", "/third", "");
    assert_eq!((refused.status, refused.field("retry-after")), (503, Some("7")));
    assert!(refused.body.is_empty(), "{refused:?}");
    assert_eq!(client.request("GET", "/quiet", "").status, 200);
    served.let_go.send(()).unwrap();
    let ran = [(); 3].map(|()| served.next_finish().1);
    assert_eq!(ran, ["GET /hold", "GET /first", "GET /second"]);
    assert_eq!(client.request("GET", "/third", "").status, 200);
    assert_eq!(served.next_finish().1, "GET /third");
    drop(client);
    assert_eq!(served.stop(), 4);
}

#[test]
fn an_answer_triggers_a_task_with_options() {
    let served = Served::start(|tasks, router| {
        let low = move |job| {
            let job = tasks.job(job).priority(Priority::Low);
            job.dispatch()
        };
        let path = |request: &Request<_>| Some(request.uri().path().to_owned());
        let failed = |path: String, answer: &Response<_>| {
            let status = answer.status();
            status.is_server_error().then(|| Audit(format!("{path} {}", status.as_u16())))
        };
        router.layer(TriggerAfter::new(low, path, failed).tell_client())
    });
    let mut client = served.client();
    assert_eq!(client.request("GET", "/page", "").field("x-task-id"), None);
    let broken = client.request("GET", "/broken", "");
    assert_eq!(broken.status, 500);
    let id = broken.field("x-task-id").expect("a task").parse().unwrap();
    assert_eq!(served.next_finish(), (id, "/broken 500".into()));
    drop(client);
    assert_eq!(served.stop(), 1);
}
