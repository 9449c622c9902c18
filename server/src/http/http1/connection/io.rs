//! A connection's stream, and the bytes that arrived on it.

use std::task::{Context, Poll};

use crate::app::service::Plain;
use crate::codec::head::Version;
use crate::codec::head_lines::take_minor_version;
use crate::codec::head_scan::{HeadScan, is_blank};
use crate::http::http1::date::DATE_BYTES;
use crate::http::http1::encode::{self, BodyLength, Content, HeadContext};
use crate::http::transport::Transport;

/// The stream and the bytes that arrived.
pub(crate) struct Io {
    pub(crate) stream: Transport,
    pub(crate) input: Vec<u8>,
    /// Bytes of `input` that are done with.
    pub(crate) consumed: usize,
    /// What is known of the head that has begun.
    pub(crate) scan: HeadScan,
    /// The peer has sent its last byte.
    pub(crate) ended: bool,
    /// Bytes that have arrived since the connection began.
    pub(crate) received: u64,
}

impl Io {
    pub(crate) fn new(stream: Transport) -> Self {
        let scan = HeadScan::default();
        Io { stream, input: Vec::new(), consumed: 0, scan, ended: false, received: 0 }
    }

    /// Whether nothing of a request has begun (RFC 9112 §2.2: blank lines before one do not count).
    pub(crate) fn is_idle(&self) -> bool {
        is_blank(self.rest())
    }

    /// Has the head that begins here be one of HTTP/1.1, where it is of a higher minor version.
    pub(crate) fn take_minor_version(&mut self) -> bool {
        self.scan.reset();
        take_minor_version(&mut self.input[self.consumed..])
    }

    /// The stream, what has arrived on it, and how many bytes of that are done with.
    #[cfg(feature = "http2")]
    pub(crate) fn into_parts(self) -> (Transport, Vec<u8>, usize) {
        (self.stream, self.input, self.consumed)
    }

    /// Bytes that arrived and are not done with.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.input[self.consumed..]
    }

    /// Receives more; false at the peer's end.
    pub(crate) fn fill(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<bool>> {
        if self.ended {
            return Poll::Ready(Ok(false));
        }
        self.compact();
        match self.stream.poll_recv(context, &mut self.input) {
            Poll::Ready(Ok(0)) => {
                self.ended = true;
                Poll::Ready(Ok(false))
            }
            Poll::Ready(Ok(count)) => {
                self.received += count as u64;
                Poll::Ready(Ok(true))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }

    pub(crate) fn consume_head(&mut self, size: usize) {
        self.consumed += size;
        self.scan.reset();
    }

    /// Moves what is left to the front, before more is appended.
    fn compact(&mut self) {
        if self.consumed == self.input.len() {
            self.input.clear();
        } else if self.consumed > 0 {
            self.input.drain(..self.consumed);
        }
        self.consumed = 0;
    }

    /// An idle connection holds no buffer.
    pub(crate) fn recycle(&mut self) {
        self.compact();
        if self.input.is_empty() && self.input.capacity() > 0 {
            self.stream.recycle(&mut self.input);
        }
    }

    pub(crate) fn answer(
        &self,
        plain: &Plain,
        version: Version,
        head_only: bool,
        keep_alive: bool,
        date: &[u8; DATE_BYTES],
    ) {
        let length = match encode::content_of(plain.status) {
            Content::Allowed => BodyLength::Known(plain.body.len() as u64),
            Content::Empty => BodyLength::Known(0),
            Content::Absent | Content::LengthOnly => BodyLength::None,
        };
        let context = HeadContext { version, keep_alive, length, date };
        self.stream.write(|out| encode::encode_plain(out, plain, head_only, &context));
    }
}
