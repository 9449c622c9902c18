//! What the server holds: nothing after its connections, little for idle ones, no CPU at rest.

use std::net::TcpStream;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use sidecore_tests::{Client, ServerProcess, get, wait_until};

use super::alone;

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// Connections that end in every way: served and closed, reset before, within and after a
/// request, half-closed, never used. The time limits are short: Linux 6.18 keeps the news of about
/// one reset in 2,000 from a multishot receive, and such a connection ends by its time limit.
#[test]
fn ten_thousand_connections_leave_no_descriptor_behind() {
    let _alone = alone();
    let server = ServerProcess::start(&[
        ("SIDECORE_HEAD_TIMEOUT_MS", "1500"),
        ("SIDECORE_BODY_TIMEOUT_MS", "1500"),
        ("SIDECORE_KEEP_ALIVE_TIMEOUT_MS", "1500"),
        ("SIDECORE_LINGER_TIMEOUT_MS", "500"),
    ]);
    assert_eq!(get(server.address(), "/").status, 200);
    let before = server.descriptors();
    for round in 0..2_000 {
        let reset = |sent: &str| {
            let mut client = Client::connect(server.address());
            client.send(sent);
            set_socket_linger(client.stream(), Some(Duration::ZERO)).unwrap();
        };
        reset("");
        reset("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc");
        reset(GET);
        let mut client = Client::connect(server.address());
        client.send(GET);
        client.end();
        assert_eq!(client.answer().status, 200, "round {round}");
        drop(TcpStream::connect(server.address()).unwrap());
    }
    wait_until("descriptors are left open", || server.descriptors() <= before);
    assert_eq!(get(server.address(), "/").status, 200);
    server.stop();
}

#[test]
fn without_descriptors_accepting_pauses_and_resumes() {
    let _alone = alone();
    let server = ServerProcess::start(&[]);
    let hard = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let few = Some(server.descriptors() as u64 + 20);
    let limit = rustix::process::Rlimit { current: few, maximum: hard };
    let pid = rustix::process::Pid::from_raw(server.pid() as i32).unwrap();
    rustix::process::prlimit(Some(pid), rustix::process::Resource::Nofile, limit).unwrap();
    let clients: Vec<_> = (0..60).map(|_| Client::connect(server.address())).collect();
    std::thread::sleep(Duration::from_millis(200));
    let before = server.cpu_time();
    std::thread::sleep(Duration::from_secs(1));
    let used = server.cpu_time() - before;
    assert!(used < Duration::from_millis(50), "{used:?} of CPU while there is no descriptor");
    drop(clients);
    assert_eq!(get(server.address(), "/").status, 200);
    server.stop();
}

#[test]
fn an_idle_server_uses_no_cpu() {
    let _alone = alone();
    let server = ServerProcess::start(&[]);
    let clients: Vec<_> = (0..100).map(|_| Client::connect(server.address())).collect();
    std::thread::sleep(Duration::from_millis(500));
    let before = server.cpu_time();
    std::thread::sleep(Duration::from_secs(3));
    let used = server.cpu_time() - before;
    assert!(used < Duration::from_millis(15), "{used:?} in 3 s is above 0.5 % of a core");
    drop(clients);
    server.stop();
}

#[test]
fn an_idle_connection_costs_about_a_kilobyte() {
    let _alone = alone();
    // Few, lest the first burst that touches all of them be counted as the connections': by default
    // these are 4 MiB an executor.
    let server = ServerProcess::start(&[("SIDECORE_RECV_BUFFERS", "64")]);
    let idle = |count: usize| {
        let mut clients: Vec<_> = (0..count).map(|_| Client::connect(server.address())).collect();
        clients.iter_mut().for_each(|client| client.send(GET));
        assert!(clients.iter_mut().all(|client| client.answer().status == 200));
        clients
    };
    let warm = idle(500);
    let before = server.resident_bytes();
    let clients = idle(6_000);
    let each = server.resident_bytes().saturating_sub(before) / clients.len();
    println!("{each} bytes for an idle connection");
    assert!(each < 1_536, "{each} bytes for an idle connection");
    drop((warm, clients));
    server.stop();
}
