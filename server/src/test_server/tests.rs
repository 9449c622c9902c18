//! The server of tests, tested: its counts are exact, its end complete.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use http::{Request, Response};
use http_body_util::{BodyExt, Full};

use crate::app::body::Incoming;
use crate::config::settings::Config;
use crate::lifecycle::server::Server;
use crate::tasks::pool::TaskPool;
use crate::test_server::{TasksOutstanding, TestServer};

const LIMIT: Duration = Duration::from_secs(20);

fn config() -> Config {
    let mut config = Config::default();
    config.host = "192.0.2.1".to_owned();
    config.options.worker_num = Some(2);
    config.options.task_worker_num = Some(1);
    config
}

/// `.nest` jobs dispatch another when they have finished.
#[test]
fn when_tasks_are_quiet_their_callbacks_have_returned_and_what_they_dispatched_too() {
    let finished = Arc::new(AtomicU64::new(0));
    let count = finished.clone();
    let again = Arc::new(Mutex::new(None::<crate::Tasks<u64, u64>>));
    let dispatch = again.clone();
    let server = Server::new(config()).on_task(|_, nested: u64| nested).on_finish(
        move |_, nested: Result<u64, _>| {
            std::thread::sleep(Duration::from_millis(2));
            count.fetch_add(1, Ordering::Relaxed);
            if let Some(nested) = nested.unwrap().checked_sub(1) {
                dispatch.lock().unwrap().as_ref().unwrap().dispatch(nested).unwrap();
            }
        },
    );
    let server = TestServer::start(server, |executor| {
        let tasks = executor.tasks();
        tower::service_fn(move |_: Request<Incoming>| {
            let id = tasks.dispatch(3).unwrap();
            async move { Ok::<_, Infallible>(Response::new(id.to_string())) }
        })
    })
    .unwrap();
    *again.lock().unwrap() = Some(server.tasks());
    for round in 1..=20 {
        assert_eq!(server.get("/").unwrap().status, 200);
        server.tasks_quiet(LIMIT).unwrap();
        assert_eq!(finished.load(Ordering::Relaxed), 4 * round);
    }
    let report = server.stop().unwrap();
    assert_eq!((report.accepted, report.finished, report.lost), (80, 80, 0));
}

#[test]
fn tasks_of_every_pool_are_waited_for_and_those_that_last_are_counted() {
    let (let_go, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let slow: TaskPool<u8, ()> = TaskPool::named("slow")
        .on_task(move |_, _| held.lock().unwrap().recv_timeout(LIMIT).unwrap())
        .on_finish(|_, _| {})
        .build();
    let mut config = config();
    config.options.task_worker_num = Some(0);
    let server = TestServer::start(Server::new(config).with_pool(&slow), |_| {
        tower::service_fn(async |_: Request<Incoming>| {
            Ok::<_, Infallible>(Response::new(String::new()))
        })
    })
    .unwrap();
    server.tasks_quiet(LIMIT).unwrap();
    slow.tasks().dispatch(1).unwrap();
    slow.tasks().dispatch(2).unwrap();
    let start = Instant::now();
    assert_eq!(server.tasks_quiet(Duration::from_millis(50)), Err(TasksOutstanding(2)));
    assert!(start.elapsed() >= Duration::from_millis(50));
    let_go.send(()).unwrap();
    let_go.send(()).unwrap();
    server.tasks_quiet(LIMIT).unwrap();
    assert_eq!(server.stop().unwrap().finished, 2);
}

#[test]
fn the_client_speaks_in_whole_messages() {
    let server = TestServer::start(
        {
            let mut config = config();
            config.options.task_worker_num = Some(0);
            config.options.body_size_max_bytes = 1 << 20;
            Server::new(config)
        },
        |_| {
            tower::service_fn(async |request: Request<Incoming>| {
                let told = format!("{} {} ", request.method(), request.uri());
                let greeting = request.headers().get("x-greeting").cloned();
                let body = request
                    .into_body()
                    .collect()
                    .await
                    .map_or_else(|_| "?".into(), |body| body.to_bytes());
                let body = [told.into_bytes(), body.to_vec()].concat();
                let mut answer = Response::new(Full::new(bytes::Bytes::from(body)));
                if let Some(greeting) = greeting {
                    answer.headers_mut().insert("x-greeting", greeting);
                }
                Ok::<_, Infallible>(answer)
            })
        },
    )
    .unwrap();
    assert_eq!(server.get("/a?b=c").unwrap().text(), "GET /a?b=c ");
    let long = "x".repeat(300_000);
    assert_eq!(server.post("/", &long).unwrap().text(), format!("POST / {long}"));
    let head = server.request("HEAD", "/", &[("X-Greeting", "hello")], b"").unwrap();
    assert_eq!((head.header("x-greeting"), head.body.len()), (Some("hello"), 0));
    assert_eq!(server.post("/", vec![0; 4 << 20]).unwrap().status, 413);
    assert_eq!(server.url("/a"), format!("http://{}/a", server.address()));
    let address = server.address();
    assert!(address.ip().is_loopback());
    drop(server);
    assert!(std::net::TcpStream::connect(address).is_err(), "it lives on");
}
