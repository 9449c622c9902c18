//! One server after another on one address, and two at once.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::net::{self, AddressFamily, SocketFlags, SocketType};
use rustix::process::{Pid, Signal, kill_process};
use sidecore_tests::{Client, ServerProcess, server_command};

/// A port that was free.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn command(port: u16, variables: &[(&str, &str)]) -> Command {
    let mut command = server_command(variables);
    command.env("SIDECORE_PORT", port.to_string());
    command
}

/// The ring of a killed process outlives it for a moment, and its listener with it.
#[test]
fn a_killed_server_is_followed_by_the_next_at_once() {
    let (port, path) = (free_port(), std::env::temp_dir());
    let path = path.join(format!("sidecore-{}-restarts.sock", std::process::id()));
    let listen = format!("unix:{}", path.display());
    let variables = [("SIDECORE_LISTEN", &*listen), ("SIDECORE_TASK_WORKER_NUM", "1")];
    for round in 0..50 {
        let server = ServerProcess::spawn(command(port, &variables));
        let mut kept = Client::connect(server.address());
        assert_eq!(kept.request("GET", "/", "").body, b"OK", "round {round}");
        // Killed by its drop.
        drop(server);
    }
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_server_that_lives_keeps_its_port_and_is_named() {
    let port = free_port();
    let server = ServerProcess::spawn(command(port, &[]));
    let began = Instant::now();
    let output = command(port, &[]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    let owner = format!("in use by another process, sidecore-demo (process {})", server.pid());
    assert!(said.contains(&owner), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    server.stop();
}

/// A socket that is bound and of no process that is seen to listen: as long as nobody knows better,
/// its owner may be about to end.
#[test]
fn a_port_whose_owner_is_not_seen_is_waited_for_and_no_longer_than_that() {
    let held = held_port();
    let port = held.1;
    let began = Instant::now();
    let output = command(port, &[]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("waited 3 s for it to end"), "{said}");
    assert!(began.elapsed() >= Duration::from_secs(3), "{:?}", began.elapsed());

    // It goes meanwhile.
    let server = std::thread::spawn(move || ServerProcess::spawn(command(port, &[])));
    std::thread::sleep(Duration::from_millis(700));
    drop(held);
    server.join().unwrap().stop();
}

#[test]
fn a_signal_ends_the_wait_for_a_port() {
    let (_held, port) = held_port();
    let mut child = command(port, &[]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let told = Instant::now();
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(2), "{:?}", told.elapsed());
}

/// A socket that is bound and does not listen, and its port.
fn held_port() -> (OwnedFd, u16) {
    let (family, flags) = (AddressFamily::INET, SocketFlags::CLOEXEC);
    let socket = net::socket_with(family, SocketType::STREAM, flags, None).unwrap();
    net::bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = SocketAddr::try_from(net::getsockname(&socket).unwrap()).unwrap();
    (socket, address.port())
}

/// Never both, and mostly one.
#[test]
fn of_two_servers_that_start_at_once_one_serves() {
    let port = free_port();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut winners = 0;
    for round in 0..15 {
        let mut servers: Vec<Child> =
            (0..2).map(|_| command(port, &[]).spawn().expect("it starts")).collect();
        let began = Instant::now();
        let refused = loop {
            let ended = servers.iter_mut().position(|server| server.try_wait().unwrap().is_some());
            match ended {
                Some(ended) => break ended,
                None => assert!(began.elapsed() < Duration::from_secs(30), "both serve: {round}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        assert_eq!(servers[refused].wait().unwrap().code(), Some(2), "round {round}");
        if servers[1 - refused].try_wait().unwrap().is_none() {
            winners += 1;
            let deadline = Instant::now() + Duration::from_secs(20);
            while std::net::TcpStream::connect(address).is_err() {
                assert!(Instant::now() < deadline, "the one that is left does not listen");
            }
        }
        servers.iter_mut().for_each(|server| {
            let _ = server.kill();
            let _ = server.wait();
        });
    }
    assert!(winners >= 10, "{winners} of 15");
}
