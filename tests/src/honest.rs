//! Honest clients beside whatever else goes on: are they served, and how fast?

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::{Client, get};

/// Pause between two requests, lest the measurement itself be the load.
const PAUSE: Duration = Duration::from_millis(2);

/// How long requests took.
#[derive(Debug, Default)]
pub struct Latencies {
    sorted: Vec<Duration>,
}

impl Latencies {
    /// Requests measured.
    pub fn count(&self) -> usize {
        self.sorted.len()
    }

    /// The time within which so large a part was answered: 0.99 for the p99.
    pub fn quantile(&self, part: f64) -> Duration {
        let at = (self.sorted.len() as f64 * part).ceil() as usize;
        self.sorted[at.clamp(1, self.sorted.len()) - 1]
    }
}

/// Asks for so long, in turn on a new connection, on a kept one, and with a body.
pub fn ask_for(address: SocketAddr, time: Duration) -> Latencies {
    let mut kept = Client::connect(address);
    let mut taken = Vec::new();
    let end = Instant::now() + time;
    while Instant::now() < end {
        let mut measure = |ask: &mut dyn FnMut() -> u16| {
            let start = Instant::now();
            assert_eq!(ask(), 200);
            taken.push(start.elapsed());
            std::thread::sleep(PAUSE);
        };
        measure(&mut || get(address, "/").status);
        measure(&mut || kept.request("GET", "/", "").status);
        measure(&mut || kept.request("POST", "/", "hello").status);
    }
    taken.sort_unstable();
    Latencies { sorted: taken }
}

/// Waits until a condition holds; fails with `what` if it does not in time.
pub fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(15), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
