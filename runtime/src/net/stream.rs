//! Stream sockets of an executor, as its tasks use them: TCP's, and Unix ones alike.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Context, Poll};

use rustix::net as sys;

use crate::executor::core::Core;
use crate::socket::listeners::ListenerKey;
use crate::socket::streams::{Inbound, Peer, StreamKey};

/// A connection. Dropping it closes at once and drops what has not been sent.
pub struct TcpStream {
    core: Rc<Core>,
    key: StreamKey,
    /// Whom a proxy has said the peer is, if that has an address; boxed, as few connections have it.
    said_peer: Option<Box<Option<SocketAddr>>>,
}

impl TcpStream {
    fn new(core: Rc<Core>, socket: OwnedFd) -> Self {
        let key = core.streams.borrow_mut().insert(&mut core.ring.borrow_mut(), socket);
        TcpStream { core, key, said_peer: None }
    }

    /// Moves the bytes that arrived to the end of `into`; `Ready(0)` is the peer's end.
    ///
    /// At most twice [`READ_AHEAD_MAX_BYTES`](super::READ_AHEAD_MAX_BYTES) and a receive buffer
    /// wait here; a connection that takes nothing is stopped, and its peer by TCP's window.
    ///
    /// # Errors
    /// That of recv(2), once what came before it was taken; the connection is lost then.
    pub fn poll_recv(
        &self,
        context: &mut Context<'_>,
        into: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        let (mut ring, mut streams) = (self.core.ring.borrow_mut(), self.core.streams.borrow_mut());
        match streams.take_input(&mut ring, self.key, into, context.waker()) {
            Inbound::Bytes(count) => Poll::Ready(Ok(count)),
            Inbound::End => Poll::Ready(Ok(0)),
            Inbound::Failed(error) => Poll::Ready(Err(error)),
            Inbound::Pending => Poll::Pending,
        }
    }

    /// Stops receiving; what is on its way still arrives. [`is_quiet`](Self::is_quiet) says when
    /// no more can.
    pub fn hold(&self) {
        self.core.streams.borrow_mut().hold(&mut self.core.ring.borrow_mut(), self.key);
    }

    /// Goes on receiving.
    pub fn release(&self) {
        self.core.streams.borrow_mut().release(&mut self.core.ring.borrow_mut(), self.key);
    }

    /// Whether all that arrived was taken and no receive is armed.
    pub fn is_quiet(&self) -> bool {
        self.core.streams.borrow_mut().is_quiet(self.key)
    }

    /// Lets `write` append to the bytes that the next [`flush`](Self::flush) sends. It must not
    /// use this executor's sockets.
    pub fn write<R>(&self, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        self.core.streams.borrow_mut().write(self.key, write)
    }

    /// Sends what was written, with the next entry into the kernel; never blocks.
    pub fn flush(&self) {
        self.core.streams.borrow_mut().flush(&mut self.core.ring.borrow_mut(), self.key);
    }

    /// Bytes written that the kernel has not taken.
    pub fn unsent(&self) -> usize {
        self.core.streams.borrow_mut().unsent(self.key)
    }

    /// Bytes that the kernel has taken so far; a waiting [`poll_sent`](Self::poll_sent) is woken
    /// for each part of a long answer, so that a peer which takes none can be told from a slow one.
    pub fn taken(&self) -> u64 {
        self.core.streams.borrow_mut().taken(self.key)
    }

    /// Those of [`taken`](Self::taken) that the peer's kernel has not acknowledged (`SIOCOUTQ`,
    /// tcp(7)); of a Unix socket, the memory of those that its peer has not read. A system call. It
    /// shows what a slow peer takes while `taken` stands still: a full socket has room again by
    /// steps.
    pub fn unacknowledged(&self) -> u64 {
        self.core.streams.borrow_mut().unacknowledged(self.key)
    }

