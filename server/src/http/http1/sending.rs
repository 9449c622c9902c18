//! A response's body on its way out: frames in; pieces, the end or a failure out.

use std::fmt::Display;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body;
use sidecore_runtime::sys::stderr;

use crate::http::http1::encode::{self, BodyLength, CHUNK_END};
use crate::http::http1::panicked;

/// A frame goes towards the socket in pieces of so many bytes, so that a large one costs a
/// connection with a slow reader no more than a stream of small ones.
pub(crate) const PIECE_MAX_BYTES: usize = 64 * 1024;

/// A body whose head is written.
pub(crate) struct Sending<B> {
    body: Pin<Box<B>>,
    length: BodyLength,
    sent: u64,
    /// What is left of the frame that was polled last.
    rest: Bytes,
}

/// What is next to be written.
pub(crate) enum NextPiece {
    /// Data, never empty.
    Piece(Bytes),
    Pending,
    /// The body is over, and has its length if it had said one.
    End(Option<HeaderMap>),
    /// It failed, which was reported; the message cannot be ended.
    Broken,
}

impl<B: Body<Data = Bytes, Error: Display>> Sending<B> {
    pub(crate) fn new(body: B, length: BodyLength) -> Self {
        Sending { body: Box::pin(body), length, sent: 0, rest: Bytes::new() }
    }

    pub(crate) fn next(&mut self, context: &mut Context<'_>) -> NextPiece {
        while self.rest.is_empty() {
            let body = &mut self.body;
            let frame = match panicked::caught(|| body.as_mut().poll_frame(context)) {
                Some(Poll::Pending) => return NextPiece::Pending,
                Some(Poll::Ready(None)) => return self.end(None),
                Some(Poll::Ready(Some(Ok(frame)))) => frame,
                Some(Poll::Ready(Some(Err(error)))) => return broken(&error),
                // The panic hook has reported it.
                None => return NextPiece::Broken,
            };
            match frame.into_data() {
                Ok(data) => self.rest = data,
                // Trailers are a body's last frame.
                Err(frame) => return self.end(frame.into_trailers().ok()),
            }
        }
        let piece = self.rest.split_to(self.rest.len().min(PIECE_MAX_BYTES));
        self.sent += piece.len() as u64;
        match self.length {
            BodyLength::Known(length) if self.sent > length => broken(&"it is longer than it said"),
            _ => NextPiece::Piece(piece),
        }
    }

    /// Whether the last piece was all there is to come, as far as the body tells that beforehand.
    #[cfg(feature = "http2")]
    pub(crate) fn is_over(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn end(&self, trailers: Option<HeaderMap>) -> NextPiece {
        match self.length {
            BodyLength::Known(length) if self.sent < length => {
                broken(&"it is shorter than it said")
            }
            _ => NextPiece::End(trailers),
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>, piece: &[u8]) {
        if self.length == BodyLength::Chunked {
            encode::encode_chunk_size(out, piece.len());
        }
        out.extend_from_slice(piece);
        if self.length == BodyLength::Chunked {
            out.extend_from_slice(CHUNK_END);
        }
    }

    /// Trailers need chunks (RFC 9112 §7.1.2); with another framing they are dropped.
    pub(crate) fn encode_end(&self, out: &mut Vec<u8>, trailers: Option<&HeaderMap>) {
        if self.length == BodyLength::Chunked {
            encode::encode_last_chunk(out, trailers);
        }
    }
}

fn broken(cause: &dyn Display) -> NextPiece {
    stderr::line(format_args!("a response's body failed: {cause}"));
    NextPiece::Broken
}
