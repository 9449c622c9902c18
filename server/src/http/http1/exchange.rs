//! One request and its response: body in, handler, body out, as far as each can go.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::TRAILER;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body::Body;
use sidecore_runtime::executor::{self, Deadline};
use sidecore_runtime::sys::stderr;

use crate::app::body::{BUFFER_MAX_BYTES, BodySender, Demand, Incoming};
use crate::app::service::App;
use crate::codec::body_decoder::{BodyDecoder, BodyPart, cut_off};
use crate::codec::head::{Framing, Version};
use crate::codec::reject::Reject;
use crate::http::http1::connection::{Io, UNSENT_MAX_BYTES};
use crate::http::http1::encode::{self, BodyLength, CONTINUE, Content, HeadContext};
use crate::http::http1::panicked;
use crate::http::http1::request_head::Started;
use crate::http::http1::sending::{NextPiece, Sending};
use crate::http::http1::serving::Serving;
use crate::http::http1::timeouts::Waiting;
use crate::http::http1::upgrade::{Offered, Run};

/// A body that the handler left unread is skipped up to here; beyond it the connection closes.
const SKIP_MAX_BYTES: u64 = 256 * 1024;
/// Where a request has a time limit, so much of its answer may be unsent at its end: the kernel
/// nearly always takes that at once, and waiting to hear of it would cost a turn a request.
const SENT_SOON_BYTES: usize = 16 * 1024;

/// A request that is being served.
pub(crate) struct Exchange<A: App> {
    version: Version,
    head_request: bool,
    keep_alive: bool,
    request_body: ExchangeBody,
    response: Answering<A>,
    /// Where the client offers one.
    upgrade: Option<Offered>,
    /// When the request has taken too long, where that is limited.
    deadline: Option<Deadline>,
}

/// The rest of the request's body.
enum ExchangeBody {
    Done,
    Reading {
        decoder: BodyDecoder,
        sender: BodySender,
        /// The client waits for `100 Continue`.
        expects: bool,
        /// Bytes skipped since the handler dropped the body.
        skipped: u64,
    },
}

/// The response, as far as it has come.
enum Answering<A: App> {
    Called(Pin<Box<A::Future>>),
    /// The application panicked before there was a future.
    Failed,
    Body(Sending<A::Body>),
    Sent,
}

/// How far a response is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExchangeStage {
    /// None of it is written: the request may still be refused.
    Unanswered,
    /// Its head is written, its body is not.
    Begun,
    /// All of it is written.
    Answered,
}

/// What a poll of an exchange came to.
pub(crate) enum Progress {
    Progressed,
    Waiting(Waiting),
    Done {
        keep_alive: bool,
    },
    /// The 101 is written: the connection is the application's.
    Upgraded(Run),
    /// To be refused with this status, as no answer has begun.
    Refused(Reject),
    /// The answer has begun and cannot be ended: what is written is sent, earlier answers with it,
    /// and the end of the connection tells that this one is incomplete (RFC 9112 §8).
    CutOff,
    /// The connection is lost.
    Broken,
}

impl<A: App> Exchange<A> {
    /// Calls the application.
    pub(crate) fn start(started: Started, io: &mut Io, serving: &Serving<A>) -> Self {
        let Started { mut request, version, framing, body, keep_alive, expect_continue, upgrade } =
            started;
        let (request_body, incoming) = receive_body(framing, body, expect_continue, io);
        let head_request = request.method() == Method::HEAD;
        let upgrade = upgrade.then(|| Offered::to(&mut request));
        let request = request.map(|()| incoming);
        let response = match panicked::caught(|| serving.app.call(request)) {
            Some(future) => Answering::Called(Box::pin(future)),
            None => Answering::Failed,
        };
        let deadline = deadline(serving.timeouts.request);
        Exchange { version, head_request, keep_alive, request_body, response, upgrade, deadline }
    }

    /// Ready when the whole request has taken too long.
    pub(crate) fn poll_overdue(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.deadline.as_mut().map_or(Poll::Pending, |deadline| deadline.poll(context))
    }

