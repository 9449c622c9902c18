//! One request and its response: body in, handler, body out, as far as each can go.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body::Body;
use sidecore_runtime::executor::{self, Deadline};

use super::chunked::{Chunk, ChunkedDecoder};
use super::connection::{Io, UNSENT_MAX_BYTES};
use super::encode::{self, BodyLength, CHUNK_END, CONTINUE, HeadContext};
use super::head::{Framing, RequestHead, Version};
use super::patience::Waiting;
use super::reject::Reject;
use super::serving::Serving;
use super::target::Target;
use crate::body::{BUFFER_MAX_BYTES, BodySender, Demand, Incoming};
use crate::service::App;

/// A body that the handler left unread is skipped up to here; beyond it the connection closes.
const SKIP_MAX_BYTES: u64 = 256 * 1024;
/// Where a request has a time limit, so much of its answer may be unsent at its end: the kernel
/// nearly always takes that at once, and waiting to hear of it would cost a turn a request.
const SENT_SOON_BYTES: usize = 16 * 1024;

/// What of a head outlives the input it was parsed from.
pub(super) struct Started {
    request: Request<()>,
    version: Version,
    framing: Framing,
    keep_alive: bool,
    expect_continue: bool,
}

/// A request that is being served.
pub(super) struct Exchange<A: App> {
    version: Version,
    head_request: bool,
    keep_alive: bool,
    request_body: RequestBody,
    body_size_max: u64,
    response: Answer<A>,
    /// When the request has taken too long, where that is limited.
    deadline: Option<Deadline>,
}

/// The rest of the request's body.
enum RequestBody {
    Done,
    Reading {
        decoder: Decoder,
        sender: BodySender,
        /// The client waits for `100 Continue`.
        expects: bool,
        /// Bytes of data decoded.
        read: u64,
        /// Bytes skipped since the handler dropped the body.
        skipped: u64,
    },
}

enum Decoder {
    Length(u64),
    Chunked(ChunkedDecoder),
}

/// The response, as far as it has come.
enum Answer<A: App> {
    Called(Pin<Box<A::Future>>),
    Body { body: Pin<Box<A::Body>>, length: BodyLength, sent: u64 },
    Sent,
}

/// How far a response is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// None of it is written: the request may still be refused.
    Unanswered,
    /// Its head is written, its body is not.
    Begun,
    /// All of it is written.
    Answered,
}

/// What a poll of an exchange came to.
pub(super) enum Progress {
    Progressed,
    Waiting(Waiting),
    Done {
        keep_alive: bool,
    },
    /// To be refused with this status, as no answer has begun.
    Refused(Reject),
    /// The answer has begun and cannot be ended properly: close at once.
    Broken,
}

impl Started {
    /// Builds the `http` types of a head; refuses what is too large before any of it is read.
    pub(super) fn new(
        head: &RequestHead<'_>,
        keep_alive: bool,
        body_size_max: u64,
    ) -> Result<Self, Reject> {
        if matches!(head.framing, Framing::Length(length) if length > body_size_max) {
            return Err(Reject::body_too_large());
        }
        let mut request = Request::new(());
        *request.method_mut() = Method::from_bytes(head.method.as_bytes())
            .map_err(|_| Reject::bad("the method is no token"))?;
        *request.uri_mut() = build_uri(&head.target)?;
        *request.version_mut() = match head.version {
            Version::Http10 => http::Version::HTTP_10,
            Version::Http11 => http::Version::HTTP_11,
        };
        *request.headers_mut() = build_fields(head)?;
        Ok(Started {
            request,
            version: head.version,
            framing: head.framing,
            keep_alive,
            expect_continue: head.expect_continue,
        })
    }
}

