//! Tasks through the binary: dispatch, run, state, back-pressure, panic, middleware.

use std::time::{Duration, Instant};

use sidecore_tests::{Client, ServerProcess, dispatch, wait_for};

#[test]
fn a_task_goes_from_queued_to_running_to_finished() {
    let server = ServerProcess::start(&[("SIDECORE_TASK_WORKER_NUM", "1")]);
    let mut client = Client::connect(server.address());
    let first = dispatch(&mut client, r#"{"kind":"sleep","ms":1500}"#);
    let second = dispatch(&mut client, r#"{"kind":"hash","rounds":1000}"#);
    // Which it would not be any more had a dispatch waited for it.
    wait_for(&mut client, first, "running");
    wait_for(&mut client, second, "queued");
    let view = wait_for(&mut client, first, "finished");
    assert_eq!(view["output"]["slept_ms"], 1500);
    assert_eq!(view["task_worker"], 0);
    assert!(view["ran_us"].as_u64().unwrap() >= 1_500_000);
    let view = wait_for(&mut client, second, "finished");
    assert_eq!(view["output"]["hash"].as_str().unwrap().len(), 16);
    assert!(view["waited_us"].as_u64().unwrap() >= 200_000);
    assert_eq!(client.request("GET", "/tasks/999999", "").status, 404);
    assert_eq!(client.request("GET", "/tasks/x", "").status, 404);
    let ended = server.stop();
    assert_eq!((ended.count("accepted"), ended.count("finished")), (2, 2));
}

#[test]
fn run_waits_for_the_output() {
    let server = ServerProcess::start(&[]);
    let mut client = Client::connect(server.address());
    let start = Instant::now();
    let answer = client.request("POST", "/tasks/run", r#"{"kind":"sleep","ms":150}"#);
    assert_eq!((answer.status, answer.json()["slept_ms"].as_u64()), (200, Some(150)));
    assert!(start.elapsed() >= Duration::from_millis(150));
    server.stop();
}

#[test]
fn bad_jobs_are_refused_with_400() {
    let server = ServerProcess::start(&[]);
    let mut client = Client::connect(server.address());
    for bad in ["", "{", "[]", r#"{"kind":"nap"}"#, r#"{"kind":"sleep"}"#] {
        for path in ["/tasks", "/tasks/run"] {
            let answer = client.request("POST", path, bad);
            assert_eq!(answer.status, 400, "{bad:?}");
            assert!(answer.json()["error"].is_string());
        }
    }
    assert_eq!(server.stop().count("accepted"), 0);
}

#[test]
fn a_full_queue_gives_503_and_takes_again_when_it_has_room() {
    let server = ServerProcess::start(&[
        ("SIDECORE_TASK_WORKER_NUM", "1"),
        ("SIDECORE_TASK_QUEUE_DEPTH", "4"),
    ]);
    let mut client = Client::connect(server.address());
    let job = r#"{"kind":"sleep","ms":400}"#;
    let first = dispatch(&mut client, job);
    wait_for(&mut client, first, "running");
    for _ in 0..4 {
        dispatch(&mut client, job);
    }
    let answer = client.request("POST", "/tasks", job);
    assert_eq!((answer.status, answer.field("retry-after")), (503, Some("1")));
    assert_eq!(client.request("POST", "/tasks/run", job).status, 503);
    assert_eq!(client.request("GET", "/audited/x", "").field("x-task-refused"), Some("queue full"));
    wait_for(&mut client, first, "finished");
    dispatch(&mut client, r#"{"kind":"noop"}"#);
    let ended = server.stop();
    assert_eq!((ended.count("accepted"), ended.count("finished")), (6, 6));
}

#[test]
fn a_panic_comes_home_and_the_worker_lives_on() {
    let server = ServerProcess::start(&[("SIDECORE_TASK_WORKER_NUM", "1")]);
    let mut client = Client::connect(server.address());
    let id = dispatch(&mut client, r#"{"kind":"panic"}"#);
    let view = wait_for(&mut client, id, "panicked");
    assert!(view["error"].as_str().unwrap().contains("was asked to panic"), "{view}");
    assert_eq!(client.request("POST", "/tasks/run", r#"{"kind":"panic"}"#).status, 500);
    assert_eq!(client.request("POST", "/tasks/run", r#"{"kind":"noop"}"#).status, 200);
    let ended = server.stop();
    assert_eq!((ended.count("finished"), ended.count("panicked")), (1, 2));
}

#[test]
fn the_middleware_triggers_a_task_and_goes_on() {
    let server = ServerProcess::start(&[]);
    let mut client = Client::connect(server.address());
    let answer = client.request("GET", "/audited/page", "");
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"OK"[..]));
    let id = answer.field("x-task-id").and_then(|id| id.parse().ok()).expect("a task");
    assert_eq!(wait_for(&mut client, id, "finished")["output"]["audited"], "GET /audited/page");
    assert_eq!(client.request("GET", "/", "").field("x-task-id"), None);
    server.stop();
}

#[test]
fn finished_tasks_are_remembered_up_to_the_bound() {
    let server = ServerProcess::start(&[("SIDECORE_TASKS_REMEMBERED", "3")]);
    let mut client = Client::connect(server.address());
    let ids: Vec<_> = (0..5)
        .map(|_| {
            let id = dispatch(&mut client, r#"{"kind":"noop"}"#);
            wait_for(&mut client, id, "finished");
            id
        })
        .collect();
    let status =
        |id: &u64, client: &mut Client| client.request("GET", &format!("/tasks/{id}"), "").status;
    let statuses: Vec<_> = ids.iter().map(|id| status(id, &mut client)).collect();
    assert_eq!(statuses, [404, 404, 200, 200, 200]);
    server.stop();
}

/// Two executors on two CPUs: the kernel spreads connections over both.
#[test]
fn ids_increase_on_each_executor_and_are_unique_across() {
    let server = ServerProcess::start(&[
        ("SIDECORE_WORKER_CPUS", "0,1"),
        ("SIDECORE_TASK_WORKER_CPUS", "0,1"),
        ("SIDECORE_TASK_WORKER_NUM", "3"),
        ("SIDECORE_TASK_QUEUE_DEPTH", "4096"),
    ]);
    let mut clients: Vec<_> = (0..16).map(|_| Client::connect(server.address())).collect();
    let mut last = [0; 2];
    let mut all = std::collections::HashSet::new();
    for _ in 0..50 {
        for client in &mut clients {
            let answer = client.request("POST", "/tasks", r#"{"kind":"noop"}"#).json();
            let (id, worker) = (answer["task_id"].as_u64().unwrap(), &answer["worker"]);
            let worker = worker.as_u64().unwrap() as usize;
            assert!(id > last[worker], "{id} after {} on executor {worker}", last[worker]);
            last[worker] = id;
            assert!(all.insert(id), "{id} twice");
        }
    }
    assert!(last.iter().all(|last| *last > 0), "one executor served all: {last:?}");
    assert_eq!(server.stop().count("finished"), 800);
}
