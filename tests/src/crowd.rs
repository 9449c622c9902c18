//! Many connections driven by one thread: what an attack, or many idle clients, look like.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Connections from one source address: the fewer, the sooner the kernel finds a free port.
const PER_SOURCE: usize = 64;
/// Descriptors that a process of a test needs beside its crowd.
const DESCRIPTORS_KEPT: usize = 500;

/// Connections that do the same.
pub struct Crowd {
    streams: Vec<TcpStream>,
}

impl Crowd {
    /// Connects `count` clients from addresses 127.x.`source`.y, which need not be configured: x is
    /// this process's, lest ports of an earlier one be met that the kernel still keeps.
    /// With `receive_bytes` they have receive buffers of about that size.
    pub fn connect(
        address: SocketAddr,
        count: usize,
        source: u8,
        receive_bytes: Option<usize>,
    ) -> Self {
        let streams = (0..count).map(|at| {
            let process = 1 + (std::process::id() % 250) as u8;
            let host = Ipv4Addr::new(127, process, source, 1 + (at / PER_SOURCE) as u8);
            let from = SocketAddr::new(IpAddr::V4(host), 0);
            connect_from(from, address, receive_bytes).expect("the server accepts")
        });
        Crowd { streams: streams.collect() }
    }

    /// Sends bytes on each connection, as far as its buffers take them.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        for stream in &mut self.streams {
            let _ = stream.write(bytes.as_ref());
        }
    }

    /// Reads at most `count` bytes of each connection, if there are any.
    pub fn read(&mut self, count: usize) {
        let mut bytes = vec![0; count];
        for stream in &mut self.streams {
            let _ = stream.read(&mut bytes);
        }
    }

    /// Throws away all that has come and counts the connections that the server keeps open.
    pub fn open(&mut self) -> usize {
        let mut bytes = vec![0; 64 * 1024];
        let is_open = |stream: &mut TcpStream| loop {
            match stream.read(&mut bytes) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        };
        self.streams.iter_mut().map(is_open).filter(|open| *open).count()
    }

    /// Connections, open or not.
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }
}

/// Raises the limit on descriptors as far as it goes; the connections that a process then can hold.
/// The server does the same, and has the same hard limit.
pub fn connections_possible() -> usize {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("it is allowed");
    limit.maximum.map_or(usize::MAX, |hard| hard as usize).saturating_sub(DESCRIPTORS_KEPT)
}

fn connect_from(
    from: SocketAddr,
    to: SocketAddr,
    receive_bytes: Option<usize>,
) -> rustix::io::Result<TcpStream> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    if let Some(bytes) = receive_bytes {
        sockopt::set_socket_recv_buffer_size(&socket, bytes)?;
    }
    bind(&socket, &from)?;
    connect(&socket, &to)?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true).expect("no delay");
    stream.set_nonblocking(true).expect("not blocking");
    Ok(stream)
}