impl<A: App> Exchange<A> {
    /// Calls the application.
    pub(super) fn start(started: Started, io: &mut Io, serving: &Serving<A>) -> Self {
        let Started { request, version, framing, keep_alive, expect_continue } = started;
        let (request_body, incoming) = receive_body(framing, expect_continue, io);
        let head_request = request.method() == Method::HEAD;
        let request = request.map(|()| incoming);
        Exchange {
            version,
            head_request,
            keep_alive,
            request_body,
            body_size_max: serving.body_size_max,
            response: Answer::Called(Box::pin(serving.app.call(request))),
            deadline: deadline(serving.timeouts.request),
        }
    }

    /// Ready when the whole request has taken too long.
    pub(super) fn poll_overdue(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.deadline.as_mut().map_or(Poll::Pending, |deadline| deadline.poll(context))
    }

    /// How far the response is.
    pub(super) fn stage(&self) -> Stage {
        match self.response {
            Answer::Called(_) => Stage::Unanswered,
            Answer::Body { .. } => Stage::Begun,
            Answer::Sent => Stage::Answered,
        }
    }

    pub(super) fn poll(
        &mut self,
        io: &mut Io,
        serving: &Serving<A>,
        context: &mut Context<'_>,
    ) -> Progress {
        let body = match self.read_body(io, context) {
            Ok(body) => body,
            Err(progress) => return progress,
        };
        let answer = self.answer(io, serving, context);
        match (answer, body) {
            (Progress::Waiting(_), Read::Some) => Progress::Progressed,
            // With the handler and the peer both to wait for, the peer's limit counts.
            (Progress::Waiting(Waiting::Handler), Read::Awaited) => {
                Progress::Waiting(Waiting::Body)
            }
            (answer, _) => answer,
        }
    }

    /// Decodes what arrived of the body and receives more, as the handler asks for it.
    fn read_body(&mut self, io: &mut Io, context: &mut Context<'_>) -> Result<Read, Progress> {
        let RequestBody::Reading { decoder, sender, expects, read, skipped } =
            &mut self.request_body
        else {
            return watch_peer(io, context);
        };
        let demand = sender.demand(context.waker());
        match demand {
            Demand::Satisfied if io.stream.has_failed() => {
                sender.fail("the connection was lost");
                return Err(Progress::Broken);
            }
            Demand::Satisfied => return Ok(Read::Nothing),
            Demand::NotYet if *expects => return Ok(Read::Nothing),
            // RFC 9110 §10.1.1: the body is asked for when the handler first wants it.
            Demand::Wanted if std::mem::take(expects) => {
                io.stream.write(|out| out.extend_from_slice(CONTINUE));
                io.stream.flush();
            }
            Demand::Gone if *expects || *skipped > SKIP_MAX_BYTES => {
                self.keep_alive = false;
                self.request_body = RequestBody::Done;
                return Ok(Read::Nothing);
            }
            _ => {}
        }
        let step = if matches!(decoder, Decoder::Length(0)) {
            Ok(Decoded::End(None))
        } else if io.rest().is_empty() {
            match io.fill(context) {
                Poll::Pending => return Ok(Read::Awaited),
                Poll::Ready(Ok(true)) => return Ok(Read::Some),
                Poll::Ready(Ok(false)) => Err(Reject::bad("the request ended within its body")),
                Poll::Ready(Err(_)) => {
                    sender.fail("the connection was lost");
                    return Err(Progress::Broken);
                }
            }
        } else {
            decoder.decode(io)
        };
        match step {
            Ok(Decoded::Data(bytes)) => {
                *read += bytes.len() as u64;
                if *read > self.body_size_max {
                    sender.fail("the body is larger than this server takes");
                    return Err(self.refuse(Reject::body_too_large()));
                }
                match demand {
                    Demand::Gone => *skipped += bytes.len() as u64,
                    _ => sender.push(bytes),
                }
                Ok(Read::Some)
            }
            Ok(Decoded::Nothing) => Ok(Read::Some),
            Ok(Decoded::End(trailers)) => {
                sender.finish(trailers);
                self.request_body = RequestBody::Done;
                Ok(Read::Some)
            }
            Err(reject) => {
                sender.fail(reject.reason());
                Err(self.refuse(reject))
            }
        }
    }

