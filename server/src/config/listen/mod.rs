//! Where a server listens beside its host and port, and how that is written.
//!
//! A text is an address and then words about it: `127.0.0.1:8081`, `[::]:8443 tls`,
//! `unix:/run/app.sock mode=660`, `systemd:web proxy`. From here on (`bind`) listeners are sockets.

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// The mode of a Unix socket's file where none is given: its user and group may connect.
pub(crate) const MODE_DEFAULT: u32 = 0o660;

/// A further listener of a server ([`Server::listen`](crate::Server::listen)). Limits, time-outs and
/// the drain hold for its connections as for those of `host` and `port`.
///
/// ```
/// use sidecore::config::Listen;
///
/// let metrics: Listen = "127.0.0.1:9100".parse()?;
/// let local: Listen = "unix:/run/app.sock mode=660".parse()?;
/// assert_eq!(local, Listen::unix("/run/app.sock").mode(0o660));
/// # Ok::<(), sidecore::config::ListenError>(())
/// ```
///
/// Replaces Swoole's `Server::addlistener`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    pub(crate) at: At,
    pub(crate) mode: Option<u32>,
    pub(crate) secure: bool,
    pub(crate) proxied: bool,
}

/// Where a listener is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// One socket an executor; the kernel spreads connections over them.
    Tcp(SocketAddr),
    /// One socket for all executors, which take connections from it in turn.
    Unix(PathBuf),
    /// The sockets of this name that a supervisor has opened, each for all executors; without a name
    /// those that no other listener names.
    Inherited(Option<String>),
}

/// A text that names no listener, with what to write instead.
#[derive(Clone, PartialEq, Eq)]
pub struct ListenError {
    problem: String,
}

impl Listen {
    /// An address and port of TCP; with port 0 a free one.
    pub fn tcp(address: SocketAddr) -> Self {
        Listen { at: At::Tcp(address), mode: None, secure: false, proxied: false }
    }

    /// The path of a Unix socket. Its file is made at the start, with the mode 660, and removed at
    /// the end; a file that a killed server has left there is replaced if nobody listens on it.
    ///
    /// The kernel does not spread such connections over several sockets: all executors accept from
    /// one, and the one that has waited longest takes the next connection.
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Listen { at: At::Unix(path.into()), mode: None, secure: false, proxied: false }
    }

    /// The sockets that a supervisor has opened before it started the process (`LISTEN_FDS`), such
    /// as those of a systemd socket unit: TCP or Unix. Those that another listener names are that
    /// one's ([`inherited_as`](Self::inherited_as)).
    pub fn inherited() -> Self {
        Listen { at: At::Inherited(None), mode: None, secure: false, proxied: false }
    }

    /// Those of them that have this name (`LISTEN_FDNAMES`): the `FileDescriptorName=` of their
    /// socket unit, or else that unit's own name, such as `web.socket`. So of several units one may
    /// speak TLS, or be behind a proxy. Their order is not to be relied on: it changes from run to
    /// run.
    pub fn inherited_as(name: impl Into<String>) -> Self {
        let at = At::Inherited(Some(name.into()));
        Listen { at, mode: None, secure: false, proxied: false }
    }

    /// The mode of a Unix socket's file, such as `0o666`: who may write to it may connect.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = Some(mode);
        self
    }

    /// It speaks TLS, with the server's certificates. Needs the feature `tls` of this crate.
    pub fn secure(mut self) -> Self {
        self.secure = true;
        self
    }

    /// Each of its connections begins with a header of the PROXY protocol, version 1 or 2, in which a
    /// proxy says whom it speaks for: that is the peer's address then. One that does not is closed
    /// unanswered. Only for listeners that nobody but the proxy can reach: whoever can may say
    /// anything.
    pub fn proxied(mut self) -> Self {
        self.proxied = true;
        self
    }

    fn word(self, word: &str) -> Result<Self, ListenError> {
        let is_unix = matches!(self.at, At::Unix(_));
        match word.strip_prefix("mode=") {
            Some(mode) if is_unix => match u32::from_str_radix(mode, 8) {
                Ok(mode) if mode <= 0o777 => Ok(self.mode(mode)),
                _ => Err(problem("give a mode of three octal digits, such as mode=660")),
            },
            Some(_) => Err(problem("a mode is for the file of a unix: listener only")),
            None if word == "tls" => Ok(self.secure()),
            None if word == "proxy" => Ok(self.proxied()),
            None => Err(problem(&format!("{word} is no word about a listener: {WORDS}"))),
        }
    }
}

/// What may stand behind an address.
const WORDS: &str = "tls, proxy and mode=660 are";

fn problem(problem: &str) -> ListenError {
    ListenError { problem: problem.to_owned() }
}

impl FromStr for Listen {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, ListenError> {
        let mut words = text.split_ascii_whitespace();
        let address = words.next().unwrap_or_default();
        let listen = match address.strip_prefix("unix:") {
            Some("") => return Err(problem("give unix: a path, such as unix:/run/app.sock")),
            Some(path) => Listen::unix(path),
            None if address == "systemd" => Listen::inherited(),
            None if address == "systemd:" => {
                return Err(problem("give systemd: a name, such as systemd:web, or say systemd"));
            }
            None if address.starts_with("systemd:") => {
                Listen::inherited_as(&address["systemd:".len()..])
            }
            None => Listen::tcp(tcp_address(address)?),
        };
        words.try_fold(listen, Listen::word)
    }
}

fn tcp_address(text: &str) -> Result<SocketAddr, ListenError> {
    let of_localhost = text.strip_prefix("localhost:").and_then(|port| port.parse().ok());
    let localhost = of_localhost.map(|port| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
    localhost.or_else(|| text.parse().ok()).ok_or_else(|| {
        problem(match text.parse::<IpAddr>() {
            Ok(_) => "give a port as well, such as 127.0.0.1:8081 or [::1]:8081",
            Err(_) => "give 127.0.0.1:8081, [::1]:8081, unix:/run/app.sock or systemd",
        })
    })
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            At::Tcp(address) => address.fmt(f)?,
            At::Unix(path) => write!(f, "unix:{}", path.display())?,
            At::Inherited(None) => f.write_str("systemd")?,
            At::Inherited(Some(name)) => write!(f, "systemd:{name}")?,
        }
        if let Some(mode) = self.mode {
            write!(f, " mode={mode:o}")?;
        }
        if self.secure {
            f.write_str(" tls")?;
        }
        if self.proxied { f.write_str(" proxy") } else { Ok(()) }
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

/// As it is displayed, for a `main` that returns it.
impl fmt::Debug for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for ListenError {}
