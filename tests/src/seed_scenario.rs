//! The scenario that names the project: every task worker asleep, more sleeps queued behind them,
//! and plain requests as fast as ever.
//!
//! Two servers of the same placement run side by side; one of them is given the sleeps. Each
//! request to one is followed by the same request to the other, so that whatever else the machine
//! does falls on both alike and the ratio of their tails says what the tasks cost.

use std::time::{Duration, Instant};

use crate::{Client, Ended, ServerProcess, dispatch};

/// Blocks of requests; the figure is the median of their ratios.
const BLOCKS: usize = 5;
/// Requests a block to each of the two servers.
const REQUESTS: usize = 4_000;
const TASK_WORKERS: &str = "2";
/// With two workers: ten seconds of sleep, several times what the requests take.
const SLEEPS: usize = 8;
const SLEEP: &str = r#"{"kind":"sleep","ms":2500}"#;

/// What the scenario measured.
#[derive(Debug)]
pub struct Outcome {
    /// The blocks, in order of their ratio.
    pub blocks: Vec<Block>,
    /// How the server with the sleeps ended: SIGTERM came while they slept.
    pub ended: Ended,
}

/// Some thousand requests to each server.
#[derive(Debug)]
pub struct Block {
    /// p50 and p99 without tasks.
    pub alone: (Duration, Duration),
    /// p50 and p99 beside sleeping tasks.
    pub beside_sleeps: (Duration, Duration),
}

impl Block {
    /// The tail beside sleeping tasks over the tail without.
    pub fn p99_ratio(&self) -> f64 {
        self.beside_sleeps.1.as_secs_f64() / self.alone.1.as_secs_f64()
    }
}

impl Outcome {
    /// The block in the middle.
    pub fn median(&self) -> &Block {
        &self.blocks[self.blocks.len() / 2]
    }
}

/// Runs it: about fifteen seconds, most of them the sleeps that the server finishes at its end.
pub fn run() -> Outcome {
    let variables = [("SIDECORE_TASK_WORKER_NUM", TASK_WORKERS)];
    let (alone, busy) = (ServerProcess::start(&variables), ServerProcess::start(&variables));
    let mut to_alone = Client::connect(alone.address());
    let mut to_busy = Client::connect(busy.address());
    let mut dispatcher = Client::connect(busy.address());
    let ids: Vec<_> = (0..SLEEPS).map(|_| dispatch(&mut dispatcher, SLEEP)).collect();

    let mut blocks: Vec<_> = (0..BLOCKS).map(|_| block(&mut to_alone, &mut to_busy)).collect();
    let last = ids[SLEEPS - 1];
    let view = dispatcher.request("GET", &format!("/tasks/{last}"), "").json();
    assert_eq!(view["state"], "queued", "the requests outlasted the sleeps");

    blocks.sort_by(|a, b| a.p99_ratio().total_cmp(&b.p99_ratio()));
    alone.stop();
    Outcome { blocks, ended: busy.stop() }
}

fn block(to_alone: &mut Client, to_busy: &mut Client) -> Block {
    let (mut alone, mut busy) = (Vec::new(), Vec::new());
    for _ in 0..REQUESTS {
        alone.push(time(to_alone));
        busy.push(time(to_busy));
    }
    Block { alone: percentiles(alone), beside_sleeps: percentiles(busy) }
}

fn time(client: &mut Client) -> Duration {
    let start = Instant::now();
    assert_eq!(client.request("GET", "/", "").status, 200);
    start.elapsed()
}

fn percentiles(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}