    /// A body that breaks its framing: the handler's answer to it would not be to this request.
    fn refuse(&self, reject: Reject) -> Progress {
        match self.stage() {
            Stage::Unanswered => Progress::Refused(reject),
            Stage::Begun => Progress::Broken,
            Stage::Answered => Progress::Done { keep_alive: false },
        }
    }

    /// Polls the handler, then its body, and writes what they give.
    fn answer(&mut self, io: &mut Io, serving: &Serving<A>, context: &mut Context<'_>) -> Progress {
        if let Answer::Called(future) = &mut self.response {
            let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
            match polled {
                Ok(Poll::Pending) => return Progress::Waiting(Waiting::Handler),
                Ok(Poll::Ready(Ok(response))) => self.begin(response, io, serving),
                Ok(Poll::Ready(Err(failed))) => {
                    eprintln!("sidecore: a service failed: {}", failed.0);
                    return Progress::Refused(Reject::handler_failed());
                }
                // The panic hook has reported it; it costs this request its answer, no more.
                Err(_) => return Progress::Refused(Reject::handler_failed()),
            }
        }
        self.send_body(io, context)
    }

    /// Writes the head of the response.
    fn begin(&mut self, response: Response<A::Body>, io: &mut Io, serving: &Serving<A>) {
        let (parts, body) = response.into_parts();
        let closes = parts.headers.get(http::header::CONNECTION).is_some_and(|value| {
            super::head::tokens(value.as_bytes()).any(|token| token.eq_ignore_ascii_case(b"close"))
        });
        // In the drain the last request that has arrived is the connection's last one.
        let is_last = serving.is_draining() && io.rest().is_empty();
        self.keep_alive &= !closes && !is_last && self.body_can_be_skipped();
        let length = self.length_of(parts.status, &parts.headers, &body);
        if length == BodyLength::UntilClose {
            self.keep_alive = false;
        }
        let date = serving.date.at(executor::unix_seconds());
        let head =
            HeadContext { version: self.version, keep_alive: self.keep_alive, length, date: &date };
        io.stream.write(|out| encode::encode_head(out, parts.status, &parts.headers, &head));
        let bodiless = self.head_request
            || matches!(length, BodyLength::None | BodyLength::Known(0))
            || parts.status == StatusCode::NOT_MODIFIED;
        self.response = match bodiless {
            true => Answer::Sent,
            false => Answer::Body { body: Box::pin(body), length, sent: 0 },
        };
    }

