//! The body of a request, as a handler reads it.
//!
//! A small body that arrived with its head is handed over whole. Any other is streamed: the
//! connection decodes it into a bounded buffer and stops reading while that is full, so that a
//! slow handler is felt by the client through TCP's window and not by this server's memory. (In
//! HTTP/2 it is the stream's window.)

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

/// Decoded bytes that wait for the handler before the connection stops reading.
pub(crate) const BUFFER_MAX_BYTES: usize = 64 * 1024;
/// Pieces that wait likewise: of chunks of one byte the pieces outweigh their bytes by far.
const PIECES_MAX: usize = 1024;

/// The body of a request. It is `Send`, so that a handler may read it anywhere.
///
/// Dropping it unread is fine: what is left is skipped if it is short, else the connection closes
/// after the answer. In HTTP/2 the client is told to send no more of it, and the connection goes on.
pub struct Incoming {
    inner: BodyInner,
}

enum BodyInner {
    Empty,
    Full(Option<Bytes>),
    Stream(Reader),
    #[cfg(feature = "http2")]
    Http2(Box<crate::app::http2_body::RequestBody>),
}

/// The body ended before its end, or broke the rules of its framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyError {
    pub(crate) reason: &'static str,
}

/// Both ends' state of a streamed body. The lock is contended only where a handler reads from
/// another thread.
struct Channel {
    frames: VecDeque<Bytes>,
    buffered_bytes: usize,
    trailers: Option<HeaderMap>,
    end: Option<Result<(), BodyError>>,
    /// Bytes still to come, where Content-Length says so.
    remaining: Option<u64>,
    /// The handler has asked for data: `100 Continue` may be sent.
    demanded: bool,
    reader_gone: bool,
    reader: Option<Waker>,
    connection: Option<Waker>,
}

struct Reader(Arc<Mutex<Channel>>);

/// The connection's end.
pub(crate) struct BodySender(Arc<Mutex<Channel>>);

impl Incoming {
    pub(crate) fn empty() -> Self {
        Incoming { inner: BodyInner::Empty }
    }

    pub(crate) fn full(bytes: Bytes) -> Self {
        Incoming { inner: BodyInner::Full(Some(bytes)) }
    }

    #[cfg(feature = "http2")]
    pub(crate) fn http2(body: crate::app::http2_body::RequestBody) -> Self {
        Incoming { inner: BodyInner::Http2(Box::new(body)) }
    }

    /// A streamed body, of `length` bytes if known.
    pub(crate) fn stream(length: Option<u64>) -> (BodySender, Self) {
        let channel = Arc::new(Mutex::new(Channel {
            frames: VecDeque::new(),
            buffered_bytes: 0,
            trailers: None,
            end: None,
            remaining: length,
            demanded: false,
            reader_gone: false,
            reader: None,
            connection: None,
        }));
        let inner = BodyInner::Stream(Reader(channel.clone()));
        (BodySender(channel), Incoming { inner })
    }
}

impl BodySender {
    /// How the handler stands to its body; `waker` is kept for when that changes.
    pub(crate) fn demand(&self, waker: &Waker) -> Demand {
        let mut channel = lock(&self.0);
        channel.connection = Some(waker.clone());
        match () {
            () if channel.reader_gone => Demand::Gone,
            () if channel.buffered_bytes >= BUFFER_MAX_BYTES => Demand::Satisfied,
            () if channel.frames.len() >= PIECES_MAX => Demand::Satisfied,
            () if channel.demanded => Demand::Wanted,
            () => Demand::NotYet,
        }
    }

    /// Whether the handler has dropped its end.
    pub(crate) fn is_reader_gone(&self) -> bool {
        lock(&self.0).reader_gone
    }

    pub(crate) fn push(&self, bytes: Bytes) {
        self.change(|channel| {
            channel.buffered_bytes += bytes.len();
            channel.remaining = channel.remaining.map(|left| left - bytes.len() as u64);
            channel.frames.push_back(bytes);
        });
    }

    pub(crate) fn finish(&self, trailers: Option<HeaderMap>) {
        self.change(|channel| {
            channel.trailers = trailers;
            channel.end = Some(Ok(()));
        });
    }

    pub(crate) fn fail(&self, reason: &'static str) {
        self.change(|channel| channel.end = Some(Err(BodyError { reason })));
    }

    fn change(&self, change: impl FnOnce(&mut Channel)) {
        let mut channel = lock(&self.0);
        change(&mut channel);
        let waker = channel.reader.take();
        drop(channel);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Drop for BodySender {
    /// The exchange is over, in whatever way, and its body is not: a reader that was moved into
    /// another task would wait for ever.
    fn drop(&mut self) {
        if lock(&self.0).end.is_none() {
            self.fail("the request ended before its body was read");
        }
    }
}

/// How a handler stands to its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    /// It has not asked for any yet.
    NotYet,
    /// It has asked, and there is room.
    Wanted,
    /// There is more in the buffer than may be.
    Satisfied,
    /// It has dropped the body.
    Gone,
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.inner {
            BodyInner::Empty => Poll::Ready(None),
            BodyInner::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            BodyInner::Stream(reader) => reader.poll_frame(context),
            #[cfg(feature = "http2")]
            BodyInner::Http2(body) => body.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            BodyInner::Empty | BodyInner::Full(None) => true,
            BodyInner::Full(Some(_)) => false,
            BodyInner::Stream(reader) => {
                let channel = lock(&reader.0);
                let over = channel.frames.is_empty() && channel.trailers.is_none();
                over && channel.end == Some(Ok(()))
            }
            #[cfg(feature = "http2")]
            BodyInner::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            BodyInner::Empty | BodyInner::Full(None) => SizeHint::with_exact(0),
            BodyInner::Full(Some(bytes)) => SizeHint::with_exact(bytes.len() as u64),
            BodyInner::Stream(reader) => {
                let channel = lock(&reader.0);
                let buffered = channel.buffered_bytes as u64;
                channel.remaining.map_or(SizeHint::default(), |remaining| {
                    SizeHint::with_exact(remaining + buffered)
                })
            }
            #[cfg(feature = "http2")]
            BodyInner::Http2(body) => body.size_hint(),
        }
    }
}

impl Reader {
    fn poll_frame(
        &self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut channel = lock(&self.0);
        if let Some(bytes) = channel.frames.pop_front() {
            channel.buffered_bytes -= bytes.len();
            wake_connection(channel);
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if let Some(trailers) = channel.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        match channel.end {
            Some(Ok(())) => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            None => {}
        }
        channel.reader = Some(context.waker().clone());
        if !channel.demanded {
            channel.demanded = true;
            wake_connection(channel);
        }
        Poll::Pending
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut channel = lock(&self.0);
        channel.reader_gone = true;
        channel.frames.clear();
        channel.buffered_bytes = 0;
        wake_connection(channel);
    }
}

fn wake_connection(mut channel: MutexGuard<'_, Channel>) {
    let waker = channel.connection.take();
    drop(channel);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// No code that can panic runs under the lock, so poison means nothing here.
fn lock(channel: &Mutex<Channel>) -> MutexGuard<'_, Channel> {
    channel.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("size", &self.size_hint().exact()).finish()
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason)
    }
}

impl std::error::Error for BodyError {}
