//! Many connections driven by one thread: what an attack, or many idle clients, look like.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Connections from one source address: the fewer, the sooner the kernel finds a free port.
const PER_SOURCE: usize = 64;
/// Descriptors that a process of a test needs beside its crowd.
const DESCRIPTORS_KEPT: usize = 500;

/// How long a connection is waited for.
const LIMIT: Duration = Duration::from_secs(20);

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

    /// Sends all of the bytes on each connection, one after another.
    pub fn send_all(&mut self, bytes: impl AsRef<[u8]>) {
        for stream in &mut self.streams {
            stream.set_nonblocking(false).expect("blocking");
            stream.write_all(bytes.as_ref()).expect("the server takes it");
            stream.set_nonblocking(true).expect("not blocking");
        }
    }

    /// Waits on each connection for bytes, and leaves them there.
    pub fn await_bytes(&mut self) {
        for stream in &mut self.streams {
            stream.set_nonblocking(false).expect("blocking");
            stream.set_read_timeout(Some(LIMIT)).expect("a time limit");
            let count = stream.peek(&mut [0]).expect("an answer");
            assert!(count > 0, "the server has closed");
            stream.set_nonblocking(true).expect("not blocking");
        }
    }

    /// Ends each connection's own side and keeps it open.
    pub fn half_close(&self) {
        for stream in &self.streams {
            stream.shutdown(Shutdown::Write).expect("a half-close");
        }
    }

    /// Closes the connections by resets.
    pub fn reset(self) {
        for stream in &self.streams {
            sockopt::set_socket_linger(stream, Some(Duration::ZERO)).expect("a linger time");
        }
    }

    /// Has the kernel drop whatever comes for the connections from now on: they acknowledge nothing
    /// and answer no probe, as a host that has lost its power or its network.
    pub fn fall_silent(&self) {
        for stream in &self.streams {
            drop_all_that_comes(stream).expect("a filter");
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

/// Gives the socket a filter that lets nothing through (socket(7), SO_ATTACH_FILTER).
fn drop_all_that_comes(stream: &TcpStream) -> io::Result<()> {
    // Classic BPF's `ret #0`: nothing of the packet is kept.
    let code = (libc::BPF_RET | libc::BPF_K) as u16;
    let mut filter = [libc::sock_filter { code, jt: 0, jf: 0, k: 0 }];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the option's value is a `sock_fprog` of the length that is given, and points to as
    // many instructions as it says; the kernel copies both during the call.
    let result = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size_of_val(&program) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
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
