//! Tasks of the binary, as its clients see them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::{Client, get, wait_until};

/// Asks for a task until it is in `state`; what the server says of it then.
pub fn wait_for(client: &mut Client, id: u64, state: &str) -> serde_json::Value {
    let start = Instant::now();
    loop {
        let view = client.request("GET", &format!("/tasks/{id}"), "").json();
        if view["state"] == state {
            return view;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "task {id} is {view}, not {state}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Dispatches a job that must be accepted; its id.
pub fn dispatch(client: &mut Client, job: &str) -> u64 {
    let answer = client.request("POST", "/tasks", job);
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.json()["task_id"].as_u64().expect("an id")
}

/// Waits until the server's default pool has accepted so many tasks since its start.
pub fn wait_for_task_count(address: SocketAddr, count: u64) {
    let accepted = || get(address, "/stats").json()["task_count"].as_u64();
    wait_until("the tasks are accepted", || accepted() == Some(count));
}
