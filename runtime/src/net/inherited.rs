//! Listening sockets that a supervisor has opened before: systemd's protocol (sd_listen_fds(3)).
//!
//! By hand, since `sd-notify` (0.4) marks all descriptors to be closed at an exec, those too that are
//! left to somebody else here, and does not look whether one is a listening socket; `listenfd` (1.0)
//! knows no names. What is `unsafe` about it would be here all the same.

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

/// A listening socket of the supervisor's.
#[derive(Debug)]
pub struct Inherited {
    /// Its name in `LISTEN_FDNAMES` (systemd's `FileDescriptorName=`, else the name of the unit);
    /// all sockets of a unit have one.
    pub name: String,
    /// The socket.
    pub socket: OwnedFd,
}

/// What systemd calls a descriptor without a name (sd_listen_fds_with_names(3)).
const UNNAMED: &str = "unknown";

/// Takes over those listening sockets of `LISTEN_FDS` whose name is `wanted`, once in a process's
/// life. The others are left as they are; their names come second.
///
/// # Errors
/// Where there are too many, or one is no listening stream socket.
pub fn inherited(
    wanted: impl Fn(&str) -> bool,
) -> Result<(Vec<Inherited>, Vec<String>), BindError> {
    take(wanted).map_err(BindError::inherited)
}

fn take(wanted: impl Fn(&str) -> bool) -> io::Result<(Vec<Inherited>, Vec<String>)> {
    let other = |what: &str| io::Error::other(what.to_owned());
    let variable = |name| std::env::var(name).ok().and_then(|value| value.parse::<u32>().ok());
    let count = variable("LISTEN_FDS").ok_or_else(|| other("LISTEN_FDS is not set"))?;
    if variable("LISTEN_PID") != Some(std::process::id()) {
        return Err(other("LISTEN_PID names another process"));
    }
    let count = RawFd::try_from(count).ok().filter(|count| (1..=COUNT_MAX).contains(count));
    let count = count.ok_or_else(|| other("LISTEN_FDS is no number from 1 to 64"))?;
    let names = std::env::var("LISTEN_FDNAMES").ok();
    let names = names_of(names.as_deref(), count as usize)
        .ok_or_else(|| other("LISTEN_FDNAMES has not as many names as LISTEN_FDS says"))?;
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Err(other("they were taken over before"));
    }
    let (mut taken, mut left) = (Vec::new(), Vec::new());
    for (descriptor, name) in (FIRST..).zip(names) {
        match wanted(&name) {
            true => taken.push(Inherited { socket: take_one(descriptor)?, name }),
            false => left.push(name),
        }
    }
    Ok((taken, left))
}

/// The names of so many descriptors; None where there are not as many.
fn names_of(listed: Option<&str>, count: usize) -> Option<Vec<String>> {
    let Some(listed) = listed.filter(|listed| !listed.is_empty()) else {
        return Some(vec![UNNAMED.to_owned(); count]);
    };
    let names: Vec<String> = listed.split(':').map(str::to_owned).collect();
    (names.len() == count).then_some(names)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_descriptor_has_a_name() {
        let names = |listed, count| names_of(listed, count).map(|names| names.join(","));
        assert_eq!(names(None, 2).as_deref(), Some("unknown,unknown"));
        assert_eq!(names(Some(""), 1).as_deref(), Some("unknown"));
        assert_eq!(names(Some("web:api"), 2).as_deref(), Some("web,api"));
        assert_eq!(names(Some("web:web:"), 3).as_deref(), Some("web,web,"));
        assert_eq!(names(Some("web"), 2), None);
    }
}
