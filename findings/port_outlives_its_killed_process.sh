#!/usr/bin/env bash
# A port outlives the process that listened on it, where an io_uring ring accepts there.
#
# After `kill -9` and `wait`, the process is gone: not even a zombie is left. Of a plain listener
# its port is then free. With one multishot accept armed in a ring it is not, on Linux 6.18: for
# some milliseconds bind(2) fails with EADDRINUSE, and connect(2) to the dead process succeeds,
# after which the connection is reset. The ring holds the listening socket, and the kernel tears a
# ring down in a work item of its own, which the parent's wait(2) does not wait for.
#
# So a supervisor that starts a server again at once, as one may after SIGCHLD, finds the port in
# use by nobody. A server has to try again for a while before it calls a port taken.
#
# Seen on Linux 6.18.44 with io-uring 0.7.16 and libc 0.2.186, Rust 1.95, in each of five runs:
#   plain listener: port taken after the wait in 0 of 40, connected to the dead in 0 of 40
#   io_uring accept: port taken after the wait in 40 of 40, connected to the dead in 40 of 40
#
# Needs cargo, a C linker, and io_uring permitted. Fails if the behaviour is another.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/src"

cat > "$folder/Cargo.toml" <<'TOML'
[package]
name = "killed-listener"
version = "0.0.0"
edition = "2021"

[dependencies]
io-uring = "=0.7.16"
libc = "=0.2.186"
TOML

cat > "$folder/src/main.rs" <<'RUST'
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use io_uring::{opcode, types, IoUring};

const ROUNDS: u32 = 40;

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("ring") => listen(true),
        Some("plain") => listen(false),
        _ => {
            compare("plain listener", "plain");
            compare("io_uring accept", "ring");
        }
    }
}

fn compare(name: &str, kind: &str) {
    let rounds: Vec<_> = (0..ROUNDS).map(|_| kill_and_look(kind)).collect();
    let taken = rounds.iter().filter(|(taken, _)| *taken).count();
    let connected = rounds.iter().filter(|(_, connected)| *connected).count();
    println!(
        "{name}: port taken after the wait in {taken} of {ROUNDS}, \
         connected to the dead in {connected} of {ROUNDS}"
    );
}

/// Whether the port was taken, and whether somebody answered there, after the process was reaped.
fn kill_and_look(kind: &str) -> (bool, bool) {
    let this = std::env::current_exe().unwrap();
    let mut child = Command::new(this).arg(kind).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address: SocketAddr = line.trim().parse().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let connected = TcpStream::connect_timeout(&address, Duration::from_millis(100)).is_ok();
    // std sets SO_REUSEADDR: connections that are still closing do not count.
    let taken = TcpListener::bind(address).is_err();
    let end = Instant::now() + Duration::from_secs(5);
    while taken && TcpListener::bind(address).is_err() {
        assert!(Instant::now() < end, "the port was never given back");
        std::thread::sleep(Duration::from_millis(1));
    }
    (taken, connected)
}

/// Listens on a free port, and says on which, until it is killed.
fn listen(by_ring: bool) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut ring = IoUring::new(8).unwrap();
    if by_ring {
        let accept = opcode::AcceptMulti::new(types::Fd(listener.as_raw_fd())).build();
        // SAFETY: the operation has no memory of ours, and the listener lives until the kill.
        unsafe { ring.submission().push(&accept) }.unwrap();
        ring.submit().unwrap();
    }
    println!("{}", listener.local_addr().unwrap());
    std::thread::sleep(Duration::from_secs(30));
}
RUST

(cd "$folder" && cargo build --quiet --release)
uname -sr
rustc --version
seen=$("$folder/target/release/killed-listener")
echo "$seen"

plain=$(grep '^plain' <<< "$seen")
ring=$(grep '^io_uring' <<< "$seen")
if [[ $plain != *"wait in 0 of 40"*"dead in 0 of 40" ]]; then
    echo "changed: a plain listener's port outlived its process" >&2
    exit 1
fi
taken=$(sed -E 's/.*wait in ([0-9]+) of.*/\1/' <<< "$ring")
if ((taken < 20)); then
    echo "changed: a port with an io_uring accept was free in most rounds" >&2
    exit 1
fi
