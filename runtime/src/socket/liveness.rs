//! What the kernel does about peers that are slow, or gone without a word.
//!
//! Set once on the listening socket, from which each accepted one inherits it (tcp(7)), so that a
//! connection costs no system call. Unix sockets have none of this, nor need it: an end there is
//! always told.
//!
//! The kernel does not probe a peer that has bytes to acknowledge: it repeats them, at longer and
//! longer intervals, `tcp_retries2` times, which takes a quarter of an hour. So does it with the
//! probes of a window that is closed. A bound of the intervals bounds the whole (`TCP_RTO_MAX_MS`,
//! Linux 6.15), and whoever answers, however long its window stays closed, is not cut off: each
//! answer begins the count anew. (With `TCP_USER_TIMEOUT`, which seems made for it, a peer that
//! answers each probe was seen to be cut off once its window had been closed for that time.)

use std::ffi::c_int;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::sockopt;

/// Silence after which a peer is probed.
const PROBE_AFTER: Duration = Duration::from_secs(20);
/// Time between probes.
const PROBE_EVERY: Duration = Duration::from_secs(10);
/// Probes without an answer after which the connection is lost.
const PROBES: u32 = 3;
/// Silence after which a peer is lost at the latest, whatever it is to answer.
const LOST_AFTER: Duration = PROBE_AFTER.saturating_add(PROBE_EVERY.saturating_mul(PROBES));

/// How often the kernel repeats what is not answered, unless it is told otherwise.
const RETRIES: u32 = 15;
/// The kernel's name of the longest time between two repetitions, in milliseconds.
const TCP_RTO_MAX_MS: c_int = 44;
/// What it takes for that.
const REPEAT_MIN_MS: u128 = 1_000;
const REPEAT_MAX_MS: u128 = 120_000;

/// Bytes the kernel keeps beyond those that are on their way to the peer. Without a bound it takes
/// megabytes, and room for more only by the third of its buffer, so that a slow peer seems to take
/// nothing for minutes. It offers room again at half of this: a piece of the outbox's.
const NOT_SENT_MAX_BYTES: c_int = 128 * 1024;

/// Has the connections of `listener` watched and bounded. One that cannot be, is served all the
/// same.
pub(super) fn inherited_from(listener: &OwnedFd) {
    let _ = probe(listener);
    let _ = lose(listener, LOST_AFTER);
    let _ = set(listener, libc::TCP_NOTSENT_LOWAT, NOT_SENT_MAX_BYTES);
}

/// Bytes that the kernel has taken and the peer has not acknowledged, such as it has not sent yet. Of
/// a Unix socket: the memory of what the peer has not read, which is somewhat more than its bytes.
pub(super) fn unacknowledged(socket: BorrowedFd<'_>) -> u64 {
    let mut bytes: c_int = 0;
    // SAFETY: the call writes an int to a place of its own.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result == 0 { u64::try_from(bytes).unwrap_or(0) } else { 0 }
}

fn probe(listener: &OwnedFd) -> rustix::io::Result<()> {
    sockopt::set_tcp_keepidle(listener, PROBE_AFTER)?;
    sockopt::set_tcp_keepintvl(listener, PROBE_EVERY)?;
    sockopt::set_tcp_keepcnt(listener, PROBES)?;
    sockopt::set_socket_keepalive(listener, true)
}

/// Has peers lost that do not answer what is repeated, within about that time.
fn lose(listener: &OwnedFd, after: Duration) -> io::Result<()> {
    let retries = fs::read_to_string("/proc/sys/net/ipv4/tcp_retries2").ok();
    let retries = retries.and_then(|text| text.trim().parse().ok()).unwrap_or(RETRIES);
    set(listener, TCP_RTO_MAX_MS, repeat_every_ms(after, retries))
}

/// The longest interval between repetitions: all of them, and the wait for an answer to the last,
/// then take no longer than the limit. More repetitions than one a second cannot be had sooner.
fn repeat_every_ms(limit: Duration, retries: u32) -> c_int {
    let interval = limit.as_millis() / (u128::from(retries) + 1);
    interval.clamp(REPEAT_MIN_MS, REPEAT_MAX_MS) as c_int
}

