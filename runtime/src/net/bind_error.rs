//! Why a server cannot listen somewhere, in one line with the cure.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::port_owner::Owner;

/// A listening socket could not be made.
pub struct BindError {
    place: Place,
    cause: io::Error,
    /// Who is in the way, as far as that is known.
    owner: Option<Owner>,
    /// How long it was waited for.
    waited: Duration,
}

#[derive(Debug)]
enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
    /// What is there is no socket.
    NoSocket(PathBuf),
    Inherited,
    /// None of the inherited sockets has this name; those that there are.
    Named(String, String),
}

impl BindError {
    pub(super) fn tcp(address: SocketAddr, cause: io::Error) -> Self {
        BindError::at(Place::Tcp(address), cause)
    }

    pub(super) fn unix(path: &Path, cause: io::Error) -> Self {
        BindError::at(Place::Unix(path.to_owned()), cause)
    }

    pub(super) fn no_socket(path: &Path) -> Self {
        let cause = io::ErrorKind::AlreadyExists.into();
        BindError::at(Place::NoSocket(path.to_owned()), cause)
    }

    pub(super) fn inherited(cause: io::Error) -> Self {
        BindError::at(Place::Inherited, cause)
    }

    /// None of the inherited sockets is named so; with an empty name, none has no other listener.
    pub fn not_inherited(name: &str, there: &[&str]) -> Self {
        let place = Place::Named(name.to_owned(), there.join(", "));
        BindError::at(place, io::ErrorKind::NotFound.into())
    }

    fn at(place: Place, cause: io::Error) -> Self {
        BindError { place, cause, owner: None, waited: Duration::ZERO }
    }

    /// Whether somebody else listens there: a process, or what is left of one for some milliseconds.
    pub fn is_in_use(&self) -> bool {
        self.cause.raw_os_error() == Some(libc::EADDRINUSE)
    }

    /// The process that listens there, as far as that may be seen; None too where it is ending.
    pub fn find_owner(&self) -> Option<Owner> {
        match &self.place {
            Place::Tcp(address) => Owner::of_port(*address),
            Place::Unix(path) => Owner::of_path(path),
            Place::NoSocket(_) | Place::Inherited | Place::Named(..) => None,
        }
    }

    /// Says who is in the way.
    pub fn owned_by(mut self, owner: Owner) -> Self {
        self.owner = Some(owner);
        self
    }

    /// Says how long it was waited for whoever is in the way.
    pub fn after(mut self, waited: Duration) -> Self {
        self.waited = waited;
        self
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Tcp(address) if self.is_in_use() => {
                self.in_use(f, address, "`ss -ltnp` names it", "port")
            }
            Place::Unix(path) if self.is_in_use() => {
                self.in_use(f, &path.display(), "`ss -lxp` names it", "path")
            }
            Place::Tcp(address) => tcp(f, *address, &self.cause),
            Place::Unix(path) => unix(f, path, &self.cause),
            Place::NoSocket(path) => write!(
                f,
                "{} is there already and is no socket: move it away or choose another path",
                path.display()
            ),
            Place::Named(name, _) if name.is_empty() => f.write_str(
                "no inherited socket is left for a listener `systemd` without a name: others name \
                 them all",
            ),
            Place::Named(name, there) => write!(
                f,
                "no inherited socket is named {name}, those that there are: {there}; the name is \
                 FileDescriptorName= of the systemd socket unit"
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

impl BindError {
    fn in_use(
        &self,
        f: &mut fmt::Formatter<'_>,
        place: &dyn fmt::Display,
        how_to_find: &str,
        what: &str,
    ) -> fmt::Result {
        if self.owner.as_ref().is_some_and(|owner| owner.pid == std::process::id()) {
            return write!(f, "{place} is in use by this process already: choose another {what}");
        }
        write!(f, "{place} is in use by another process")?;
        match &self.owner {
            Some(owner) => write!(f, ", {owner}: stop it or choose another {what}")?,
            None => write!(f, ": stop it ({how_to_find}) or choose another {what}")?,
        }
        match self.waited.as_secs() {
            0 => Ok(()),
            seconds => write!(f, "; waited {seconds} s for it to end"),
        }
    }
}

fn tcp(f: &mut fmt::Formatter<'_>, address: SocketAddr, cause: &io::Error) -> fmt::Result {
    match cause.raw_os_error() {
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

/// As it is displayed, for a `main` that returns it.
impl fmt::Debug for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}
