//! Clients that vanish in all kinds of moments leave nothing behind within a minute, with the
//! default settings: 600 of them in each way, or as many as `SIDECORE_TEST_VANISHED` says:
//!
//! ```sh
//! SIDECORE_TEST_VANISHED=10000 cargo test -p sidecore-tests --test serial vanished -- --nocapture
//! ```

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use sidecore_tests::{
    Crowd, ServerProcess, connections_possible, get, server_command_of, wait_until,
};

use super::alone;

/// Clients of each way, unless `SIDECORE_TEST_VANISHED` says another number.
const CLIENTS: usize = 600;
/// What they leave has this long to go.
const PATIENCE: Duration = Duration::from_secs(60);
/// What an answer measures that waits unread: beyond what the kernels take of it, with the least of
/// receive buffers.
const UNREAD_BYTES: usize = 400 * 1024;
/// How long a task would take that a handler awaits, and when it is given up. The latter is within
/// the minute, as the task of a client that has gone is not: its result may be wanted all the same.
const TASK: &str = r#"{"kind":"sleep","ms":600000,"deadline_ms":57000,"pool":"async"}"#;
/// By how much what the binary has allocated may have grown: an executor's buffers for later
/// connections (16 MiB), and tables that have grown to the crowd's size. Its resident memory is no
/// measure: the allocator keeps most of what 1,250 unread answers took, for the next ones.
const ALLOCATED_MAX_BYTES: u64 = 32 << 20;
/// By how much the resident memory of a server may have grown that has quiet answers only.
const RESIDENT_MAX_BYTES: usize = 16 << 20;

/// A way to vanish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// The connection is closed.
    Fin,
    Reset,
    /// Nothing comes any more, not even an acknowledgement.
    Silence,
}

/// A moment to vanish in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Idle,
    HalfHead,
    HalfBody,
    /// The handler awaits a task.
    Handler,
    /// An answer has begun and stays quiet.
    Stream,
    /// An answer waits to be read.
    Unread,
    /// A request is sent, and whatever comes of it is nobody's any more: where the client is silent,
    /// an answer that is never acknowledged, upon which the kernel sends no probes.
    Request,
    /// The same of an answer that stays quiet.
    StreamRequest,
}

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const GET_QUIET: &str = "GET /quiet HTTP/1.1\r\nHost: h\r\n\r\n";
/// In the order in which they are come to: in the last ones time begins to run out at once.
const MOMENTS: [Moment; 8] = [
    Moment::Unread,
    Moment::Idle,
    Moment::Handler,
    Moment::Stream,
    Moment::HalfBody,
    Moment::Request,
    Moment::StreamRequest,
    Moment::HalfHead,
];

impl Moment {
    /// So many clients that have come to this moment.
    fn reach(self, address: SocketAddr, count: usize, source: u8) -> Crowd {
        let receive_bytes = (self == Moment::Unread).then_some(2048);
        let mut crowd = Crowd::connect(address, count, source, receive_bytes);
        let post = |path: &str, length: usize| {
            format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n")
        };
        match self {
            Moment::Idle => crowd.send_all(GET),
            Moment::HalfHead => crowd.send_all("GET / HTTP/1.1\r\nHos"),
            Moment::HalfBody => crowd.send_all(post("/", 100_000) + &"a".repeat(50_000)),
            Moment::Handler => crowd.send_all(post("/tasks/run", TASK.len()) + TASK),
            Moment::Stream => crowd.send_all(GET_QUIET),
            Moment::Unread => {
                crowd.send_all(post("/", UNREAD_BYTES) + &"a".repeat(UNREAD_BYTES));
            }
            Moment::Request | Moment::StreamRequest => {}
        }
        if matches!(self, Moment::Idle | Moment::Stream | Moment::Unread) {
            crowd.await_bytes();
        }
        if self != Moment::Unread {
            crowd.read(4096);
        }
        crowd
    }
}

impl Way {
    /// Has a crowd vanish; what of it has to be kept for that.
    fn vanish(self, moment: Moment, mut crowd: Crowd) -> Option<Crowd> {
        if self == Way::Silence {
            crowd.fall_silent();
        }
        match moment {
            Moment::Request => crowd.send_all(GET),
            Moment::StreamRequest => crowd.send_all(GET_QUIET),
            _ => {}
        }
        match self {
            // With bytes unread a close would be a reset.
            Way::Fin if moment == Moment::Unread => {
                crowd.half_close();
                return Some(crowd);
            }
            Way::Fin => drop(crowd),
            Way::Reset => crowd.reset(),
            Way::Silence => return Some(crowd),
        }
        None
    }
}

/// The binary, and a server of answers that stay quiet, which the binary has none of.
struct Servers {
    binary: ServerProcess,
    streams: ServerProcess,
}

/// What the servers hold.
#[derive(Clone, Copy, Debug)]
struct Held {
    descriptors: [usize; 2],
    resident_bytes: [usize; 2],
}

