//! Thousands of connections, idle or hostile, and honest clients among them.
//!
//! Each takes nearly all descriptors that a process may have. Where the hard limit on them is low
//! there are fewer connections, which is printed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sidecore_tests::{Crowd, Latencies, ServerProcess, ask_for, connections_possible};

use super::alone;

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

fn server() -> ServerProcess {
    ServerProcess::start(&[
        ("SIDECORE_WORKER_NUM", "1"),
        ("SIDECORE_CONNECTIONS_MAX", "100000"),
        ("SIDECORE_TASK_WORKER_NUM", "1"),
        // A crowd is there until the test has ended, however slow the machine.
        ("SIDECORE_HEAD_TIMEOUT_MS", "60000"),
        ("SIDECORE_BODY_TIMEOUT_MS", "60000"),
        ("SIDECORE_WRITE_TIMEOUT_MS", "60000"),
    ])
}

fn report(what: &str, latencies: &Latencies) {
    let [p50, p99, worst] = [0.5, 0.99, 1.0].map(|part| latencies.quantile(part));
    println!("{what}: {} requests, p50 {p50:?}, p99 {p99:?}, worst {worst:?}", latencies.count());
}

#[test]
fn fifteen_thousand_idle_connections_hold_nobody_up() {
    let _alone = alone();
    let count = connections_possible().min(15_000);
    let server = server();
    let before = server.resident_bytes();
    let mut kept = Crowd::connect(server.address(), count / 2, 10, None);
    kept.send(GET);
    let mut silent = Crowd::connect(server.address(), count - count / 2, 20, None);
    let latencies = ask_for(server.address(), Duration::from_secs(2));
    let each = server.resident_bytes().saturating_sub(before) / count;
    report("idle", &latencies);
    println!("{count} idle connections of {each} bytes");
    assert_eq!(kept.open() + silent.open(), count, "the crowd was not there all the time");
    assert!(latencies.quantile(0.99) < Duration::from_millis(100));
    assert!(each < 1_536, "{each} bytes for an idle connection");
    drop((kept, silent));
    server.stop();
}

/// What one slow reader asks for and does not read: more than the kernel's buffers take, with
/// receive buffers as small as can be.
const UNREAD_BYTES: usize = 48 * 1024;
/// What a connection of an attack may cost the server: the answer that is not read, or a head or a
/// body that has begun, and the connection.
const ATTACKER_MAX_BYTES: usize = 8 * 1024;

#[test]
fn four_slow_attacks_at_once_do_not_keep_honest_clients_from_their_answers() {
    let _alone = alone();
    let each = (connections_possible() / 4).min(5_000);
    let server = server();
    let address = server.address();
    let before = server.resident_bytes();
    let mut heads = Crowd::connect(address, each, 30, None);
    heads.send("GET / HTTP/1.1\r\nHost: h\r\nA: ");
    let mut bodies = Crowd::connect(address, each, 40, None);
    bodies.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n");
    let mut readers = Crowd::connect(address, each, 50, Some(2048));
    let mut echo = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {UNREAD_BYTES}\r\n\r\n");
    echo.push_str(&"a".repeat(UNREAD_BYTES));
    readers.send(&echo);
    let mut pipelined = Crowd::connect(address, each, 60, None);
    pipelined.send(GET.repeat(10));

    let over = AtomicBool::new(false);
    let (latencies, rounds) = std::thread::scope(|scope| {
        let attack = scope.spawn(|| {
            let mut rounds = 0;
            while !over.load(Ordering::Relaxed) {
                heads.send("a");
                bodies.send("a");
                readers.read(1);
                pipelined.send("GET / HT");
                pipelined.send("TP/1.1\r\nHost: h\r\n\r\n");
                rounds += 1;
                std::thread::sleep(Duration::from_millis(500));
            }
            rounds
        });
        let latencies = ask_for(address, Duration::from_secs(4));
        over.store(true, Ordering::Relaxed);
        (latencies, attack.join().expect("the attack goes on"))
    });
    let resident = server.resident_bytes().saturating_sub(before);
    report("beside four attacks", &latencies);
    println!("4 x {each} connections, {rounds} rounds, {} MiB resident", resident >> 20);
    let live = heads.open() + bodies.open() + readers.open() + pipelined.open();
    assert_eq!(live, 4 * each, "the attacks were not live all the time");
    assert!(rounds >= 3, "{rounds} rounds of attack are no attack");
    assert!(latencies.quantile(0.99) < Duration::from_secs(1));
    let bound = 4 * each * ATTACKER_MAX_BYTES;
    assert!(resident < bound, "{resident} bytes, more than {bound}");
    drop((heads, bodies, readers, pipelined));
    server.stop();
}
