//! Why a server cannot listen somewhere, in one line with the cure.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A listening socket could not be made.
#[derive(Debug)]
pub struct BindError {
    place: Place,
    cause: io::Error,
}

#[derive(Debug)]
enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
    /// What is there is no socket.
    NoSocket(PathBuf),
    Inherited,
}

impl BindError {
    pub(super) fn tcp(address: SocketAddr, cause: io::Error) -> Self {
        BindError { place: Place::Tcp(address), cause }
    }

    pub(super) fn unix(path: &Path, cause: io::Error) -> Self {
        BindError { place: Place::Unix(path.to_owned()), cause }
    }

    pub(super) fn no_socket(path: &Path) -> Self {
        let cause = io::ErrorKind::AlreadyExists.into();
        BindError { place: Place::NoSocket(path.to_owned()), cause }
    }

    pub(super) fn inherited(cause: io::Error) -> Self {
        BindError { place: Place::Inherited, cause }
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Tcp(address) => tcp(f, *address, &self.cause),
            Place::Unix(path) => unix(f, path, &self.cause),
            Place::NoSocket(path) => write!(
                f,
                "{} is there already and is no socket: move it away or choose another path",
                path.display()
            ),
            Place::Inherited => write!(
                f,
                "no listening sockets are inherited ({}): start by a systemd socket unit, which \
                 sets LISTEN_FDS and LISTEN_PID",
                self.cause
            ),
        }
    }
}

fn tcp(f: &mut fmt::Formatter<'_>, address: SocketAddr, cause: &io::Error) -> fmt::Result {
    match cause.raw_os_error() {
        Some(libc::EADDRINUSE) => write!(
            f,
            "{address} is in use by another process: stop it (`ss -ltnp` names it) or choose \
             another port"
        ),
        Some(libc::EACCES) => write!(
            f,
            "{address} needs a privilege: choose a port from 1024 up, or give the binary \
             CAP_NET_BIND_SERVICE"
        ),
        Some(libc::EADDRNOTAVAIL) => {
            write!(f, "{address} is no address of this machine: choose one that `ip addr` lists")
        }
        _ => write!(f, "cannot listen on {address}: {cause}"),
    }
}

fn unix(f: &mut fmt::Formatter<'_>, path: &Path, cause: &io::Error) -> fmt::Result {
    let path = path.display();
    match cause.raw_os_error() {
        Some(libc::EADDRINUSE) => write!(
            f,
            "{path} is in use by another process: stop it (`ss -lxp` names it) or choose another \
             path"
        ),
        Some(libc::EACCES | libc::EPERM) => {
            write!(f, "{path} cannot be made: give this user write access to its directory")
        }
        Some(libc::ENOENT) => write!(f, "{path} cannot be made: its directory is not there"),
        Some(libc::ENAMETOOLONG) => {
            write!(f, "{path} is too long for a socket's path: choose one of up to 107 bytes")
        }
        _ => write!(f, "cannot listen on {path}: {cause}"),
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}