    /// Ready when the connection has failed: what arrived before that can still be taken, and
    /// [`poll_recv`](Self::poll_recv) then says how. What arrives meanwhile wakes the task too, and is
    /// not taken; 64 KiB of it at most, behind which a failure is not seen.
    pub fn poll_failed(&self, context: &mut Context<'_>) -> Poll<()> {
        let (mut ring, mut streams) = (self.core.ring.borrow_mut(), self.core.streams.borrow_mut());
        match streams.poll_failed(&mut ring, self.key, context.waker()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// Ready when the kernel has taken all that was written. Call [`flush`](Self::flush) first.
    ///
    /// # Errors
    /// That of the send which failed; what was written is lost with the connection.
    pub fn poll_sent(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (mut ring, mut streams) = (self.core.ring.borrow_mut(), self.core.streams.borrow_mut());
        match streams.poll_sent(&mut ring, self.key, context.waker()) {
            Ok(true) => Poll::Ready(Ok(())),
            Ok(false) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Half-closes; the peer reads the end after what was sent.
    pub fn shutdown_write(&self) {
        self.core.streams.borrow_mut().shutdown_write(self.key);
    }

    /// Has the drop reset the connection. Without it the kernel keeps up to some megabytes that it
    /// has taken for a peer, for as long as that reads a byte now and then, closed or not.
    pub fn reset_on_close(&self) {
        self.core.streams.borrow_mut().reset_on_close(self.key);
    }

    /// A look at the connection from beside who uses it.
    pub fn watch(&self) -> Watch {
        Watch { core: self.core.clone(), key: self.key }
    }

    /// Gives the memory of an emptied buffer to the executor's pool.
    pub fn recycle(&self, buffer: &mut Vec<u8>) {
        self.core.streams.borrow_mut().recycle(buffer);
    }

    /// Puts bytes back that were taken, before all others.
    pub fn put_back(&self, bytes: &[u8]) {
        self.core.streams.borrow_mut().put_back(self.key, bytes);
    }

    /// Has [`peer_addr`](Self::peer_addr) say who a proxy has said the peer is, if that has an
    /// address.
    pub fn set_peer_addr(&mut self, peer: Option<SocketAddr>) {
        self.said_peer = Some(Box::new(peer));
    }

    /// The peer's address: what a proxy has said, or the socket's (a system call). An IPv4 address
    /// that is written as one of IPv6 (`::ffff:192.0.2.1`), as those of a socket for both are, is
    /// told as the IPv4 address that it is: a peer has one address, by whatever way it comes. Unix
    /// sockets have none ([`io::ErrorKind::Unsupported`]).
    ///
    /// # Errors
    /// That of getpeername(2), as where the peer has reset the connection.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        if let Some(said) = &self.said_peer {
            return said.map(canonical).ok_or_else(|| io::ErrorKind::Unsupported.into());
        }
        let mut streams = self.core.streams.borrow_mut();
        let socket = streams.socket(self.key).ok_or(io::ErrorKind::NotConnected)?;
        let peer = sys::getpeername(socket)?.ok_or(io::ErrorKind::NotConnected)?;
        let peer = SocketAddr::try_from(peer).map_err(|_| io::ErrorKind::Unsupported)?;
        Ok(canonical(peer))
    }
}

/// Sees what becomes of a connection that is somebody else's: it takes nothing and keeps no waker.
pub struct Watch {
    core: Rc<Core>,
    key: StreamKey,
}

impl Watch {
    /// What is known of the peer; one of a stream that was dropped is lost.
    pub fn peer(&self) -> Peer {
        self.core.streams.borrow_mut().peer(self.key)
    }

    /// Asks the kernel whether the connection is lost, which [`peer`](Self::peer) then tells, and the
    /// owner's next call. Two system calls at most.
    pub fn ask(&self) {
        self.core.streams.borrow_mut().ask(self.key);
    }

    /// As [`TcpStream::taken`].
    pub fn taken(&self) -> u64 {
        self.core.streams.borrow_mut().taken(self.key)
    }

    /// As [`TcpStream::unacknowledged`].
    pub fn unacknowledged(&self) -> u64 {
        self.core.streams.borrow_mut().unacknowledged(self.key)
    }
}

/// With IPv4 as such (RFC 4291 §2.5.5.2); all else as it is, its scope included.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::from((ip, address.port())),
        IpAddr::V6(_) => address,
    }
}

impl Drop for TcpStream {
    fn drop(&mut self) {
        self.core.streams.borrow_mut().close(&mut self.core.ring.borrow_mut(), self.key);
    }
}

/// A listening socket. Dropping it closes it, and what it accepted that nobody took.
pub struct TcpListener {
    core: Rc<Core>,
    key: ListenerKey,
}

impl TcpListener {
    /// Takes over a listening socket that is this executor's alone, such as one of
    /// [`bind_shared`](super::bind_shared).
    ///
    /// # Panics
    /// On a thread that is not an executor's.
    pub fn from_socket(socket: OwnedFd) -> Self {
        Self::new(socket, false)
    }

    /// Takes over a duplicate of a listening socket that other executors accept from as well:
    /// connections go to those that wait for one, in turn.
    ///
    /// # Panics
    /// On a thread that is not an executor's.
    pub fn from_shared(socket: OwnedFd) -> Self {
        Self::new(socket, true)
    }

    fn new(socket: OwnedFd, shared: bool) -> Self {
        let core = crate::executor::current();
        let key = core.listeners.borrow_mut().insert(socket, shared);
        TcpListener { core, key }
    }

    /// The next connection. An error says that the system has no room for one (no descriptors, for
    /// instance) and stops accepting until the next call, so that the caller decides how long to
    /// pause. A connection that failed before it was accepted is no error.
    ///
    /// # Errors
    /// That of accept(2), such as `EMFILE`: the listener goes on.
    pub async fn accept(&self) -> io::Result<TcpStream> {
        std::future::poll_fn(|context| self.poll_accept(context)).await
    }

    /// As [`accept`](Self::accept), for who waits for several.
    ///
    /// # Errors
    /// As [`accept`](Self::accept).
    pub fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<TcpStream>> {
        let mut ring = self.core.ring.borrow_mut();
        let next = self.core.listeners.borrow_mut().next(&mut ring, self.key, context.waker());
        drop(ring);
        next.map_or(Poll::Pending, |socket| {
            Poll::Ready(socket.map(|socket| TcpStream::new(self.core.clone(), socket)))
        })
    }

    /// Stops accepting and takes in what the kernel's backlog holds, so that closing the listener
    /// resets no connection that a client believes established.
    pub async fn finish(self) -> Vec<TcpStream> {
        self.core.listeners.borrow_mut().pause(&mut self.core.ring.borrow_mut(), self.key);
        std::future::poll_fn(|context| {
            match self.core.listeners.borrow_mut().is_paused(self.key, context.waker()) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
        let sockets = self.core.listeners.borrow_mut().take_all(self.key);
        sockets.into_iter().map(|socket| TcpStream::new(self.core.clone(), socket)).collect()
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        self.core.listeners.borrow_mut().close(&mut self.core.ring.borrow_mut(), self.key);
    }
}
