//! Listeners become sockets, some for each executor.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use sidecore_runtime::net::{UnixPath, bind_shared, bind_unix, inherited};

use super::patience::wait_for;
use super::{At, Listen, MODE_DEFAULT};
use crate::error::{Error, Result};
use crate::shutdown::Shutdown;

/// A listening socket, as one executor gets it.
pub(crate) struct Socket {
    pub(crate) socket: OwnedFd,
    /// All executors accept from it.
    pub(crate) is_shared: bool,
    /// Its connections begin with a handshake.
    #[cfg_attr(not(feature = "tls"), expect(dead_code))]
    pub(crate) secure: bool,
    /// Its connections begin with a proxy's header.
    pub(crate) proxied: bool,
}

/// What a server listens on.
#[derive(Default)]
pub(crate) struct Bound {
    /// For each executor its sockets, in the order of the listeners.
    pub(crate) sockets: Vec<Vec<Socket>>,
    /// Addresses of TCP, in the order of the listeners.
    pub(crate) addresses: Vec<SocketAddr>,
    /// What to tell the operator of each socket.
    pub(crate) places: Vec<String>,
    /// The files of Unix sockets, removed when this is dropped.
    pub(crate) files: Vec<UnixPath>,
}

/// Listens everywhere, or nowhere. Waits a little for addresses whose owner is about to end, unless
/// the shutdown is raised.
pub(crate) fn bind<'a>(
    listens: impl IntoIterator<Item = &'a Listen>,
    executors: usize,
    backlog: i32,
    shutdown: &Shutdown,
) -> Result<Bound> {
    let mut bound = Bound { sockets: Vec::new(), ..Default::default() };
    bound.sockets.resize_with(executors, Vec::new);
    for listen in listens {
        let (secure, proxied) = (listen.secure, listen.proxied);
        let scheme = if secure { "https" } else { "http" };
        match &listen.at {
            At::Tcp(address) => {
                let (address, sockets) =
                    wait_for(shutdown, || bind_shared(*address, executors, backlog))?;
                bound.addresses.push(address);
                bound.places.push(format!("{scheme}://{address}"));
                for (each, socket) in bound.sockets.iter_mut().zip(sockets) {
                    each.push(Socket { socket, is_shared: false, secure, proxied });
                }
            }
            At::Unix(path) => {
                let mode = listen.mode.unwrap_or(MODE_DEFAULT);
                let (file, socket) = wait_for(shutdown, || bind_unix(path, mode, backlog))?;
                bound.files.push(file);
                bound.places.push(format!("{scheme}+unix:{}", path.display()));
                bound.share(&socket, listen)?;
            }
            At::Inherited => {
                let sockets = inherited()?;
                bound.places.push(format!("{} inherited sockets ({scheme})", sockets.len()));
                sockets.iter().try_for_each(|socket| bound.share(socket, listen))?;
            }
        }
    }
    Ok(bound)
}

impl Bound {
    /// Gives each executor a duplicate.
    fn share(&mut self, socket: &OwnedFd, listen: &Listen) -> Result<()> {
        let (secure, proxied) = (listen.secure, listen.proxied);
        for each in &mut self.sockets {
            let socket = socket.try_clone().map_err(no_descriptor)?;
            each.push(Socket { socket, is_shared: true, secure, proxied });
        }
        Ok(())
    }
}

fn no_descriptor(cause: io::Error) -> Error {
    Error::io("no descriptor for a listener; raise `ulimit -n`", cause)
}