    /// RFC 9112 §6.3 seen from the sender: which framing this response gets.
    fn length_of(&self, status: StatusCode, fields: &HeaderMap, body: &A::Body) -> BodyLength {
        if status.is_informational() || status == StatusCode::NO_CONTENT {
            return BodyLength::None;
        }
        let exact = body.size_hint().exact();
        let declared = || fields.get(http::header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
        match exact {
            // To HEAD, and in a 304, the length is what a GET would have had (RFC 9110 §8.6).
            Some(0) if self.head_request || status == StatusCode::NOT_MODIFIED => {
                declared().map_or(BodyLength::None, BodyLength::Known)
            }
            Some(length) => BodyLength::Known(length),
            None if self.version == Version::Http10 => BodyLength::UntilClose,
            None => BodyLength::Chunked,
        }
    }

    /// Whether the rest of the request's body is short enough to be skipped for another request.
    fn body_can_be_skipped(&self) -> bool {
        match &self.request_body {
            RequestBody::Done => true,
            RequestBody::Reading { expects: true, .. } => false,
            RequestBody::Reading { decoder: Decoder::Length(left), .. } => *left <= SKIP_MAX_BYTES,
            RequestBody::Reading { decoder: Decoder::Chunked(_), .. } => true,
        }
    }

    /// Writes the response's body, as far as the peer takes it.
    fn send_body(&mut self, io: &mut Io, context: &mut Context<'_>) -> Progress {
        while let Answer::Body { body, length, sent } = &mut self.response {
            if io.stream.unsent() > UNSENT_MAX_BYTES {
                io.stream.flush();
                match io.stream.poll_sent(context) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => return Progress::Broken,
                    Poll::Pending => return Progress::Waiting(Waiting::Write),
                }
            }
            let polled = catch_unwind(AssertUnwindSafe(|| body.as_mut().poll_frame(context)));
            let frame = match polled {
                Ok(Poll::Pending) => {
                    io.stream.flush();
                    return Progress::Waiting(Waiting::Handler);
                }
                Ok(Poll::Ready(Some(Ok(frame)))) => frame,
                Ok(Poll::Ready(None)) => {
                    if matches!(length, BodyLength::Known(length) if *length != *sent) {
                        eprintln!("sidecore: a response's body is shorter than its length");
                        return Progress::Broken;
                    }
                    if *length == BodyLength::Chunked {
                        io.stream.write(|out| encode::encode_last_chunk(out, None));
                    }
                    self.response = Answer::Sent;
                    break;
                }
                Ok(Poll::Ready(Some(Err(error)))) => {
                    eprintln!("sidecore: a response's body failed: {error}");
                    return Progress::Broken;
                }
                Err(_) => return Progress::Broken,
            };
            match frame.into_data() {
                Ok(data) => {
                    *sent += data.len() as u64;
                    if matches!(length, BodyLength::Known(length) if *sent > *length) {
                        eprintln!("sidecore: a response's body is longer than its length");
                        return Progress::Broken;
                    }
                    write_data(io, *length, &data);
                }
                Err(frame) => {
                    if let (Ok(trailers), BodyLength::Chunked) = (frame.into_trailers(), *length) {
                        io.stream.write(|out| encode::encode_last_chunk(out, Some(&trailers)));
                        self.response = Answer::Sent;
                    }
                }
            }
        }
        self.end(io, context)
    }

    /// The response is written: what is left of the request's body is skipped, or closes.
    fn end(&mut self, io: &mut Io, context: &mut Context<'_>) -> Progress {
        if self.deadline.is_some() && io.stream.unsent() > SENT_SOON_BYTES {
            io.stream.flush();
            match io.stream.poll_sent(context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Progress::Broken,
                Poll::Pending => return Progress::Waiting(Waiting::Write),
            }
        }
        match &self.request_body {
            RequestBody::Reading { .. } if self.keep_alive => Progress::Waiting(Waiting::Body),
            _ => Progress::Done { keep_alive: self.keep_alive },
        }
    }
}

/// What reading the body came to.
enum Read {
    /// There may be more to decode at once.
    Some,
    /// The peer has to send more.
    Awaited,
    /// Nothing is read for now, or ever.
    Nothing,
}

enum Decoded {
    Data(Bytes),
    Nothing,
    End(Option<HeaderMap>),
}

impl Decoder {
    /// Takes the next piece of data, or the end, from the input.
    fn decode(&mut self, io: &mut Io) -> Result<Decoded, Reject> {
        let rest = io.rest();
        match self {
            Decoder::Length(left) => {
                let count = (*left).min(rest.len().min(BUFFER_MAX_BYTES) as u64) as usize;
                let bytes = Bytes::copy_from_slice(&rest[..count]);
                *left -= count as u64;
                io.consumed += count;
                Ok(Decoded::Data(bytes))
            }
            Decoder::Chunked(decoder) => match decoder.decode(rest)? {
                Chunk::Data { start, end } => {
                    let bytes = Bytes::copy_from_slice(&rest[start..end]);
                    io.consumed += end;
                    Ok(Decoded::Data(bytes))
                }
                Chunk::Incomplete => {
                    io.consumed = io.input.len();
                    Ok(Decoded::Nothing)
                }
                Chunk::End { consumed } => {
                    io.consumed += consumed;
                    Ok(Decoded::End(decoder.trailers()?))
                }
            },
        }
    }
}

