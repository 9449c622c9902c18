//! The binary's durable pool: `"pool":"durable"`.

use std::path::Path;

use sidecore_tests::{Client, ServerProcess, dispatch, wait_for};

use super::*;

fn start(directory: &Path) -> (ServerProcess, Client) {
    let append_file = directory.join("lines");
    let server = ServerProcess::start(&[
        ("SIDECORE_DATA_DIR", directory.to_str().unwrap()),
        ("SIDECORE_APPEND_FILE", append_file.to_str().unwrap()),
        ("SIDECORE_TASK_WORKER_NUM", "1"),
        ("SIDECORE_POOL_DURABLE_TASK_WORKER_NUM", "1"),
        ("SIDECORE_DRAIN_TIMEOUT_MS", "300"),
    ]);
    let client = Client::connect(server.address());
    (server, client)
}

fn journal(client: &mut Client, name: &str) -> u64 {
    let stats = client.request("GET", "/stats", "").json();
    stats["pools"]["durable"]["journal"][name].as_u64().unwrap_or_else(|| panic!("{stats}"))
}

#[test]
fn without_a_directory_the_durable_pool_is_refused_by_the_name_of_its_variable() {
    let server = ServerProcess::start(&[]);
    let mut client = Client::connect(server.address());
    for path in ["/tasks", "/tasks/run"] {
        let answer = client.request("POST", path, r#"{"kind":"noop","pool":"durable"}"#);
        assert_eq!(answer.status, 400);
        let cause = answer.json()["error"].to_string();
        assert!(cause.contains("SIDECORE_DATA_DIR"), "{cause}");
    }
    server.stop();
}

#[test]
fn durable_tasks_are_dispatched_run_waited_for_and_cancelled_like_others() {
    let scratch = Scratch::new("durable-binary");
    let (server, mut client) = start(scratch.path());
    let id = dispatch(&mut client, r#"{"kind":"hash","rounds":10,"pool":"durable"}"#);
    wait_for(&mut client, id, "finished");
    let stats = client.request("GET", "/stats", "").json();
    let kinds = &stats["pools"]["durable"]["kinds"];
    assert_eq!(kinds["hash"]["ran"], 1, "{kinds}");
    assert_eq!(kinds["sleep"]["ran"], 0, "{kinds}");
    let failed = dispatch(&mut client, r#"{"kind":"panic","retries":1,"pool":"durable"}"#);
    assert_eq!(wait_for(&mut client, failed, "panicked")["attempts"], 2);

    let answer =
        client.request("POST", "/tasks/run", r#"{"kind":"sleep","ms":5,"pool":"durable"}"#);
    assert_eq!((answer.status, answer.json()["slept_ms"].as_u64()), (200, Some(5)));
    let answer = client.request("POST", "/tasks/run", r#"{"kind":"fail","pool":"durable"}"#);
    assert_eq!(answer.status, 500);
    let far = r#"{"kind":"noop","task_worker":9,"pool":"durable"}"#;
    assert_eq!(client.request("POST", "/tasks", far).status, 400);

    let both = r#"{"deadline_ms":400,"tasks":[{"kind":"sleep","ms":9000,"pool":"durable"},
        {"kind":"noop"},{"kind":"sleep","ms":9000},{"kind":"sleep","ms":1,"task_worker":7,
        "pool":"durable"}]}"#;
    let outcomes = client.request("POST", "/tasks/wait", both).json();
    let states: Vec<_> = outcomes.as_array().unwrap().iter().map(|o| o["state"].clone()).collect();
    assert_eq!(states, ["timed_out", "finished", "timed_out", "refused"]);

    let delayed = r#"{"kind":"noop","delay_ms":60000,"pool":"durable"}"#;
    let delayed = dispatch(&mut client, delayed);
    assert_eq!(client.request("DELETE", &format!("/tasks/{delayed}"), "").status, 200);
    wait_for(&mut client, delayed, "cancelled");
    assert_eq!((journal(&mut client, "appended"), journal(&mut client, "dead")), (6, 2));
    let ended = server.stop();
    assert_eq!(ended.count("kept"), 0);
}

#[test]
fn what_the_drain_does_not_finish_is_kept_not_lost_and_run_by_the_next_process() {
    let scratch = Scratch::new("durable-binary-kept");
    let (server, mut client) = start(scratch.path());
    let sleeps = dispatch(&mut client, r#"{"kind":"sleep","ms":60000,"pool":"durable"}"#);
    wait_for(&mut client, sleeps, "running");
    for line in 0..20 {
        let job = format!(r#"{{"kind":"append","line":"{line}","pool":"durable"}}"#);
        dispatch(&mut client, &job);
    }
    let ended = server.stop();
    assert_eq!((ended.count("kept"), ended.count("accepted")), (21, 21));
    assert!(ended.log.iter().any(|line| line.contains("keeps 21 tasks")), "{ended:?}");

    // The one that sleeps comes first, as it did before: another worker passes it by.
    let append_file = scratch.path().join("lines");
    let server = ServerProcess::start(&[
        ("SIDECORE_DATA_DIR", scratch.path().to_str().unwrap()),
        ("SIDECORE_APPEND_FILE", append_file.to_str().unwrap()),
        ("SIDECORE_POOL_DURABLE_TASK_WORKER_NUM", "2"),
        ("SIDECORE_DRAIN_TIMEOUT_MS", "300"),
    ]);
    let mut client = Client::connect(server.address());
    sidecore_tests::wait_until("the rest is run", || {
        std::fs::read_to_string(&append_file).is_ok_and(|text| text.lines().count() == 20)
    });
    let start = Instant::now();
    while journal(&mut client, "kept") > 1 {
        assert!(start.elapsed() < LONG, "the rest is acked");
    }
    let ended = server.stop();
    assert_eq!((ended.count("kept"), ended.count("finished")), (1, 20));
    let text = std::fs::read_to_string(&append_file).unwrap();
    let mut lines: Vec<u32> = text.lines().map(|line| line.parse().unwrap()).collect();
    lines.sort_unstable();
    assert!(lines.into_iter().eq(0..20), "each once: the end was clean");
}

/// A queue of four and one worker, all taken by jobs that sleep.
fn full(directory: &Path) -> (ServerProcess, Client) {
    let server = ServerProcess::start(&[
        ("SIDECORE_DATA_DIR", directory.to_str().unwrap()),
        ("SIDECORE_POOL_DURABLE_TASK_WORKER_NUM", "1"),
        ("SIDECORE_POOL_DURABLE_TASK_QUEUE_DEPTH", "4"),
        ("SIDECORE_DRAIN_TIMEOUT_MS", "300"),
    ]);
    let mut client = Client::connect(server.address());
    for _ in 0..5 {
        dispatch(&mut client, r#"{"kind":"sleep","ms":6000,"pool":"durable"}"#);
    }
    (server, client)
}

#[test]
fn a_deadline_holds_while_a_durable_task_waits_for_room() {
    let scratch = Scratch::new("durable-binary-deadline");
    let (server, mut client) = full(scratch.path());
    let start = Instant::now();
    let late = r#"{"deadline_ms":500,"tasks":[{"kind":"noop","pool":"durable"}]}"#;
    let outcomes = client.request("POST", "/tasks/wait", late).json();
    assert_eq!(outcomes[0]["state"], "timed_out", "{outcomes}");
    let waited = start.elapsed();
    assert!((500..3000).contains(&waited.as_millis()), "{waited:?}");
    // Its record is settled, those of the five are not.
    let end = Instant::now() + LONG;
    while journal(&mut client, "acked") != 1 {
        assert!(Instant::now() < end, "the record is not settled");
        std::thread::sleep(Duration::from_millis(20));
    }
    server.stop();
}

#[test]
fn durable_tasks_that_are_not_due_keep_no_other_waiting_and_no_drain() {
    let scratch = Scratch::new("durable-binary-later");
    let (server, mut client) = start(scratch.path());
    for _ in 0..1100 {
        dispatch(&mut client, r#"{"kind":"noop","delay_ms":3600000,"pool":"durable"}"#);
    }
    let start_of_run = Instant::now();
    let answer = client.request("POST", "/tasks/run", r#"{"kind":"noop","pool":"durable"}"#);
    assert_eq!(answer.status, 200);
    assert!(start_of_run.elapsed() < Duration::from_secs(5), "{:?}", start_of_run.elapsed());
    let ended = server.stop();
    assert_eq!((ended.count("kept"), ended.count("lost")), (1100, 0));
    // They are still due after a restart, and keep nothing up there either.
    let (server, mut client) = start(scratch.path());
    let answer = client.request("POST", "/tasks/run", r#"{"kind":"noop","pool":"durable"}"#);
    assert_eq!(answer.status, 200);
    server.stop();
}

/// Starts on a port that is taken, as a supervisor tries them again and again.
#[test]
fn starts_that_are_refused_charge_no_attempt() {
    let scratch = Scratch::new("durable-binary-refused");
    let (server, mut client) = start(scratch.path());
    dispatch(&mut client, r#"{"kind":"sleep","ms":60000,"pool":"durable"}"#);
    dispatch(&mut client, r#"{"kind":"noop","retries":3,"pool":"durable"}"#);
    assert_eq!(server.stop().count("kept"), 2);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let starts = std::env::var("SIDECORE_TEST_REFUSED_STARTS");
    let starts = starts.ok().and_then(|starts| starts.parse().ok()).unwrap_or(20);
    for _ in 0..starts {
        let output = sidecore_tests::server_command(&[
            ("SIDECORE_DATA_DIR", scratch.path().to_str().unwrap()),
            ("SIDECORE_PORT", &port),
        ])
        .output()
        .unwrap();
        assert!(!output.status.success());
    }
    let limits = JournalLimits::default();
    let opened = sidecore::durable::journal::Journal::open(scratch.path(), "durable", limits);
    let (_journal, recovery) = opened.unwrap();
    let attempts: Vec<_> = recovery.pending.iter().map(|record| record.attempts).collect();
    // The first one's own, which the drain ended.
    assert_eq!(attempts, [1, 0]);
}