    /// How far the response is.
    pub(crate) fn stage(&self) -> ExchangeStage {
        match self.response {
            Answering::Called(_) | Answering::Failed => ExchangeStage::Unanswered,
            Answering::Body(_) => ExchangeStage::Begun,
            Answering::Sent => ExchangeStage::Answered,
        }
    }

    /// Whether the answer has no content, whatever it is (RFC 9110 §9.3.2).
    pub(crate) fn is_head_request(&self) -> bool {
        self.head_request
    }

    pub(crate) fn poll(
        &mut self,
        io: &mut Io,
        serving: &Serving<A>,
        context: &mut Context<'_>,
    ) -> Progress {
        // All that arrived and has room is decoded before the handler is asked: while it has not
        // answered, a body that breaks its framing can still be refused.
        let mut read_some = false;
        let body = loop {
            match self.read_body(io, context) {
                Ok(Read::Some) => read_some = true,
                Ok(body) => break body,
                Err(progress) => return progress,
            }
        };
        let answer = self.answer(io, serving, context);
        match (answer, body) {
            (Progress::Waiting(_), _) if read_some => Progress::Progressed,
            // With the handler and the peer both to wait for, the peer's limit counts.
            (Progress::Waiting(Waiting::Handler), Read::Awaited) => {
                Progress::Waiting(Waiting::Body)
            }
            (answer, _) => answer,
        }
    }

    /// Decodes what arrived of the body and receives more, as the handler asks for it.
    fn read_body(&mut self, io: &mut Io, context: &mut Context<'_>) -> Result<Read, Progress> {
        let unanswered = self.stage() == ExchangeStage::Unanswered;
        let ExchangeBody::Reading { decoder, sender, expects, skipped } = &mut self.request_body
        else {
            return watch_peer(io, context);
        };
        let demand = sender.demand(context.waker());
        match demand {
            Demand::Satisfied => return watch_reader(sender, io, context),
            Demand::NotYet if *expects => return watch_reader(sender, io, context),
            // RFC 9110 §10.1.1: the body is asked for when the handler first wants it, but not
            // within the answer, of which the interim response would become a part.
            Demand::Wanted if std::mem::take(expects) && unanswered => {
                io.stream.write(|out| out.extend_from_slice(CONTINUE));
                io.stream.flush();
            }
            Demand::Gone if *expects || *skipped > SKIP_MAX_BYTES => {
                self.keep_alive = false;
                self.request_body = ExchangeBody::Done;
                return Ok(Read::Nothing);
            }
            _ => {}
        }
        let rest = io.rest();
        let part = if rest.is_empty() && !decoder.is_over() {
            match io.fill(context) {
                Poll::Pending => return Ok(Read::Awaited),
                Poll::Ready(Ok(true)) => return Ok(Read::Some),
                Poll::Ready(Ok(false)) => Err(cut_off()),
                Poll::Ready(Err(_)) => {
                    sender.fail("the connection was lost");
                    return Err(Progress::Broken);
                }
            }
        } else {
            decoder.decode(&rest[..rest.len().min(BUFFER_MAX_BYTES)])
        };
        match part {
            Ok(BodyPart::Data { start, end }) => {
                match demand {
                    Demand::Gone => *skipped += (end - start) as u64,
                    _ => sender.push(Bytes::copy_from_slice(&io.rest()[start..end])),
                }
                io.consumed += end;
            }
            Ok(BodyPart::Incomplete) => io.consumed += io.rest().len().min(BUFFER_MAX_BYTES),
            Ok(BodyPart::End { consumed, trailers }) => {
                io.consumed += consumed;
                sender.finish(trailers);
                self.request_body = ExchangeBody::Done;
            }
            Err(reject) => {
                sender.fail(reject.reason());
                return Err(self.refuse(reject));
            }
        }
        Ok(Read::Some)
    }

    /// A body that breaks its framing: the handler's answer to it would not be to this request.
    fn refuse(&self, reject: Reject) -> Progress {
        match self.stage() {
            ExchangeStage::Unanswered => Progress::Refused(reject),
            ExchangeStage::Begun => Progress::CutOff,
            ExchangeStage::Answered => Progress::Done { keep_alive: false },
        }
    }

