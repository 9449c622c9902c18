//! What the kernel does about peers that are slow, or gone without a word.
//!
//! Set once on the listening socket, from which each accepted one inherits it (tcp(7)), so that a
//! connection costs no system call. Unix sockets have none of this, nor need it: an end there is
//! always told.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use rustix::net::sockopt;

/// Silence after which a peer is probed.
const PROBE_AFTER: Duration = Duration::from_secs(20);
/// Time between probes.
const PROBE_EVERY: Duration = Duration::from_secs(10);
/// Probes without an answer after which the connection is lost, after 50 s in all.
const PROBES: u32 = 3;

/// Bytes the kernel keeps beyond those that are on their way to the peer. Without a bound it takes
/// megabytes, and room for more only by the third of its buffer, so that a slow peer seems to take
/// nothing for minutes. It offers room again at half of this: a piece of the outbox's.
const NOT_SENT_MAX_BYTES: libc::c_int = 128 * 1024;

/// Has the connections of `listener` watched and bounded. One that cannot be, is served all the
/// same.
pub(super) fn inherited_from(listener: &OwnedFd) {
    let _ = watch(listener);
    let _ = bound_not_sent(listener);
}

fn watch(listener: &OwnedFd) -> rustix::io::Result<()> {
    sockopt::set_tcp_keepidle(listener, PROBE_AFTER)?;
    sockopt::set_tcp_keepintvl(listener, PROBE_EVERY)?;
    sockopt::set_tcp_keepcnt(listener, PROBES)?;
    sockopt::set_socket_keepalive(listener, true)
}

fn bound_not_sent(listener: &OwnedFd) -> io::Result<()> {
    let bytes = NOT_SENT_MAX_BYTES;
    // SAFETY: the option's value is an int, which is read during the call only.
    let result = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_NOTSENT_LOWAT,
            (&raw const bytes).cast(),
            size_of_val(&bytes) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
