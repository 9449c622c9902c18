//! What HTTP is spoken over: a socket, or TLS on one. Where the feature `tls` is off there is only
//! the former and nothing to decide; where it is on, a connection's branch is always the same.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use sidecore_runtime::net::{TcpStream, Watch};

#[cfg(feature = "tls")]
use crate::http::tls::TlsStream;

/// A connection's stream; [`TcpStream`] says what each call does.
pub(crate) enum Transport {
    Plain(TcpStream),
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream>),
}

macro_rules! of_either {
    ($transport:expr, $stream:ident => $call:expr) => {
        match $transport {
            Transport::Plain($stream) => $call,
            #[cfg(feature = "tls")]
            Transport::Tls($stream) => $call,
        }
    };
}

impl Transport {
    #[inline]
    pub(crate) fn poll_recv(
        &self,
        context: &mut Context<'_>,
        into: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        of_either!(self, stream => stream.poll_recv(context, into))
    }

    /// Whether nobody between the peer and this process can read or change what is sent.
    #[inline]
    pub(crate) fn is_secured(&self) -> bool {
        !matches!(self, Transport::Plain(_))
    }

    /// Whether the peer has asked for HTTP/2, and gets it.
    #[cfg(feature = "http2")]
    pub(crate) fn is_http2(&self) -> bool {
        match self {
            Transport::Plain(_) => false,
            Transport::Tls(stream) => stream.is_http2(),
        }
    }

    /// Whether the peer's end is not one that the peer has said, where the transport can tell.
    pub(crate) fn is_cut_off(&self) -> bool {
        match self {
            Transport::Plain(_) => false,
            #[cfg(feature = "tls")]
            Transport::Tls(stream) => stream.is_cut_off(),
        }
    }

    #[inline]
    pub(crate) fn hold(&self) {
        of_either!(self, stream => stream.hold());
    }

    #[inline]
    pub(crate) fn release(&self) {
        of_either!(self, stream => stream.release());
    }

    #[inline]
    pub(crate) fn is_quiet(&self) -> bool {
        of_either!(self, stream => stream.is_quiet())
    }

    #[inline]
    pub(crate) fn write<R>(&self, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        of_either!(self, stream => stream.write(write))
    }

    #[inline]
    pub(crate) fn flush(&self) {
        of_either!(self, stream => stream.flush());
    }

    #[inline]
    pub(crate) fn unsent(&self) -> usize {
        of_either!(self, stream => stream.unsent())
    }

    #[inline]
    pub(crate) fn taken(&self) -> u64 {
        of_either!(self, stream => stream.taken())
    }

    pub(crate) fn unacknowledged(&self) -> u64 {
        of_either!(self, stream => stream.unacknowledged())
    }

    /// Ready when the connection has failed; takes nothing of what arrives.
    pub(crate) fn poll_failed(&self, context: &mut Context<'_>) -> Poll<()> {
        of_either!(self, stream => stream.poll_failed(context))
    }

    pub(crate) fn watch(&self) -> Watch {
        of_either!(self, stream => stream.watch())
    }

    #[inline]
    pub(crate) fn poll_sent(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_either!(self, stream => stream.poll_sent(context))
    }

    /// Says, where the transport has a word for it, that no more is written. Flush it then.
    #[inline]
    pub(crate) fn end(&self) {
        #[cfg(feature = "tls")]
        if let Transport::Tls(stream) = self {
            stream.end();
        }
    }

    /// Has [`end`](Self::end) say nothing: what was written is not all there was to be.
    pub(crate) fn cut_off(&self) {
        #[cfg(feature = "tls")]
        if let Transport::Tls(stream) = self {
            stream.cut_off();
        }
    }

    #[inline]
    pub(crate) fn shutdown_write(&self) {
        of_either!(self, stream => stream.shutdown_write());
    }

    #[inline]
    pub(crate) fn reset_on_close(&self) {
        of_either!(self, stream => stream.reset_on_close());
    }

    #[inline]
    pub(crate) fn recycle(&self, buffer: &mut Vec<u8>) {
        of_either!(self, stream => stream.recycle(buffer));
    }

    /// Who the peer is, for what wants to know it.
    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        of_either!(self, stream => stream.peer_addr())
    }
}
