//! A response on its way to hyper: its head, and its body in pieces.

use std::fmt;
use std::fmt::Display;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, DATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use sidecore_runtime::executor::unix_seconds;

use crate::codec::reject::Reject;
use crate::codec::trailers::is_forbidden_trailer;
use crate::http::http1::encode::{self, BodyLength, Content};
use crate::http::http1::sending::{NextPiece, Sending};
use crate::http::http2::session::Http2Session;
use crate::http::http2::stream::{Piece, Stage, Stream};

/// The last piece of a body, if it is no larger, ends its stream: one frame less. A larger one is
/// waited for first, as the stream can be reset as long as it has not ended.
const END_AT_ONCE_BYTES: usize = 16 * 1024;

/// The body of an answer.
pub(crate) struct Outgoing<B> {
    state: AnswerState<B>,
    stream: Rc<Stream>,
}

enum AnswerState<B> {
    Empty,
    /// Of a refusal.
    Text(&'static str),
    Body {
        sending: Sending<B>,
        /// Of the last piece.
        piece_bytes: usize,
    },
}

/// What makes hyper reset the stream; the cause was reported, or is the peer's.
#[derive(Debug)]
pub(crate) struct AnswerBroken;

/// The answer that the application gave.
pub(crate) fn answer<A, B: Body<Data = Bytes, Error: Display>>(
    response: Response<B>,
    is_head: bool,
    session: &Http2Session<A>,
    stream: &Rc<Stream>,
) -> Response<Outgoing<B>> {
    let (mut parts, body) = response.into_parts();
    if encode::asks_to_close(&parts.headers) {
        session.set_last();
    }
    stream.answer(parts.status);
    let length = frame(parts.status, &mut parts.headers, &body, is_head);
    date(&mut parts.headers, session);
    let is_empty =
        is_head || encode::content_of(parts.status) != Content::Allowed || body.is_end_stream();
    let state = match is_empty {
        true => AnswerState::Empty,
        false => AnswerState::Body { sending: Sending::new(body, length), piece_bytes: 0 },
    };
    Response::from_parts(parts, outgoing(state, stream))
}

/// The answer to a request that is refused.
pub(crate) fn refusal<A, B>(
    reject: Reject,
    is_head: bool,
    session: &Http2Session<A>,
    stream: &Rc<Stream>,
) -> Response<Outgoing<B>> {
    stream.answer(reject.status());
    let state = if is_head { AnswerState::Empty } else { AnswerState::Text(reject.reason()) };
    let mut response = Response::new(outgoing(state, stream));
    *response.status_mut() = reject.status();
    *response.headers_mut() = reject.fields();
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(reject.reason().len()));
    date(response.headers_mut(), session);
    response
}

fn outgoing<B>(state: AnswerState<B>, stream: &Rc<Stream>) -> Outgoing<B> {
    let is_empty = matches!(state, AnswerState::Empty);
    stream.advance(if is_empty { Stage::Answered } else { Stage::Begun });
    Outgoing { state, stream: stream.clone() }
}

/// The length that is told is the server's own, or one that only the application knows, as of a
/// file, and is held to. Fields of the connection, which HTTP/2 has none of, are removed by hyper
/// (RFC 9113 §8.2.2).
fn frame<B: Body>(
    status: StatusCode,
    fields: &mut HeaderMap,
    body: &B,
    is_head: bool,
) -> BodyLength {
    let content = encode::content_of(status);
    // To HEAD, and in a 304, the length is what a GET would have had (RFC 9110 §8.6): an empty body
    // says nothing of it, nor does a 0 that a framework puts into a 304.
    let is_other = is_head || content == Content::LengthOnly;
    let says_nothing = content == Content::LengthOnly || !is_head;
    let declared = encode::declared_length(fields).filter(|length| *length > 0 || !says_nothing);
    let exact = body.size_hint().exact().filter(|length| *length > 0 || !is_other);
    let length = match content {
        Content::Absent => None,
        Content::Empty => Some(0),
        Content::Allowed | Content::LengthOnly => exact.or(declared),
    };
    fields.remove(CONTENT_LENGTH);
    if let Some(length) = length {
        fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    // Frames say where a body ends: chunks stand for any length here.
    length.map_or(BodyLength::Chunked, BodyLength::Known)
}

fn date<A>(fields: &mut HeaderMap, session: &Http2Session<A>) {
    if !fields.contains_key(DATE)
        && let Ok(date) = HeaderValue::from_bytes(&session.serving.date.at(unix_seconds()))
    {
        fields.insert(DATE, date);
    }
}

impl<B: Body<Data = Bytes, Error: Display>> Outgoing<B> {
    /// The next piece, or the end.
    fn next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, AnswerBroken>>> {
        let AnswerState::Body { sending, piece_bytes } = &mut self.state else {
            let text = match std::mem::replace(&mut self.state, AnswerState::Empty) {
                AnswerState::Text(text) => Bytes::from_static(text.as_bytes()),
                _ => return Poll::Ready(None),
            };
            return Poll::Ready(Some(Ok(Frame::data(self.stream.give(text)))));
        };
        match sending.next(context) {
            NextPiece::Piece(piece) => {
                *piece_bytes = piece.len();
                Poll::Ready(Some(Ok(Frame::data(self.stream.give(piece)))))
            }
            NextPiece::Pending => Poll::Pending,
            NextPiece::End(trailers) => Poll::Ready(trailers.and_then(sendable).map(Ok)),
            NextPiece::Broken => Poll::Ready(Some(Err(AnswerBroken))),
        }
    }
}

/// RFC 9110 §6.5.1: without what may be no trailer.
fn sendable(mut trailers: HeaderMap) -> Option<Frame<Piece>> {
    let forbidden: Vec<_> =
        trailers.keys().filter(|name| is_forbidden_trailer(name.as_str())).cloned().collect();
    for name in forbidden {
        trailers.remove(name);
    }
    (!trailers.is_empty()).then(|| Frame::trailers(trailers))
}

impl<B: Body<Data = Bytes, Error: Display>> Body for Outgoing<B> {
    type Data = Piece;
    type Error = AnswerBroken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, AnswerBroken>>> {
        let this = &mut *self;
        if this.stream.is_overdue() {
            return Poll::Ready(Some(Err(AnswerBroken)));
        }
        ready!(this.stream.poll_taken(context));
        let next = ready!(this.next(context));
        let is_end = match &next {
            Some(Ok(frame)) => frame.is_trailers() || this.is_end_stream(),
            Some(Err(AnswerBroken)) | None => true,
        };
        if is_end {
            this.stream.advance(Stage::Answered);
        }
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            AnswerState::Empty => true,
            AnswerState::Text(_) => false,
            AnswerState::Body { sending, piece_bytes } => {
                *piece_bytes <= END_AT_ONCE_BYTES && sending.is_over()
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        // The length stands in the head already, where it is known.
        SizeHint::default()
    }
}

impl fmt::Display for AnswerBroken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the answer cannot be ended")
    }
}

impl std::error::Error for AnswerBroken {}