/// Without a body to read, the peer is watched: a reset ends the exchange, a half-close does not.
fn watch_peer(io: &mut Io, context: &mut Context<'_>) -> Result<Read, Progress> {
    // Once the next request has arrived it is not read further; the window does the rest.
    let failed = match io.rest().is_empty() && !io.ended {
        true => matches!(io.fill(context), Poll::Ready(Err(_))),
        false => io.stream.has_failed(),
    };
    if failed { Err(Progress::Broken) } else { Ok(Read::Nothing) }
}

fn deadline(limit: Duration) -> Option<Deadline> {
    (!limit.is_zero()).then(|| {
        let mut deadline = Deadline::unset();
        deadline.set(limit);
        deadline
    })
}

/// The request's body: whole if it arrived with the head, else streamed.
fn receive_body(framing: Framing, expects: bool, io: &mut Io) -> (RequestBody, Incoming) {
    let decoder = match framing {
        Framing::None => return (RequestBody::Done, Incoming::empty()),
        Framing::Length(length) => {
            let arrived = io.rest().len().min(BUFFER_MAX_BYTES) as u64;
            if length <= arrived {
                let bytes = Bytes::copy_from_slice(&io.rest()[..length as usize]);
                io.consumed += bytes.len();
                return (RequestBody::Done, Incoming::full(bytes));
            }
            Decoder::Length(length)
        }
        Framing::Chunked => Decoder::Chunked(ChunkedDecoder::new()),
    };
    let length = match framing {
        Framing::Length(length) => Some(length),
        _ => None,
    };
    let (sender, incoming) = Incoming::stream(length);
    // A client that sent some of its body already does not wait for `100 Continue`.
    let expects = expects && io.rest().is_empty();
    (RequestBody::Reading { decoder, sender, expects, read: 0, skipped: 0 }, incoming)
}

fn write_data(io: &Io, length: BodyLength, data: &Bytes) {
    if data.is_empty() {
        // An empty chunk would be the last one.
        return;
    }
    io.stream.write(|out| {
        if length == BodyLength::Chunked {
            encode::encode_chunk_size(out, data.len());
        }
        out.extend_from_slice(data);
        if length == BodyLength::Chunked {
            out.extend_from_slice(CHUNK_END);
        }
    });
}

fn build_uri(target: &Target<'_>) -> Result<Uri, Reject> {
    let invalid = |_| Reject::bad("the target is no URI");
    match target {
        Target::Absolute { authority, .. } => Uri::builder()
            .scheme("http")
            .authority(*authority)
            .path_and_query(target.path_and_query())
            .build()
            .map_err(|_| Reject::bad("the target is no URI")),
        _ => PathAndQuery::try_from(target.path_and_query()).map(Uri::from).map_err(invalid),
    }
}

/// Copies the fields once: their values share one allocation.
fn build_fields(head: &RequestHead<'_>) -> Result<HeaderMap, Reject> {
    let invalid = Reject::bad("a field is not valid");
    let mut fields = HeaderMap::with_capacity(head.fields.len());
    let mut values = Vec::with_capacity(head.fields.iter().map(|field| field.value.len()).sum());
    head.fields.iter().for_each(|field| values.extend_from_slice(field.value));
    let values = Bytes::from(values);
    let mut at = 0;
    for field in head.fields {
        let value = values.slice(at..at + field.value.len());
        at += field.value.len();
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| invalid)?;
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| invalid)?;
        fields.append(name, value);
    }
    if let Target::Absolute { authority, .. } = head.target {
        // §3.2.2: the authority of an absolute target takes the place of Host.
        let host = HeaderValue::from_str(authority).map_err(|_| invalid)?;
        fields.insert(http::header::HOST, host);
    }
    Ok(fields)
}
