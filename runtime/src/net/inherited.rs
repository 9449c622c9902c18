//! Listening sockets that a supervisor has opened before: systemd's protocol (sd_listen_fds(3)).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::sockopt;

use super::bind_error::BindError;

/// The number of the first one (`SD_LISTEN_FDS_START`).
const FIRST: RawFd = 3;
/// More are taken for a mistake.
const COUNT_MAX: RawFd = 64;

/// They were taken over.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Takes over the listening sockets of `LISTEN_FDS`, once in a process's life.
pub fn inherited() -> Result<Vec<OwnedFd>, BindError> {
    take().map_err(BindError::inherited)
}

fn take() -> io::Result<Vec<OwnedFd>> {
    let other = |what: &str| io::Error::other(what.to_owned());
    let variable = |name| std::env::var(name).ok().and_then(|value| value.parse::<u32>().ok());
    let count = variable("LISTEN_FDS").ok_or_else(|| other("LISTEN_FDS is not set"))?;
    if variable("LISTEN_PID") != Some(std::process::id()) {
        return Err(other("LISTEN_PID names another process"));
    }
    let count = RawFd::try_from(count).ok().filter(|count| (1..=COUNT_MAX).contains(count));
    let count = count.ok_or_else(|| other("LISTEN_FDS is no number from 1 to 64"))?;
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Err(other("they were taken over before"));
    }
    (FIRST..FIRST + count).map(take_one).collect()
}

fn take_one(descriptor: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: it is borrowed for one call, which fails if there is no such descriptor.
    let is_there = fcntl_setfd(unsafe { BorrowedFd::borrow_raw(descriptor) }, FdFlags::CLOEXEC);
    is_there.map_err(|_| io::Error::other(format!("descriptor {descriptor} is not open")))?;
    // SAFETY: the supervisor has opened it for this process, as LISTEN_PID and LISTEN_FDS say, and
    // `TAKEN` lets it be taken over once only.
    let socket = unsafe { OwnedFd::from_raw_fd(descriptor) };
    let listens = sockopt::socket_acceptconn(socket.as_fd()).unwrap_or(false);
    if !listens {
        // It is somebody else's after all: it is not for us to close.
        std::mem::forget(socket);
        return Err(io::Error::other(format!("descriptor {descriptor} is no listening socket")));
    }
    // Of no effect on a Unix socket, which has no delay to turn off.
    let _ = sockopt::set_tcp_nodelay(&socket, true);
    fcntl_setfl(&socket, fcntl_getfl(&socket)? | OFlags::NONBLOCK)?;
    Ok(socket)
}
