//! An executor that a handler blocks is reported, with the place in the handler's code.

use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use sidecore::lifecycle::Blocked;
use sidecore::{Config, Executor, Running, Server, service_fn};
use sidecore_tests::{Client, wait_until};

const LIMIT_MS: u64 = 100;

/// What nobody may do in a handler.
#[inline(never)]
fn sleep_as_no_handler_may() {
    std::thread::sleep(Duration::from_millis(3 * LIMIT_MS));
    std::hint::black_box(());
}

#[inline(never)]
fn compute_as_no_handler_may() {
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(3 * LIMIT_MS) {
        std::hint::black_box(start);
    }
}

fn start(change: impl FnOnce(&mut Config)) -> (Running, Receiver<Blocked>) {
    let mut config = Config::default();
    config.port = 0;
    config.options.worker_num = Some(1);
    config.options.executor_blocked_after_ms = LIMIT_MS;
    change(&mut config);
    let (told, blocked) = channel();
    let running = Server::new(config)
        .on_blocked(move |blocked| drop(told.send(blocked.clone())))
        .on_executor_stop(|_| std::thread::sleep(Duration::from_millis(3 * LIMIT_MS)))
        .start(|executor: &Executor<_, _>| {
            let stats = executor.stats();
            service_fn(move |request| {
                let stats = stats.clone();
                async move {
                    match request.uri().path() {
                        "/sleep" => sleep_as_no_handler_may(),
                        "/compute" => compute_as_no_handler_may(),
                        "/wait" => {
                            let long = Duration::from_millis(3 * LIMIT_MS);
                            sidecore_runtime::executor::sleep(long).await;
                        }
                        _ => {}
                    }
                    stats.executors().iter().map(|stats| stats.blocked).sum::<u64>().to_string()
                }
            })
        })
        .expect("it starts");
    (running, blocked)
}

fn get(running: &Running, path: &str) -> String {
    let answer = Client::connect(running.address()).request("GET", path, "");
    String::from_utf8(answer.body).expect("a text")
}

fn end(running: Running) {
    running.shutdown().raise();
    running.wait().expect("it ends");
}

#[test]
fn a_handler_that_blocks_is_reported_with_its_place() {
    for (path, function) in
        [("/sleep", "sleep_as_no_handler_may"), ("/compute", "compute_as_no_handler_may")]
    {
        let (running, reports) = start(|_| {});
        get(&running, path);
        let blocked = reports.recv_timeout(Duration::from_secs(5)).expect("a report");
        let said = blocked.to_string();
        assert_eq!((blocked.executor, blocked.times), (0, 1), "{said}");
        assert!(blocked.blocked_for >= Duration::from_millis(LIMIT_MS), "{said}");
        assert!(said.contains("run what computes or blocks as a task"), "{said}");
        // A thread on a busy machine may answer too late to be read, which the report then says.
        let is_read = blocked
            .stack
            .frames
            .iter()
            .any(|frame| frame.function.as_deref().is_some_and(|name| name.contains(function)));
        assert!(is_read || said.contains("no stack: "), "{said}");
        // Nothing of ours is in it.
        assert!(!said.contains("__sidecore_poll"), "{said}");
        end(running);
    }
}

/// What blocks once blocks often: all times count, and are no flood of lines.
#[test]
fn each_time_counts_and_the_second_is_not_told_again() {
    let (running, reports) = start(|_| {});
    get(&running, "/sleep");
    get(&running, "/sleep");
    wait_until("both are counted", || get(&running, "/") == "2");
    assert_eq!(reports.try_iter().count(), 1);
    end(running);
}

/// Nor is a hook that blocks as the executor ends, which it may.
#[test]
fn an_executor_that_waits_is_not_blocked() {
    let (running, reports) = start(|_| {});
    get(&running, "/wait");
    std::thread::sleep(Duration::from_millis(2 * LIMIT_MS));
    assert_eq!(get(&running, "/"), "0");
    end(running);
    assert_eq!(reports.try_iter().count(), 0);
}

#[test]
fn who_asks_for_no_watch_has_none() {
    let (running, reports) = start(|config| config.options.executor_blocked_after_ms = 0);
    assert_eq!(get(&running, "/sleep"), "0");
    end(running);
    assert_eq!(reports.try_iter().count(), 0);
}
