//! Tasks with options, through the binary: priorities, delays, deadlines, cancellation, retries,
//! a task worker of choice, many at once, statistics.

use std::time::{Duration, Instant};

use sidecore_tests::{Client, ServerProcess, dispatch, wait_for};

fn one_worker() -> (ServerProcess, Client) {
    let server = ServerProcess::start(&[("SIDECORE_TASK_WORKER_NUM", "1")]);
    let client = Client::connect(server.address());
    (server, client)
}

/// Keeps the one task worker busy for some time.
fn occupy(client: &mut Client, ms: u64) -> u64 {
    let id = dispatch(client, &format!(r#"{{"kind":"sleep","ms":{ms}}}"#));
    wait_for(client, id, "running");
    id
}

#[test]
fn higher_priorities_run_first_and_low_ones_are_not_starved() {
    let (server, mut client) = one_worker();
    occupy(&mut client, 300);
    let mut order = |priority: &str| {
        let job = format!(r#"{{"kind":"sleep","ms":2,"priority":"{priority}"}}"#);
        dispatch(&mut client, &job)
    };
    let low = order("low");
    let normal = order("normal");
    let high: Vec<_> = (0..40).map(|_| order("high")).collect();
    let mut waited = |id| wait_for(&mut client, id, "finished")["waited_us"].as_u64().unwrap();
    let last = waited(high[39]);
    let first = waited(high[0]);
    assert!(first < waited(normal), "a high one, dispatched last, runs first");
    // 40 high ones wait: one of four is left to the normal and one of sixteen to the low.
    assert!(waited(normal) < last, "the normal one is not starved");
    assert!(waited(low) < last, "the low one is not starved");
    server.stop();
}

#[test]
fn a_delayed_task_runs_at_its_time_and_not_before() {
    let (server, mut client) = one_worker();
    let start = Instant::now();
    let id = dispatch(&mut client, r#"{"kind":"noop","delay_ms":300}"#);
    assert_eq!(client.request("GET", &format!("/tasks/{id}"), "").json()["state"], "queued");
    wait_for(&mut client, id, "finished");
    let took = start.elapsed();
    assert!((300..10_000).contains(&(took.as_millis() as u64)), "{took:?}");
    server.stop();
}

#[test]
fn a_task_that_is_not_over_by_its_deadline_is_told_then() {
    let (server, mut client) = one_worker();
    let start = Instant::now();
    let running = dispatch(&mut client, r#"{"kind":"sleep","ms":20000,"deadline_ms":200}"#);
    let queued = dispatch(&mut client, r#"{"kind":"noop","deadline_ms":100}"#);
    let delayed = dispatch(&mut client, r#"{"kind":"noop","delay_ms":20000,"deadline_ms":150}"#);
    for id in [queued, delayed] {
        let view = wait_for(&mut client, id, "timed_out");
        assert!(view["task_worker"].is_null(), "{view}");
    }
    wait_for(&mut client, running, "timed_out");
    // The sleep saw that it was too late: the worker is free again.
    let next = dispatch(&mut client, r#"{"kind":"noop","deadline_ms":60000}"#);
    wait_for(&mut client, next, "finished");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    let ended = server.stop();
    let counts = ["accepted", "finished", "timed_out"].map(|name| ended.count(name));
    assert_eq!(counts, [4, 1, 3]);
}

#[test]
fn a_queued_task_is_cancelled_at_once_and_a_running_one_when_it_asks() {
    let (server, mut client) = one_worker();
    let running = occupy(&mut client, 20_000);
    let queued = dispatch(&mut client, r#"{"kind":"noop"}"#);
    let delayed = dispatch(&mut client, r#"{"kind":"noop","delay_ms":60000}"#);
    for id in [queued, delayed] {
        let answer = client.request("DELETE", &format!("/tasks/{id}"), "");
        assert_eq!((answer.status, answer.json()["state"].as_str()), (200, Some("cancelled")));
        wait_for(&mut client, id, "cancelled");
    }
    assert_eq!(client.request("DELETE", &format!("/tasks/{running}"), "").status, 202);
    wait_for(&mut client, running, "cancelled");
    let answer = client.request("DELETE", &format!("/tasks/{running}"), "");
    assert_eq!(answer.status, 409);
    assert_eq!(client.request("DELETE", "/tasks/999999", "").status, 404);
    let ended = server.stop();
    assert_eq!((ended.count("accepted"), ended.count("cancelled")), (3, 3));
}

#[test]
fn a_failed_task_is_tried_again_as_often_as_asked() {
    let (server, mut client) = one_worker();
    let plain = dispatch(&mut client, r#"{"kind":"fail"}"#);
    let start = Instant::now();
    let retried = dispatch(&mut client, r#"{"kind":"fail","retries":2}"#);
    let panicked = dispatch(&mut client, r#"{"kind":"panic","retries":1}"#);
    let view = wait_for(&mut client, plain, "failed");
    assert_eq!(view["attempts"], 1);
    assert!(view["error"].as_str().unwrap().contains("asked to fail"), "{view}");
    assert_eq!(wait_for(&mut client, panicked, "panicked")["attempts"], 2);
    assert_eq!(wait_for(&mut client, retried, "failed")["attempts"], 3);
    // Pauses of 100 and 200 ms, at least the half of each.
    assert!(start.elapsed() >= Duration::from_millis(150), "{:?}", start.elapsed());
    let stats = client.request("GET", "/stats", "").json();
    assert_eq!(stats["pools"]["default"]["retried"], 3);
    // One that waits for its next attempt can be cancelled.
    let waiting = dispatch(&mut client, r#"{"kind":"fail","retries":20}"#);
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(client.request("DELETE", &format!("/tasks/{waiting}"), "").status, 200);
    wait_for(&mut client, waiting, "cancelled");
    let ended = server.stop();
    let counts = ["accepted", "failed", "panicked", "cancelled"].map(|name| ended.count(name));
    assert_eq!(counts, [4, 2, 1, 1]);
}

#[test]
fn a_task_goes_to_the_task_worker_that_was_named() {
    let server = ServerProcess::start(&[("SIDECORE_TASK_WORKER_NUM", "3")]);
    let mut client = Client::connect(server.address());
    for round in 0..30 {
        let worker = round % 3;
        let job = format!(r#"{{"kind":"noop","task_worker":{worker}}}"#);
        let id = dispatch(&mut client, &job);
        assert_eq!(wait_for(&mut client, id, "finished")["task_worker"], worker);
    }
    // Behind a busy one, though others are idle.
    let busy = dispatch(&mut client, r#"{"kind":"sleep","ms":200,"task_worker":1}"#);
    wait_for(&mut client, busy, "running");
    let behind = dispatch(&mut client, r#"{"kind":"noop","task_worker":1}"#);
    let view = wait_for(&mut client, behind, "finished");
    assert!(view["waited_us"].as_u64().unwrap() > 50_000, "{view}");
    let answer = client.request("POST", "/tasks", r#"{"kind":"noop","task_worker":3}"#);
    assert_eq!(answer.status, 400);
    server.stop();
}

#[test]
fn many_are_waited_for_together_and_told_by_position() {
    let server = ServerProcess::start(&[("SIDECORE_TASK_WORKER_NUM", "2")]);
    let mut client = Client::connect(server.address());
    let start = Instant::now();
    let answer = client.request(
        "POST",
        "/tasks/wait",
        r#"{"deadline_ms":600,"tasks":[{"kind":"hash","rounds":10},{"kind":"sleep","ms":5000},
            {"kind":"fail"},{"kind":"panic"},{"kind":"sleep","ms":20}]}"#,
    );
    let took = start.elapsed();
    assert!((600..1500).contains(&(took.as_millis() as u64)), "{took:?}");
    let outcomes = answer.json();
    let states: Vec<_> = outcomes.as_array().unwrap().iter().map(|o| o["state"].clone()).collect();
    assert_eq!(states, ["finished", "timed_out", "failed", "panicked", "finished"]);
    assert_eq!(outcomes[4]["output"]["slept_ms"], 20);
    assert_eq!(client.request("POST", "/tasks/wait", r#"{"tasks":[]}"#).status, 400);
    server.stop();
}

#[test]
fn a_flood_of_delayed_tasks_is_stopped_by_its_bound_and_forgotten_when_cancelled() {
    let server = ServerProcess::start(&[
        ("SIDECORE_TASK_WORKER_NUM", "1"),
        ("SIDECORE_WORKER_NUM", "1"),
        ("SIDECORE_TASK_DELAYED_MAX", "17"),
    ]);
    let mut client = Client::connect(server.address());
    let job = r#"{"kind":"noop","delay_ms":60000}"#;
    let ids: Vec<_> = (0..17).map(|_| dispatch(&mut client, job)).collect();
    assert_eq!(client.request("POST", "/tasks", job).status, 503);
    for id in ids {
        assert_eq!(client.request("DELETE", &format!("/tasks/{id}"), "").status, 200);
    }
    let id = dispatch(&mut client, r#"{"kind":"noop"}"#);
    wait_for(&mut client, id, "finished");
    server.stop();
}

#[test]
fn statistics_count_what_happened() {
    let (server, mut client) = one_worker();
    let busy = occupy(&mut client, 400);
    let queued = dispatch(&mut client, r#"{"kind":"noop"}"#);
    let stats = client.request("GET", "/stats", "").json();
    assert_eq!((&stats["worker_num"], &stats["task_worker_num"]), (&1.into(), &1.into()));
    assert_eq!((&stats["tasking_num"], &stats["task_idle_worker_num"]), (&1.into(), &0.into()));
    let pool = &stats["pools"]["default"];
    assert_eq!((&pool["accepted"], &pool["in_flight"]), (&2.into(), &2.into()));
    assert_eq!(pool["task_workers"][0]["running_task_id"], busy);
    wait_for(&mut client, queued, "finished");
    let stats = client.request("GET", "/stats", "").json();
    let pool = &stats["pools"]["default"];
    assert_eq!((&pool["finished"], &pool["in_flight"]), (&2.into(), &0.into()));
    assert_eq!(pool["ran_us"]["count"], 2);
    assert!(pool["ran_us"]["max"].as_u64().unwrap() >= 400_000, "{pool}");
    assert!(stats["executors"][0]["connections"].as_u64().unwrap() >= 1);
    server.stop();
}

#[test]
fn append_writes_a_line_and_is_refused_without_a_file() {
    let (server, mut client) = one_worker();
    let job = r#"{"kind":"append","line":"hello"}"#;
    let answer = client.request("POST", "/tasks", job);
    assert_eq!(answer.status, 400);
    assert!(answer.json()["error"].as_str().unwrap().contains("SIDECORE_APPEND_FILE"));
    server.stop();

    let path = std::env::temp_dir().join(format!("sidecore-append-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let server = ServerProcess::start(&[
        ("SIDECORE_TASK_WORKER_NUM", "3"),
        ("SIDECORE_APPEND_FILE", path.to_str().unwrap()),
    ]);
    let mut client = Client::connect(server.address());
    for _ in 0..50 {
        dispatch(&mut client, job);
    }
    assert_eq!(server.stop().count("finished"), 50);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "hello\n".repeat(50));
    std::fs::remove_file(&path).unwrap();
}

/// Whoever looks at the clock first, the task worker or the executor: it is one deadline.
#[test]
fn a_job_that_stops_at_its_deadline_has_timed_out_and_is_not_cancelled() {
    const TIMES: u64 = 20;
    let (server, mut client) = one_worker();
    for pool in ["default", "async"] {
        let job =
            format!(r#"{{"kind":"hash","rounds":1000000000,"deadline_ms":20,"pool":"{pool}"}}"#);
        for _ in 0..TIMES / 2 {
            let answer = client.request("POST", "/tasks/run", &job);
            let text = answer.json().to_string();
            assert_eq!(answer.status, 504, "{text}");
            assert!(text.contains("deadline passed"), "{text}");
            assert!(!text.contains("cancelled"), "{text}");
        }
    }
    let ended = server.stop();
    assert_eq!((ended.count("timed_out"), ended.count("cancelled")), (TIMES, 0));
}