    /// Polls the handler, then its body, and writes what they give.
    fn answer(&mut self, io: &mut Io, serving: &Serving<A>, context: &mut Context<'_>) -> Progress {
        if let Answering::Failed = self.response {
            return Progress::Refused(Reject::handler_failed());
        }
        if let Answering::Called(future) = &mut self.response {
            match panicked::caught(|| future.as_mut().poll(context)) {
                Some(Poll::Pending) => return Progress::Waiting(Waiting::Handler),
                Some(Poll::Ready(Ok(response))) if !encode::is_final(response.status()) => {
                    return self.switch(&response, io, serving);
                }
                Some(Poll::Ready(Ok(response))) => self.begin(response, io, serving),
                Some(Poll::Ready(Err(failed))) => {
                    stderr::line(format_args!("a service failed: {}", failed.0));
                    return Progress::Refused(Reject::handler_failed());
                }
                // The panic hook has reported it; it costs this request its answer, no more.
                None => return Progress::Refused(Reject::handler_failed()),
            }
        }
        self.send_body(io, context)
    }

    /// Writes a 101 that belongs to an upgrade; other responses that are not final are refused.
    fn switch(
        &mut self,
        response: &Response<A::Body>,
        io: &mut Io,
        serving: &Serving<A>,
    ) -> Progress {
        let (status, fields) = (response.status(), response.headers());
        let is_switch = status == StatusCode::SWITCHING_PROTOCOLS;
        let offered = self.upgrade.take().filter(|_| is_switch);
        let Some(run) = offered.and_then(|offered| offered.accepted(fields)) else {
            return Progress::Refused(encode::not_final(status));
        };
        let date = serving.date.at(executor::unix_seconds());
        let (version, length) = (self.version, BodyLength::None);
        let head = HeadContext { version, keep_alive: true, length, date: &date };
        io.stream.write(|out| encode::encode_head(out, status, fields, &head));
        io.stream.flush();
        Progress::Upgraded(run)
    }

