#!/usr/bin/env bash
# Closing an io_uring ring interrupts the thread that made it, a little later and without a signal.
#
# The kernel tears a closed ring down in a work item of its own, and tells the thread that made it,
# by an interruption of whatever that thread waits in by then. A plain read(2) is started again and
# nobody notices. A recv(2) with SO_RCVTIMEO and an epoll_wait(2) are never started again once they
# are interrupted (signal(7)): they fail with EINTR, though the process has no handler and was sent no
# signal, and though the ring had never been used, and is closed.
#
# So a library that only asks, on its caller's thread, whether there is io_uring makes a later call
# of that caller's fail with "Interrupted system call". It has to ask on a thread that ends. A thread
# of a pool that has dropped a ring keeps this in store for whoever runs there next.
#
# Seen on Linux 6.18.44 with io-uring 0.7.16 and libc 0.2.186, Rust 1.95:
#   recv with SO_RCVTIMEO: EINTR in 100 of 100 after a ring of this thread, 0 after one of another
#   thread, 0 without a ring
#   epoll_wait: the same
#
# Needs cargo, a C linker, and io_uring permitted. Fails if the behaviour is another.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/src"

cat > "$folder/Cargo.toml" <<'TOML'
[package]
name = "interrupted-thread"
version = "0.0.0"
edition = "2021"

[dependencies]
io-uring = "=0.7.16"
libc = "=0.2.186"
TOML

cat > "$folder/src/main.rs" <<'RUST'
use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use io_uring::IoUring;

const ROUNDS: u32 = 100;
const LIMIT_MS: u64 = 30;

fn main() {
    let mut is_as_seen = true;
    for (name, wait) in [("recv with SO_RCVTIMEO", recv as fn() -> ErrorKind), ("epoll_wait", epoll)] {
        let here = interrupted(wait, || drop(IoUring::new(8).expect("io_uring")));
        let elsewhere = interrupted(wait, || {
            let thread = std::thread::spawn(|| drop(IoUring::new(8).expect("io_uring")));
            thread.join().expect("a thread");
        });
        let never = interrupted(wait, || {});
        println!(
            "{name}: EINTR in {here} of {ROUNDS} after a ring of this thread, {elsewhere} after one \
             of another thread, {never} without a ring"
        );
        is_as_seen &= here > ROUNDS / 2 && elsewhere == 0 && never == 0;
    }
    if !is_as_seen {
        println!("changed: EINTR comes otherwise than was seen");
        std::process::exit(1);
    }
}

fn interrupted(wait: fn() -> ErrorKind, before: impl Fn()) -> u32 {
    (0..ROUNDS)
        .map(|_| {
            before();
            u32::from(wait() == ErrorKind::Interrupted)
        })
        .sum()
}

/// Waits for what never comes.
fn recv() -> ErrorKind {
    let (mut here, _there) = UnixStream::pair().expect("sockets");
    here.set_read_timeout(Some(Duration::from_millis(LIMIT_MS))).expect("a limit");
    here.read(&mut [0]).expect_err("nothing comes").kind()
}

fn epoll() -> ErrorKind {
    // SAFETY: plain calls; the one event has room for what is written to it.
    let (result, error) = unsafe {
        let epoll = libc::epoll_create1(0);
        let mut event: libc::epoll_event = std::mem::zeroed();
        let result = libc::epoll_wait(epoll, &mut event, 1, LIMIT_MS as i32);
        let error = std::io::Error::last_os_error();
        libc::close(epoll);
        (result, error)
    };
    if result < 0 { error.kind() } else { ErrorKind::TimedOut }
}
RUST

uname -sr
cargo --version
cd "$folder"
cargo run --quiet --release
