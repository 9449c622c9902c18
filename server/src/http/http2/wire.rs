//! What hyper reads from and writes to: a connection's transport.
//!
//! It is shared with the connection's task, which closes the transport when hyper is done with it.
//! A write is refused while more than [`UNSENT_MAX_BYTES`] are unsent, so that a peer which does not
//! read is felt by the streams. hyper's own shutdown only flushes: half-closing, lingering and what
//! TLS has to say are the connection's.

use std::cell::{Cell, RefCell};
use std::io;
use std::io::IoSlice;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};

use crate::http::http1::connection::{Io, UNSENT_MAX_BYTES};
use crate::http::http2::received::Received;
use crate::http::http2::sent::Sent;
use crate::http::http2::turns::Flow;
use crate::http::transport::Transport;

/// A transport, and what has arrived on it.
pub(crate) struct Http2Wire {
    transport: Transport,
    input: RefCell<Input>,
    /// The peer has sent its last byte.
    ended: Cell<bool>,
    flow: Rc<Flow>,
    sent: RefCell<Sent>,
    /// Answers of h2's own of which nobody was told.
    untold: Cell<u64>,
}

struct Input {
    received: Received,
    bytes: Vec<u8>,
    consumed: usize,
}

/// hyper's end of it.
pub(crate) struct WireEnd(pub(crate) Rc<Http2Wire>);

impl Http2Wire {
    pub(crate) fn new(io: Io) -> Rc<Self> {
        let (ended, flow) = (Cell::new(io.ended), Rc::default());
        let (transport, bytes, consumed) = io.into_parts();
        let input = RefCell::new(Input::new(bytes, consumed));
        let (sent, untold) = (RefCell::default(), Cell::new(0));
        Rc::new(Http2Wire { transport, input, ended, flow, sent, untold })
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Whether hyper waits for the peer to take what was written.
    pub(crate) fn is_blocked(&self) -> bool {
        self.flow.is_blocked() && self.transport.unsent() > 0
    }

    pub(crate) fn flow(&self) -> Rc<Flow> {
        self.flow.clone()
    }

    /// How many requests h2 has refused by itself since the last call.
    pub(crate) fn take_untold(&self) -> u64 {
        self.untold.take()
    }

    /// Sends `100 Continue` by a stream that has no answer yet; false where another frame is under
    /// way, or the client expects h2's next head before any other.
    pub(crate) fn send_continue(&self, stream: u32) -> bool {
        let is_possible = self.input.borrow().received.may_continue();
        if !is_possible || !self.sent.borrow().is_between_frames() {
            return false;
        }
        // HEADERS with END_HEADERS; `:status` of the static table, a literal that is not indexed.
        let [a, b, c, d] = stream.to_be_bytes();
        let frame = [0, 0, 5, 1, 4, a, b, c, d, 0x08, 3, b'1', b'0', b'0'];
        self.transport.write(|out| out.extend_from_slice(&frame));
        self.transport.flush();
        true
    }

    fn write(&self, out: &mut Vec<u8>, bytes: &[u8]) {
        self.untold.set(self.untold.get() + self.sent.borrow_mut().pass(bytes));
        out.extend_from_slice(bytes);
        self.flow.wrote(bytes.len());
    }

    /// What there is to be closed.
    pub(crate) fn into_io(self) -> Io {
        let mut io = Io::new(self.transport);
        io.ended = self.ended.get();
        io
    }

    fn poll_room(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.transport.unsent() > UNSENT_MAX_BYTES {
            self.flow.set_blocked(true);
            self.transport.flush();
            ready!(self.transport.poll_sent(context))?;
        }
        self.flow.set_blocked(false);
        Poll::Ready(Ok(()))
    }

    fn poll_input(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let input = &mut *self.input.borrow_mut();
        while input.consumed == input.bytes.len() && !self.ended.get() {
            input.bytes.clear();
            input.consumed = 0;
            match self.transport.poll_recv(context, &mut input.bytes) {
                Poll::Ready(Ok(count)) => {
                    self.ended.set(count == 0);
                    input.take_arrived();
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    // An idle connection holds no buffer.
                    if input.bytes.capacity() > 0 {
                        self.transport.recycle(&mut input.bytes);
                    }
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Input {
    fn new(bytes: Vec<u8>, consumed: usize) -> Self {
        let mut input = Input { received: Received::new(), bytes, consumed: 0 };
        input.bytes.drain(..consumed);
        input.take_arrived();
        input
    }

    fn take_arrived(&mut self) {
        let held = self.received.held();
        if !held.is_empty() {
            held.append(&mut self.bytes);
            std::mem::swap(held, &mut self.bytes);
        }
        self.received.pass(&mut self.bytes);
    }
}

impl Read for WireEnd {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.0.poll_input(context))?;
        let input = &mut *self.0.input.borrow_mut();
        let rest = &input.bytes[input.consumed..];
        let count = rest.len().min(into.remaining());
        into.put_slice(&rest[..count]);
        input.consumed += count;
        Poll::Ready(Ok(()))
    }
}

impl Write for WireEnd {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.0.poll_room(context))?;
        self.0.transport.write(|out| self.0.write(out, bytes));
        Poll::Ready(Ok(bytes.len()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.0.poll_room(context))?;
        self.0.transport.write(|out| parts.iter().for_each(|part| self.0.write(out, part)));
        Poll::Ready(Ok(parts.iter().map(|part| part.len()).sum()))
    }

    /// What was written leaves with the executor's next entry into the kernel.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.transport.flush();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(context)
    }
}
