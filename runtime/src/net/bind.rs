//! Listening TCP sockets.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::{self as sys, AddressFamily, SocketFlags, SocketType, sockopt};

use super::bind_error::BindError;

/// How often, and how long after one another, a further socket of an address is tried.
const BESIDE_TRIES: usize = 100;
const BESIDE_PAUSE: Duration = Duration::from_millis(1);

/// Makes `count` sockets that listen on one address, among which the kernel spreads connections
/// (`SO_REUSEPORT`, Linux 3.9). Port 0 picks a free port, the same for all.
///
/// `SO_REUSEPORT` alone would let a second server of the same user share the port unnoticed. So the
/// first socket listens without it, which the kernel allows one socket at a time, and gets it only
/// then: whoever comes the same way finds a listener, from that moment on until the last of these
/// sockets is closed. Of two that come at once, one or both are refused.
///
/// # Errors
/// [`BindError`], which names the address, who has it where that is known, and the cure.
pub fn bind_shared(
    address: SocketAddr,
    count: usize,
    backlog: i32,
) -> Result<(SocketAddr, Vec<OwnedFd>), BindError> {
    bind_all(address, count, backlog).map_err(|cause| BindError::tcp(address, cause))
}

fn bind_all(
    address: SocketAddr,
    count: usize,
    backlog: i32,
) -> io::Result<(SocketAddr, Vec<OwnedFd>)> {
    let first = new_socket(&address)?;
    listen(&first, &address, backlog)?;
    let bound = local_addr(&first)?;
    let mut sockets = vec![first];
    while sockets.len() < count {
        // The first one, or again: listeners that have it let each other be.
        sockopt::set_socket_reuseport(&sockets[0], true)?;
        let next = new_socket(&address)?;
        sockopt::set_socket_reuseport(&next, true)?;
        listen_beside(&next, &bound, backlog)?;
        sockets.push(next);
    }
    Ok((bound, sockets))
}

/// Another's first socket, which is about to be refused, may be in the way for a moment.
fn listen_beside(socket: &OwnedFd, address: &SocketAddr, backlog: i32) -> io::Result<()> {
    for _ in 0..BESIDE_TRIES {
        match listen(socket, address, backlog) {
            Err(error) if error.raw_os_error() == Some(libc::EADDRINUSE) => {
                std::thread::sleep(BESIDE_PAUSE);
            }
            listening => return listening,
        }
    }
    listen(socket, address, backlog)
}

fn new_socket(address: &SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = sys::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    Ok(socket)
}

fn listen(socket: &OwnedFd, address: &SocketAddr, backlog: i32) -> io::Result<()> {
    // Accepted sockets inherit it; answers are gathered here, so Nagle's delay gains nothing.
    sockopt::set_tcp_nodelay(socket, true)?;
    if local_addr(socket)?.port() == 0 {
        sys::bind(socket, address)?;
    }
    Ok(sys::listen(socket, backlog)?)
}

fn local_addr(socket: &OwnedFd) -> io::Result<SocketAddr> {
    SocketAddr::try_from(sys::getsockname(socket)?).map_err(|_| io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::sync::Barrier;

    use super::*;

    const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

    #[test]
    fn connections_are_spread_over_all_sockets() {
        for place in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
            let (address, sockets) = bind_all(place.parse().unwrap(), 3, 64).unwrap();
            let to = |_| TcpStream::connect(address).unwrap();
            let kept: Vec<_> = (0..60).map(to).collect();
            let accepted =
                |socket| std::iter::from_fn(|| sys::accept(socket).ok()).collect::<Vec<_>>().len();
            let taken: Vec<usize> = sockets.iter().map(accepted).collect();
            assert_eq!(taken.iter().sum::<usize>(), kept.len(), "{place}");
            assert!(taken.iter().all(|taken| *taken > 3), "{place}: {taken:?}");
        }
    }

    #[test]
    fn a_port_that_is_taken_is_refused_by_one_socket_and_by_many() {
        for (first, second) in [(1, 1), (1, 3), (3, 1), (3, 3)] {
            let (address, _kept) = bind_all(ANY, first, 8).unwrap();
            let error = bind_all(address, second, 8).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EADDRINUSE));
        }
    }

    /// Whatever the moment: never both.
    #[test]
    fn of_two_that_come_at_once_one_listens_at_most() {
        let (mut one, mut none) = (0, 0);
        for _ in 0..500 {
            let (address, sockets) = bind_all(ANY, 1, 8).unwrap();
            drop(sockets);
            let barrier = Barrier::new(2);
            let come = || {
                barrier.wait();
                let bound = bind_all(address, 2, 8);
                // Whoever has it keeps it until the other has tried.
                barrier.wait();
                bound.is_ok()
            };
            let both = std::thread::scope(|scope| {
                let other = scope.spawn(come);
                (come(), other.join().unwrap())
            });
            assert_ne!(both, (true, true));
            one += u32::from(both.0 != both.1);
            none += u32::from(both == (false, false));
        }
        assert!(one > none, "{one} rounds had a winner, {none} had none");
    }
}
