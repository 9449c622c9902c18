//! Tasks of the binary, as its clients see them.

use std::time::{Duration, Instant};

use crate::Client;

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
