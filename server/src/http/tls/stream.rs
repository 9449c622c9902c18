//! A socket with TLS on it, of the same use as one without.
//!
//! Bounds: what arrived and is not taken waits sealed, in the socket's own buffer, or is opened to
//! where the connection reads it; the session holds a record (16 KiB) at most, and what is written
//! gathers up to [`SEAL_BYTES`] before it is sealed into the socket's buffer.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};

use sidecore_runtime::net::{TcpStream, Watch};

use crate::http::tls::session::TlsSession;

/// Bytes written that are sealed at once rather than with the next flush.
const SEAL_BYTES: usize = 64 * 1024;

/// A connection whose handshake is over.
pub(crate) struct TlsStream {
    socket: TcpStream,
    inner: RefCell<TlsInner>,
}

struct TlsInner {
    session: TlsSession,
    /// Opened with the end of the handshake.
    ready: Vec<u8>,
    sealed: Vec<u8>,
    /// The peer broke the protocol: the alert is on its way.
    failed: bool,
    /// `close_notify` was sent, or must not be.
    ended: bool,
}

impl TlsStream {
    pub(crate) fn new(socket: TcpStream, session: TlsSession, ready: Vec<u8>) -> Self {
        let sealed = Vec::new();
        let inner = RefCell::new(TlsInner { session, ready, sealed, failed: false, ended: false });
        TlsStream { socket, inner }
    }

    /// An end of the connection without `close_notify` is taken for the end as well (RFC 9112 §9.8):
    /// requests say their lengths, so one that was cut off is known by that. What else is spoken asks
    /// [`is_cut_off`](Self::is_cut_off).
    pub(crate) fn poll_recv(
        &self,
        context: &mut Context<'_>,
        into: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        let inner = &mut *self.inner.borrow_mut();
        if !inner.ready.is_empty() {
            let count = inner.ready.len();
            into.append(&mut inner.ready);
            inner.ready = Vec::new();
            return Poll::Ready(Ok(count));
        }
        while !inner.failed {
            if inner.session.has_ended() {
                return Poll::Ready(Ok(0));
            }
            if ready!(self.socket.poll_recv(context, &mut inner.sealed))? == 0 {
                return Poll::Ready(Ok(0));
            }
            let opened = inner.session.open(&inner.sealed, into);
            inner.sealed.clear();
            self.socket.recycle(&mut inner.sealed);
            if inner.session.has_output() && inner.session.unsealed() == 0 {
                self.socket.write(|out| inner.session.seal(out));
                self.socket.flush();
            }
            match opened {
                Ok(0) => {}
                Ok(count) => return Poll::Ready(Ok(count)),
                Err(_) => {
                    inner.failed = true;
                    self.socket.write(|out| inner.session.seal(out));
                    self.socket.flush();
                }
            }
        }
        ready!(self.socket.poll_sent(context))?;
        Poll::Ready(Err(io::ErrorKind::InvalidData.into()))
    }

    /// A record that has begun is a request that has begun: its rest is still received.
    pub(crate) fn hold(&self) {
        match self.inner.borrow().session.is_within_record() {
            true => self.socket.release(),
            false => self.socket.hold(),
        }
    }

    pub(crate) fn release(&self) {
        self.socket.release();
    }

    pub(crate) fn is_quiet(&self) -> bool {
        let inner = self.inner.borrow();
        inner.ready.is_empty() && !inner.session.is_within_record() && self.socket.is_quiet()
    }

    pub(crate) fn write<R>(&self, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let session = &mut self.inner.borrow_mut().session;
        let result = write(session.plain());
        if session.unsealed() >= SEAL_BYTES {
            self.socket.write(|out| session.seal(out));
        }
        result
    }

    pub(crate) fn flush(&self) {
        let session = &mut self.inner.borrow_mut().session;
        if session.has_output() {
            self.socket.write(|out| session.seal(out));
            self.socket.recycle(session.plain());
        }
        self.socket.flush();
    }

    pub(crate) fn unsent(&self) -> usize {
        self.inner.borrow().session.unsealed() + self.socket.unsent()
    }

    pub(crate) fn taken(&self) -> u64 {
        self.socket.taken()
    }

    pub(crate) fn unacknowledged(&self) -> u64 {
        self.socket.unacknowledged()
    }

    #[cfg(feature = "http2")]
    pub(crate) fn is_http2(&self) -> bool {
        self.inner.borrow().session.is_http2()
    }

    /// Of a connection whose end was read: whether the peer did not say it.
    pub(crate) fn is_cut_off(&self) -> bool {
        !self.inner.borrow().session.has_ended()
    }

    pub(crate) fn poll_failed(&self, context: &mut Context<'_>) -> Poll<()> {
        match self.inner.borrow().failed {
            true => Poll::Ready(()),
            false => self.socket.poll_failed(context),
        }
    }

    pub(crate) fn watch(&self) -> Watch {
        self.socket.watch()
    }

    pub(crate) fn poll_sent(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_sent(context)
    }

    /// Says, after what was written, that no more is sent.
    pub(crate) fn end(&self) {
        let inner = &mut *self.inner.borrow_mut();
        if !std::mem::replace(&mut inner.ended, true) {
            self.socket.write(|out| inner.session.end(out));
        }
    }

    /// Has the connection end without that: what was sent is not all.
    pub(crate) fn cut_off(&self) {
        self.inner.borrow_mut().ended = true;
    }

    pub(crate) fn shutdown_write(&self) {
        self.socket.shutdown_write();
    }

    pub(crate) fn reset_on_close(&self) {
        self.socket.reset_on_close();
    }

    pub(crate) fn recycle(&self, buffer: &mut Vec<u8>) {
        self.socket.recycle(buffer);
    }

    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.peer_addr()
    }
}
