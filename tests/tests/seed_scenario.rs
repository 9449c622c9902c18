//! The scenario that names the project, in a file of its own so that no other test runs beside it.

use std::time::Instant;

use sidecore_tests::{Client, ServerProcess, dispatch, p99, wait_for};

/// The scenario that names the project: with every task worker asleep, and more sleeps queued,
/// plain requests are as fast as before.
#[test]
fn plain_requests_do_not_notice_sleeping_tasks() {
    let server = ServerProcess::start(&[("SIDECORE_TASK_WORKER_NUM", "2")]);
    let mut client = Client::connect(server.address());
    let mut measure = || {
        let times = (0..3000).map(|_| {
            let start = Instant::now();
            assert_eq!(client.request("GET", "/", "").status, 200);
            start.elapsed()
        });
        p99(times.collect())
    };
    let mut ratios: Vec<f64> = (0..5)
        .map(|_| {
            let alone = measure();
            let mut dispatcher = Client::connect(server.address());
            let jobs = (0..4).map(|_| dispatch(&mut dispatcher, r#"{"kind":"sleep","ms":1500}"#));
            let last = jobs.last().unwrap();
            let busy = measure();
            let view = dispatcher.request("GET", &format!("/tasks/{last}"), "").json();
            assert_eq!(view["state"], "queued", "the load outlasted the sleeps");
            // Waits for the queue to be empty, so that the next round begins alone.
            wait_for(&mut dispatcher, last, "finished");
            busy.as_secs_f64() / alone.as_secs_f64()
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    assert!(ratios[2] <= 2.0, "p99 with sleeping tasks / without: {ratios:?}");
    server.stop();
}
