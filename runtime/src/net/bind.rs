//! Listening TCP sockets.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::net::{self as sys, AddressFamily, SocketFlags, SocketType, sockopt};

use super::bind_error::BindError;

/// Makes `count` sockets that listen on one address, among which the kernel spreads connections
/// (`SO_REUSEPORT`, Linux 3.9). Port 0 picks a free port, the same for all.
///
/// `SO_REUSEPORT` alone would let a second server of the same user share the port unnoticed, so
/// the address is tried without it first.
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
    let probe = new_socket(&address)?;
    sys::bind(&probe, &address)?;
    let bound = local_addr(&probe)?;
    drop(probe);
    let sockets = (0..count).map(|_| listen(&bound, backlog)).collect::<io::Result<_>>()?;
    Ok((bound, sockets))
}

fn new_socket(address: &SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = sys::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    Ok(socket)
}

fn listen(address: &SocketAddr, backlog: i32) -> io::Result<OwnedFd> {
    let socket = new_socket(address)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    // Accepted sockets inherit it; answers are gathered here, so Nagle's delay gains nothing.
    sockopt::set_tcp_nodelay(&socket, true)?;
    sys::bind(&socket, address)?;
    sys::listen(&socket, backlog)?;
    Ok(socket)
}

fn local_addr(socket: &OwnedFd) -> io::Result<SocketAddr> {
    SocketAddr::try_from(sys::getsockname(socket)?).map_err(|_| io::ErrorKind::Unsupported.into())
}