fn set(listener: &OwnedFd, option: c_int, value: c_int) -> io::Result<()> {
    // SAFETY: the option's value is an int, which is read during the call only.
    let result = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::IPPROTO_TCP,
            option,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::Instant;

    use super::*;

    #[test]
    fn all_repetitions_fit_into_the_limit() {
        let every = |retries| repeat_every_ms(LOST_AFTER, retries);
        assert_eq!((every(15), every(8), every(0)), (3_125, 5_555, 50_000));
        assert_eq!((every(255), repeat_every_ms(Duration::from_secs(3600), 0)), (1_000, 120_000));
    }

    #[test]
    fn connections_inherit_it_from_their_listener() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let listener = OwnedFd::from(listener);
        inherited_from(&listener);
        let _client = TcpStream::connect(address).unwrap();
        let (accepted, _) = TcpListener::from(listener).accept().unwrap();
        let (mut interval, mut size) = (0_i32, size_of::<c_int>() as libc::socklen_t);
        // SAFETY: the call writes an int and its size to places of their own.
        let got = unsafe {
            libc::getsockopt(
                accepted.as_raw_fd(),
                libc::IPPROTO_TCP,
                TCP_RTO_MAX_MS,
                (&raw mut interval).cast(),
                &raw mut size,
            )
        };
        assert_eq!(sockopt::tcp_keepcnt(&accepted), Ok(PROBES));
        // The kernel knows it since Linux 6.15.
        assert!(got != 0 || (1_000..=50_000).contains(&interval), "{interval} ms");
    }

    /// Has the kernel drop what comes for the socket: its other end hears nothing any more.
    fn silence(socket: &TcpStream) {
        let code = (libc::BPF_RET | libc::BPF_K) as u16;
        let mut nothing = [libc::sock_filter { code, jt: 0, jf: 0, k: 0 }];
        let program = libc::sock_fprog { len: 1, filter: nothing.as_mut_ptr() };
        // SAFETY: the call reads the program, which outlives it.
        let set = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ATTACH_FILTER,
                (&raw const program).cast(),
                size_of_val(&program) as libc::socklen_t,
            )
        };
        assert_eq!(set, 0, "{}", io::Error::last_os_error());
    }

    /// Fills what the kernels of both ends take.
    fn fill(socket: &mut TcpStream) {
        socket.set_nonblocking(true).unwrap();
        let error = std::iter::repeat_with(|| socket.write(&[b'x'; 4096])).find_map(Result::err);
        assert_eq!(error.map(|error| error.kind()), Some(ErrorKind::WouldBlock));
    }

    /// With the shortest interval there is, for the sake of who waits for the test.
    #[test]
    fn a_peer_that_acknowledges_nothing_is_lost_and_one_that_only_reads_nothing_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let listener = OwnedFd::from(listener);
        match lose(&listener, Duration::from_secs(1)) {
            // Before Linux 6.15.
            Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => return,
            set => set.unwrap(),
        }
        let listener = TcpListener::from(listener);
        let connect = || (TcpStream::connect(address).unwrap(), listener.accept().unwrap().0);
        let (silent, mut to_silent) = connect();
        let (_paused, mut to_paused) = connect();
        let (closed, mut to_closed) = connect();
        silence(&silent);
        to_silent.write_all(b"bytes").unwrap();
        fill(&mut to_paused);
        fill(&mut to_closed);
        silence(&closed);
        let end = Instant::now() + Duration::from_secs(40);
        for lost in [&to_silent, &to_closed] {
            let error = std::iter::repeat_with(|| {
                std::thread::sleep(Duration::from_millis(100));
                lost.take_error().unwrap()
            });
            let error = error.take_while(|_| Instant::now() < end).flatten().next();
            assert_eq!(error.map(|error| error.kind()), Some(ErrorKind::TimedOut));
        }
        assert!(to_paused.take_error().unwrap().is_none(), "a peer that answers is there");
    }
}