/// What the binary says that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counts {
    /// Connections but the one that asks.
    connections: u64,
    /// Tasks that wait or run.
    tasks: u64,
    allocated_bytes: u64,
}

impl Servers {
    fn start() -> Self {
        let streams = Path::new(env!("CARGO_BIN_EXE_quiet-stream"));
        Servers {
            binary: ServerProcess::start(&[]),
            streams: ServerProcess::spawn(server_command_of(streams, &[])),
        }
    }

    fn address(&self, moment: Moment) -> SocketAddr {
        match moment {
            Moment::Stream | Moment::StreamRequest => self.streams.address(),
            _ => self.binary.address(),
        }
    }

    fn held(&self) -> Held {
        let both = [&self.binary, &self.streams];
        Held {
            descriptors: both.map(ServerProcess::descriptors),
            resident_bytes: both.map(ServerProcess::resident_bytes),
        }
    }

    fn counts(&self) -> Counts {
        let stats = get(self.binary.address(), "/stats").json();
        let number = |value: &serde_json::Value| value.as_u64().expect("a number");
        let pools = stats["pools"].as_object().expect("the pools");
        Counts {
            connections: number(&stats["connection_num"]).saturating_sub(1),
            tasks: pools.values().map(|pool| number(&pool["in_flight"])).sum(),
            allocated_bytes: number(&stats["heap"]["in_use_bytes"]),
        }
    }

    /// Answers that have begun and not ended.
    fn live_streams(&self) -> u64 {
        let live = get(self.streams.address(), "/live").body;
        String::from_utf8(live).ok().and_then(|live| live.parse().ok()).expect("a number")
    }
}

/// A crowd that has vanished, in one way.
struct Vanished {
    way: Way,
    servers: Servers,
    before: (Held, Counts),
    since: Instant,
    /// Those whose sockets are there all the same.
    _kept: Vec<Crowd>,
}

impl Vanished {
    /// Has a crowd come and vanish.
    fn begin(way: Way, clients: usize) -> Self {
        let servers = Servers::start();
        let held = servers.held();
        let before = (held, servers.counts());
        let each = clients / MOMENTS.len();
        let crowds = MOMENTS.map(|moment| {
            let source = 100 + 10 * way as u8 + moment as u8;
            moment.reach(servers.address(moment), each, source)
        });
        wait_until("a crowd has not come", || {
            let Counts { connections, tasks, .. } = servers.counts();
            let streams = servers.live_streams();
            (connections, tasks, streams) == (6 * each as u64, each as u64, each as u64)
        });
        let with = (servers.held(), servers.counts());
        println!("{way:?}, {} clients: before {before:?}, with them {with:?}", 8 * each);
        let vanish = |(moment, crowd)| way.vanish(moment, crowd);
        let kept = MOMENTS.into_iter().zip(crowds).filter_map(vanish).collect();
        Vanished { way, servers, before, since: Instant::now(), _kept: kept }
    }

    /// Waits for the end of the minute and looks at what is left.
    fn end(self) {
        let Vanished { way, servers, before: (before, counted), .. } = &self;
        let mut gone_after = None;
        while self.since.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(500));
            let is_gone = servers.held().descriptors == before.descriptors;
            gone_after = gone_after.filter(|_| is_gone).or(is_gone.then(|| self.since.elapsed()));
        }
        let (after, counts) = (servers.held(), servers.counts());
        println!("{way:?}: no descriptor is left after {gone_after:?}; {after:?}, {counts:?}");
        assert_eq!(after.descriptors, before.descriptors, "{way:?}");
        let left = (counts.connections, counts.tasks, servers.live_streams());
        assert_eq!(left, (0, 0, 0), "{way:?}: connections, tasks and streams");
        let allocated = counts.allocated_bytes.saturating_sub(counted.allocated_bytes);
        assert!(allocated < ALLOCATED_MAX_BYTES, "{way:?}: {allocated} bytes more are allocated");
        let resident = after.resident_bytes[1].saturating_sub(before.resident_bytes[1]);
        assert!(resident < RESIDENT_MAX_BYTES, "{way:?}: {resident} bytes more are resident");
        self.servers.binary.stop();
        self.servers.streams.stop();
    }
}

#[test]
fn clients_that_vanish_leave_nothing_behind_after_a_minute() {
    let _alone = alone();
    let asked = std::env::var("SIDECORE_TEST_VANISHED");
    let asked = asked.ok().and_then(|asked| asked.parse().ok()).unwrap_or(CLIENTS);
    // Those who are silent are there at the end, and a part of those who have closed.
    let clients = asked.min(connections_possible() * 3 / 4);
    if clients < asked {
        println!("{clients} clients in each way, not {asked}: see `ulimit -Hn`");
    }
    let crowds = [Way::Reset, Way::Fin, Way::Silence].map(|way| Vanished::begin(way, clients));
    std::thread::scope(|scope| {
        for crowd in crowds {
            scope.spawn(move || crowd.end());
        }
    });
}