    /// Writes the head of the response.
    fn begin(&mut self, response: Response<A::Body>, io: &mut Io, serving: &Serving<A>) {
        let (parts, body) = response.into_parts();
        if let Some(offered) = self.upgrade.take() {
            offered.declined(parts.status);
        }
        let closes = encode::asks_to_close(&parts.headers);
        self.ask_for_body(parts.status, io);
        // In the drain the last request that has arrived is the connection's last one.
        let is_last = serving.is_draining() && io.is_idle();
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
            true => Answering::Sent,
            false => Answering::Body(Sending::new(body, length)),
        };
    }

    /// A handler that answers while it holds the body reads it while its answer is sent, so the
    /// interim response has to come before that.
    fn ask_for_body(&mut self, status: StatusCode, io: &Io) {
        let refuses = status.is_client_error() || status.is_server_error();
        if let ExchangeBody::Reading { expects, sender, .. } = &mut self.request_body
            && *expects
            && !refuses
            && !sender.is_reader_gone()
        {
            *expects = false;
            io.stream.write(|out| out.extend_from_slice(CONTINUE));
        }
    }

    /// RFC 9112 §6.3 seen from the sender: which framing this response gets.
    fn length_of(&self, status: StatusCode, fields: &HeaderMap, body: &A::Body) -> BodyLength {
        match encode::content_of(status) {
            Content::Absent => return BodyLength::None,
            Content::Empty => return BodyLength::Known(0),
            Content::Allowed | Content::LengthOnly => {}
        }
        let exact = body.size_hint().exact();
        let is_unchanged = status == StatusCode::NOT_MODIFIED;
        // Frameworks give a body that is empty a length of 0. To HEAD that is what GET would have
        // had; in a 304 it would say that the 200 was empty as well (RFC 9110 §8.6).
        let may_be_zero = self.head_request && !is_unchanged;
        let declared = encode::declared_length(fields).filter(|length| may_be_zero || *length > 0);
        if exact == Some(0) && (self.head_request || is_unchanged) {
            return declared.map_or(BodyLength::None, BodyLength::Known);
        }
        // Where the body does not know its length, as one read from a file does not, the
        // application may, and is held to it.
        match exact.or(declared) {
            // RFC 9110 §6.6.2: trailers are announced, and they need chunks.
            Some(_) if self.version == Version::Http11 && fields.contains_key(TRAILER) => {
                BodyLength::Chunked
            }
            Some(length) => BodyLength::Known(length),
            None if self.version == Version::Http10 => BodyLength::UntilClose,
            None => BodyLength::Chunked,
        }
    }

    /// Whether the rest of the request's body is short enough to be skipped for another request.
    fn body_can_be_skipped(&self) -> bool {
        match &self.request_body {
            ExchangeBody::Done => true,
            ExchangeBody::Reading { expects: true, .. } => false,
            ExchangeBody::Reading { decoder, .. } => !decoder.exceeds(SKIP_MAX_BYTES),
        }
    }

    /// Writes the response's body, as far as the peer takes it.
    fn send_body(&mut self, io: &mut Io, context: &mut Context<'_>) -> Progress {
        while let Answering::Body(sending) = &mut self.response {
            if io.stream.unsent() > UNSENT_MAX_BYTES {
                io.stream.flush();
                match io.stream.poll_sent(context) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => return Progress::Broken,
                    Poll::Pending => return Progress::Waiting(Waiting::Write),
                }
            }
            match sending.next(context) {
                NextPiece::Piece(piece) => io.stream.write(|out| sending.encode(out, &piece)),
                NextPiece::Pending => {
                    io.stream.flush();
                    return Progress::Waiting(Waiting::Handler);
                }
                NextPiece::End(trailers) => {
                    io.stream.write(|out| sending.encode_end(out, trailers.as_ref()));
                    self.response = Answering::Sent;
                }
                NextPiece::Broken => return Progress::CutOff,
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
            ExchangeBody::Reading { .. } if self.keep_alive => Progress::Waiting(Waiting::Body),
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

/// Without a body to read, the peer is watched: a reset ends the exchange, a half-close does not.
fn watch_peer(io: &mut Io, context: &mut Context<'_>) -> Result<Read, Progress> {
    // Once the next request has arrived it is not read further; the window does the rest.
    let failed = match io.rest().is_empty() && !io.ended {
        true => matches!(io.fill(context), Poll::Ready(Err(_))),
        false => io.stream.poll_failed(context).is_ready(),
    };
    if failed { Err(Progress::Broken) } else { Ok(Read::Nothing) }
}

/// While nothing is read of a body, for its reader's sake: a reset ends the exchange.
fn watch_reader(sender: &BodySender, io: &Io, context: &mut Context<'_>) -> Result<Read, Progress> {
    match io.stream.poll_failed(context) {
        Poll::Ready(()) => {
            sender.fail("the connection was lost");
            Err(Progress::Broken)
        }
        Poll::Pending => Ok(Read::Nothing),
    }
}

fn deadline(limit: Duration) -> Option<Deadline> {
    (!limit.is_zero()).then(|| {
        let mut deadline = Deadline::unset();
        deadline.set(limit);
        deadline
    })
}

/// The request's body: whole if it arrived with the head, else streamed.
fn receive_body(
    framing: Framing,
    decoder: BodyDecoder,
    expects: bool,
    io: &mut Io,
) -> (ExchangeBody, Incoming) {
    let length = match framing {
        Framing::None => return (ExchangeBody::Done, Incoming::empty()),
        Framing::Length(length) => {
            let arrived = io.rest().len().min(BUFFER_MAX_BYTES) as u64;
            if length <= arrived {
                let bytes = Bytes::copy_from_slice(&io.rest()[..length as usize]);
                io.consumed += bytes.len();
                return (ExchangeBody::Done, Incoming::full(bytes));
            }
            Some(length)
        }
        Framing::Chunked => None,
    };
    let (sender, incoming) = Incoming::stream(length);
    // A client that sent some of its body already does not wait for `100 Continue`.
    let expects = expects && io.rest().is_empty();
    (ExchangeBody::Reading { decoder, sender, expects, skipped: 0 }, incoming)
}
