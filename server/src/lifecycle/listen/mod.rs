//! Listeners become sockets, some for each executor.

mod retry;

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use sidecore_runtime::net::{BindError, Inherited, UnixPath, bind_shared, bind_unix, inherited};

use crate::config::listen::{At, Listen, MODE_DEFAULT};
use crate::lifecycle::error::{Error, Result};
use crate::lifecycle::listen::retry::wait_for;
use crate::lifecycle::shutdown::Shutdown;

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
    /// What the operator should know beside.
    pub(crate) notes: Vec<String>,
    /// The files of Unix sockets, removed when this is dropped.
    pub(crate) files: Vec<UnixPath>,
}

/// Listens everywhere, or nowhere. Waits a little for addresses whose owner is about to end, unless
/// the shutdown is raised.
pub(crate) fn bind(
    listens: &[Listen],
    executors: usize,
    backlog: i32,
    shutdown: &Shutdown,
) -> Result<Bound> {
    let mut bound = Bound { sockets: Vec::new(), ..Default::default() };
    bound.sockets.resize_with(executors, Vec::new);
    let mut supervised = Supervised::of(listens)?;
    bound.notes.extend(supervised.note());
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
            At::Inherited(name) => {
                let sockets = supervised.take(name.as_deref())?;
                let named = name.iter().map(|name| format!(" named {name}")).collect::<String>();
                bound.places.push(format!("{} inherited sockets{named} ({scheme})", sockets.len()));
                sockets.iter().try_for_each(|socket| bound.share(socket, listen))?;
            }
        }
    }
    Ok(bound)
}

/// The sockets of a supervisor that listeners name, until each has its own.
#[derive(Default)]
struct Supervised {
    named: Vec<Inherited>,
    /// For the listener without a name.
    unnamed: Vec<Inherited>,
    /// The names of those that nobody wants.
    left: Vec<String>,
}

impl Supervised {
    fn of(listens: &[Listen]) -> Result<Self> {
        let wanted = || {
            listens.iter().filter_map(|listen| match &listen.at {
                At::Inherited(name) => Some(name.as_deref()),
                _ => None,
            })
        };
        if wanted().next().is_none() {
            return Ok(Supervised::default());
        }
        let is_wanted = |name: &str| wanted().any(|wanted| wanted.is_none_or(|it| it == name));
        let (mut sockets, left) = inherited(is_wanted)?;
        // Those that are named first: what is left is for the listener that names none.
        let is_named = |socket: &Inherited| wanted().any(|name| name == Some(&socket.name));
        sockets.sort_by_key(|socket| !is_named(socket));
        let named = sockets.iter().take_while(|socket| is_named(socket)).count();
        Ok(Supervised { unnamed: sockets.split_off(named), named: sockets, left })
    }

    /// Those of a name, or those that no listener names.
    fn take(&mut self, name: Option<&str>) -> Result<Vec<OwnedFd>> {
        let Some(name) = name else {
            let all = std::mem::take(&mut self.unnamed);
            if all.is_empty() {
                return Err(BindError::not_inherited("", &[]).into());
            }
            return Ok(all.into_iter().map(|inherited| inherited.socket).collect());
        };
        let is_it = |inherited: &Inherited| inherited.name == name;
        let (taken, named) = std::mem::take(&mut self.named).into_iter().partition(is_it);
        self.named = named;
        let taken: Vec<Inherited> = taken;
        if taken.is_empty() {
            let others = self.named.iter().chain(&self.unnamed).map(|other| &*other.name);
            let there: Vec<&str> = others.chain(self.left.iter().map(|left| &**left)).collect();
            return Err(BindError::not_inherited(name, &there).into());
        }
        Ok(taken.into_iter().map(|inherited| inherited.socket).collect())
    }

    fn note(&self) -> Option<String> {
        let left = (!self.left.is_empty()).then(|| self.left.join(", "))?;
        Some(format!("warning: no listener names the inherited sockets {left}: left alone"))
    }
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
