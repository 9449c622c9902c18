//! What the companion costs: tokio within sidecore's executors, beside the same on a runtime of
//! tokio's own and beside sidecore's own means. `sidecore-bench companion` builds and runs it.
//!
//! `peer-companion measure SERVER_CPU PEER_CPU ROUNDS SECONDS` prints the table.
//! `peer-companion serve on|off CPU SECONDS` serves `GET /` with the companion or without, for
//! loads from outside.
//!
//! | host | its thread, pinned to the server's CPU |
//! |---|---|
//! | sidecore | an executor; no tokio |
//! | companion | an executor of `Server::with_tokio`; the companion is on the other CPUs |
//! | tokio | tokio's current-thread runtime |
//!
//! All hosts run in this process and sleep while another is measured. A round measures each row
//! once, the rows of a group one right after the other and in an order that rotates, so that what
//! disturbs the machine disturbs neighbours alike; ratios are of values of the same round. Clients
//! of echoes and of `GET /` are plain blocking sockets on the peer's CPU, where the server that
//! reqwest asks is too.

mod client;
mod echo;
mod host;
mod measures;
mod report;
mod sidecore_host;
#[path = "../../../src/statistics.rs"]
mod statistics;
mod tokio_host;

use std::time::Duration;

use crate::host::{Host, Peer};
use crate::report::{GROUPS, Row};
use crate::sidecore_host::Sidecore;
use crate::tokio_host::Tokio;

/// Of a window before the first round, whose figure is thrown away.
const WARM_UP: Duration = Duration::from_millis(20);

/// The hosts, each of which can measure.
struct Hosts {
    sidecore: Sidecore,
    companion: Sidecore,
    tokio: Tokio,
}

impl Hosts {
    fn measure(&mut self, row: &Row, window: Duration) -> f64 {
        match row.host {
            Host::Sidecore => self.sidecore.measure(row.measure, window),
            Host::Companion => self.companion.measure(row.measure, window),
            Host::Tokio => self.tokio.measure(row.measure, window),
        }
    }
}

/// Microseconds of each row, a value for each round.
fn run(hosts: &mut Hosts, rounds: usize, time: Duration) -> Vec<Vec<Vec<f64>>> {
    let rows = GROUPS.iter().map(|group| group.rows.len()).sum::<usize>();
    let window = time / (rounds * rows) as u32;
    for row in GROUPS.iter().flat_map(|group| group.rows) {
        hosts.measure(row, WARM_UP);
    }
    let none = |group: &report::Group| vec![Vec::with_capacity(rounds); group.rows.len()];
    let mut figures: Vec<_> = GROUPS.iter().map(none).collect();
    for round in 0..rounds {
        for (group, figures) in GROUPS.iter().zip(&mut figures) {
            for turn in 0..group.rows.len() {
                let at = (round + turn) % group.rows.len();
                figures[at].push(hosts.measure(&group.rows[at], window));
            }
        }
    }
    figures
}

fn measure(server_cpu: usize, peer_cpu: usize, rounds: usize, time: Duration) {
    // A panic on a thread of a host would leave this one waiting for it.
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        std::process::exit(1);
    }));
    let peer = Peer::start(peer_cpu);
    let mut hosts = Hosts {
        sidecore: Sidecore::start(server_cpu, false, peer.address()),
        companion: Sidecore::start(server_cpu, true, peer.address()),
        tokio: Tokio::start(server_cpu, peer.address()),
    };
    host::pin(peer_cpu);
    let figures = run(&mut hosts, rounds, time);
    println!("hosts on CPU {server_cpu}, clients and peers on CPU {peer_cpu}, {rounds} rounds\n");
    print!("{}", report::table(&figures));
    hosts.tokio.end();
    hosts.companion.end();
    hosts.sidecore.end();
    peer.end();
}

fn main() -> Result<(), String> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    let numbers = |texts: &[&str]| -> Option<Vec<usize>> {
        texts.iter().map(|text| text.parse().ok()).collect()
    };
    match words[..] {
        ["serve", mode @ ("on" | "off"), ref rest @ ..] => match numbers(rest).as_deref() {
            Some(&[cpu, seconds]) => {
                sidecore_host::serve(cpu, mode == "on", Duration::from_secs(seconds as u64));
                return Ok(());
            }
            _ => Err(()),
        },
        ["measure", ref rest @ ..] => match numbers(rest).as_deref() {
            Some(&[server_cpu, peer_cpu, rounds, seconds]) => {
                let time = Duration::from_secs(seconds.max(1) as u64);
                measure(server_cpu, peer_cpu, rounds.max(1), time);
                return Ok(());
            }
            _ => Err(()),
        },
        _ => Err(()),
    }
    .map_err(|()| {
        "usage: peer-companion measure SERVER_CPU PEER_CPU ROUNDS SECONDS, \
         or serve on|off CPU SECONDS"
            .to_owned()
    })
}
