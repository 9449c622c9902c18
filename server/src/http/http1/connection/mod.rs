//! One connection: a state machine polled as a local task of its executor.
//!
//! ```text
//!        ┌────────────── keep-alive ─────────────┐
//!        ▼                                        │
//!      Head ──request──► Exchange (body in, handler, body out) ──101──► see `upgrade`
//!        │ refused, idle, end         │ close, failed
//!        ▼                            ▼
//!      Flush ──all sent──► Linger ──peer's end, or time──► closed
//! ```
//!
//! Bytes that arrived wait in `input`; answers gather in the stream and leave in one send at the
//! end of the poll, so pipelined requests are answered together and in their order. Closing is
//! always half-close, drain, close, lest a reset destroy the answer (RFC 9112 §9.6).

mod io;
mod prior;

use std::future::Future;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{HeaderMap, StatusCode};
use sidecore_runtime::executor;

use crate::codec::head::{HEADER_COUNT_CAP, Parsed, Version, check_end, next_head};
use crate::codec::reject::Reject;
use crate::http::http1::direct::{direct, whole_size};
use crate::http::http1::encode::{self, BodyLength, HeadContext};
use crate::http::http1::exchange::{Exchange, ExchangeStage, Progress};
use crate::http::http1::http2_preface::Begins;
use crate::http::http1::lingering::Lingering;
use crate::http::http1::request_head::Started;
use crate::http::http1::serving::Place;
use crate::http::http1::timeouts::{WaitTimer, Waiting};
use crate::http::http1::upgrade::Run;

use crate::app::service::{App, RefusedRequest, drop_answered};
use crate::http::transport::Transport;

pub(crate) use crate::http::http1::connection::io::Io;

/// Requests answered before other connections get their turn.
const REQUESTS_PER_POLL: usize = 64;
/// Unsent bytes at which no further request is read, and no body polled.
pub(crate) const UNSENT_MAX_BYTES: usize = 256 * 1024;
/// Requests answered on a connection after the drain began, for those that had arrived by then: a
/// client that keeps sending would otherwise never be told to stop.
pub(crate) const FAREWELLS_MAX: u32 = 1024;
/// A connection; its future ends when it is closed.
pub(crate) struct Connection<A: App> {
    state: ConnectionState<A>,
    io: Io,
    place: Place<A>,
    /// The peer's address, once it was asked for.
    peer: Option<SocketAddr>,
    /// Requests answered.
    served: u64,
    /// Requests read since the drain began.
    farewells: u32,
    wait_timer: WaitTimer,
}

enum ConnectionState<A: App> {
    Head,
    /// It was taken over; what is to be done with it is left to its task.
    Upgraded(Run),
    /// The client speaks HTTP/2, from the first byte on.
    #[cfg(feature = "http2")]
    Http2,
    Exchange(Box<Exchange<A>>),
    Flush,
    Linger(Lingering),
}

/// What a step came to.
enum Step {
    Again,
    Wait(Waiting),
    Close,
}

impl<A: App> Connection<A> {
    pub(crate) fn new(stream: Transport, place: Place<A>) -> Self {
        let refused = place.is_refused();
        let mut connection = Connection::begin(ConnectionState::Head, Io::new(stream), place);
        if refused {
            connection.refuse(Reject::no_room());
        }
        connection
    }

    /// A connection that is told why it is not served.
    #[cfg(feature = "tls")]
    pub(crate) fn refused(stream: Transport, place: Place<A>, reject: Reject) -> Self {
        let mut connection = Connection::begin(ConnectionState::Head, Io::new(stream), place);
        connection.refuse(reject);
        connection
    }

    /// A connection that only has to be closed, after what was written to it.
    pub(crate) fn closing(io: Io, place: Place<A>) -> Self {
        Connection::begin(ConnectionState::Flush, io, place)
    }

    fn begin(state: ConnectionState<A>, io: Io, place: Place<A>) -> Self {
        let wait_timer = WaitTimer::new();
        Connection { state, io, place, peer: None, served: 0, farewells: 0, wait_timer }
    }

    /// When its future has ended: what it was upgraded to, if it was.
    pub(crate) fn into_upgraded(self) -> Option<(Run, Io, Place<A>)> {
        match self.state {
            ConnectionState::Upgraded(run) => Some((run, self.io, self.place)),
            _ => None,
        }
    }

    fn step(&mut self, context: &mut Context<'_>) -> Step {
        match &mut self.state {
            ConnectionState::Head => self.head(context),
            ConnectionState::Upgraded(_) => Step::Close,
            #[cfg(feature = "http2")]
            ConnectionState::Http2 => Step::Close,
            ConnectionState::Exchange(_) => self.exchange(context),
            ConnectionState::Flush => self.flush(context),
            ConnectionState::Linger(_) => self.linger(context),
        }
    }

    /// Reads the next head and starts its exchange.
    fn head(&mut self, context: &mut Context<'_>) -> Step {
        if self.io.stream.unsent() > UNSENT_MAX_BYTES {
            self.io.stream.flush();
            return match self.io.stream.poll_sent(context) {
                Poll::Ready(Ok(())) => {
                    self.wait_timer.renew();
                    Step::Again
                }
                Poll::Ready(Err(_)) => Step::Close,
                Poll::Pending => Step::Wait(Waiting::Write),
            };
        }
        if !self.io.rest().is_empty() {
            match self.parse() {
                Ok(true) => return Step::Again,
                Ok(false) => {}
                Err(reject) => match self.begins() {
                    Begins::Otherwise => return self.refuse(reject),
                    Begins::Http2 => return self.http2(reject),
                    Begins::Part => {}
                },
            }
        }
        match self.io.fill(context) {
            Poll::Ready(Ok(true)) => return Step::Again,
            Poll::Ready(Ok(false)) => return self.end_of_requests(),
            Poll::Ready(Err(_)) => return Step::Close,
            Poll::Pending => {}
        }
        let idle = self.io.is_idle();
        if self.place.serving().is_draining() {
            if !idle {
                // A request has begun: it is read to its end and answered.
                self.io.stream.release();
            } else if self.stop_receiving() {
                self.state = ConnectionState::Flush;
                return Step::Again;
            }
        }
        match idle && self.served > 0 {
            true => Step::Wait(Waiting::NextRequest),
            false => Step::Wait(Waiting::Head),
        }
    }

    /// In the drain, before closing an idle connection: what is on its way is still answered.
    fn stop_receiving(&self) -> bool {
        self.io.stream.hold();
        self.io.stream.is_quiet()
    }

    fn end_of_requests(&mut self) -> Step {
        if let Err(reject) = check_end(self.io.rest()) {
            return self.refuse(reject);
        }
        self.state = ConnectionState::Flush;
        Step::Again
    }

    /// Parses a head and answers it or starts its exchange; false if it is not all there.
    fn parse(&mut self) -> Result<bool, Reject> {
        match self.try_parse() {
            Err(reject) if reject.is_version() && self.io.take_minor_version() => self.try_parse(),
            parsed => parsed,
        }
    }

    fn try_parse(&mut self) -> Result<bool, Reject> {
        let mut slots = [MaybeUninit::uninit(); HEADER_COUNT_CAP];
        let serving = self.place.serving();
        let input = &self.io.input[self.io.consumed..];
        let limits = serving.head_limits(self.io.stream.is_secured());
        let parsed = next_head(input, &mut self.io.scan, &mut slots, limits)?;
        let Parsed::Complete(mut head) = parsed else { return Ok(false) };
        if serving.app.wants_peers() {
            // One system call a connection. One that was reset has no address any more.
            self.peer = self.peer.or_else(|| self.io.stream.peer_addr().ok());
            head.peer = self.peer;
        }
        self.served += 1;
        // Each request has time limits of its own, however it is answered.
        self.wait_timer.renew();
        let size = head.size_bytes;
        // In the drain the last request that has arrived is the connection's last one.
        self.farewells += u32::from(serving.is_draining());
        let whole = whole_size(&head, input.len(), serving.body_size_max);
        let goes_on = self.farewells == 0
            || self.farewells < FAREWELLS_MAX && input.len() > whole.unwrap_or(size);
        let keep_alive = head.keep_alive && self.served < serving.requests_max && goes_on;
        if let Some(whole) = whole
            && let Some(plain) = direct(&*serving.app, &head, &input[size..whole])?
        {
            if !encode::is_final(plain.status) {
                return Err(encode::not_final(plain.status));
            }
            let date = serving.date.at(executor::unix_seconds());
            let (version, head_only) = (head.version, head.method == "HEAD");
            self.io.answer(&plain, version, head_only, keep_alive, &date);
            self.io.consume_head(whole);
            if !keep_alive {
                self.state = ConnectionState::Flush;
            }
            return Ok(true);
        }
        let started = Started::new(&head, keep_alive, serving.body_size_max)?;
        self.io.consume_head(size);
        self.io.stream.release();
        let exchange = Exchange::start(started, &mut self.io, serving);
        self.state = ConnectionState::Exchange(Box::new(exchange));
        Ok(true)
    }

    fn exchange(&mut self, context: &mut Context<'_>) -> Step {
        let ConnectionState::Exchange(exchange) = &mut self.state else { return Step::Close };
        let progress = exchange.poll(&mut self.io, self.place.serving(), context);
        match progress {
            Progress::Waiting(waiting) => Step::Wait(waiting),
            Progress::Progressed => Step::Again,
            Progress::Done { keep_alive } => {
                self.wait_timer.renew();
                self.state =
                    if keep_alive { ConnectionState::Head } else { ConnectionState::Flush };
                Step::Again
            }
            Progress::Upgraded(run) => {
                self.state = ConnectionState::Upgraded(run);
                Step::Close
            }
            Progress::Refused(reject) => self.refuse(reject),
            Progress::CutOff => {
                self.io.stream.cut_off();
                self.state = ConnectionState::Flush;
                Step::Again
            }
            Progress::Broken => Step::Close,
        }
    }

    /// Sends what is left to send, then half-closes.
    fn flush(&mut self, context: &mut Context<'_>) -> Step {
        self.io.stream.end();
        self.io.stream.flush();
        match self.io.stream.poll_sent(context) {
            Poll::Ready(Err(_)) => Step::Close,
            Poll::Pending => Step::Wait(Waiting::Write),
            Poll::Ready(Ok(())) if self.io.ended => Step::Close,
            Poll::Ready(Ok(())) => {
                self.io.stream.shutdown_write();
                self.io.stream.release();
                self.state = ConnectionState::Linger(Lingering::default());
                Step::Again
            }
        }
    }

    /// Throws away what the peer still sends, until its end.
    fn linger(&mut self, context: &mut Context<'_>) -> Step {
        let ConnectionState::Linger(lingering) = &mut self.state else { return Step::Close };
        let discarded = self.io.rest().len();
        self.io.consumed = self.io.input.len();
        if lingering.is_over(discarded, context) {
            return Step::Close;
        }
        match self.io.fill(context) {
            Poll::Ready(Ok(true)) => Step::Again,
            Poll::Ready(_) => Step::Close,
            Poll::Pending => Step::Wait(Waiting::Linger),
        }
    }

    /// Answers with a refusal; the connection closes after it.
    fn refuse(&mut self, reject: Reject) -> Step {
        // RFC 9110 §9.3.2: no answer to HEAD has content, a refusal neither.
        let head_only = match &self.state {
            ConnectionState::Exchange(exchange) => exchange.is_head_request(),
            _ => self.io.rest().trim_ascii_start().starts_with(b"HEAD "),
        };
        let (serving, fields) = (self.place.serving(), reject.fields());
        let reason = if head_only { "" } else { reject.reason() };
        let context = HeadContext {
            version: Version::Http11,
            keep_alive: false,
            length: BodyLength::Known(reject.reason().len() as u64),
            date: &serving.date.at(executor::unix_seconds()),
        };
        self.io.stream.write(|out| {
            encode::encode_head(out, reject.status(), &fields, &context);
            out.extend_from_slice(reason.as_bytes());
        });
        let (status, body_bytes) = (reject.status(), reason.len() as u64);
        match std::mem::replace(&mut self.state, ConnectionState::Flush) {
            ConnectionState::Exchange(exchange) => drop_answered(exchange, status, body_bytes),
            _ => self.tell_refused(status, body_bytes, &fields),
        }
        Step::Again
    }

    /// An application that has no call for a request, such as a log, is told of its answer.
    fn tell_refused(&mut self, status: StatusCode, body_bytes: u64, fields: &HeaderMap) {
        let wants_peers = self.place.serving().app.wants_peers();
        let peer = if wants_peers { self.peer_address() } else { None };
        let (received, is_secured) = (self.io.rest(), self.io.stream.is_secured());
        let waited = self.wait_timer.head_awaited(&self.place.serving().timeouts);
        let app = &self.place.serving().app;
        app.refused(&RefusedRequest {
            status,
            body_bytes,
            fields,
            received,
            peer,
            is_secured,
            waited,
        });
    }

    /// One system call a connection. One that was reset has no address any more.
    fn peer_address(&mut self) -> Option<SocketAddr> {
        self.peer = self.peer.or_else(|| self.io.stream.peer_addr().ok());
        self.peer
    }

    /// The time limit of what is waited for has passed.
    fn timed_out(&mut self, waiting: Waiting) -> Step {
        if let ConnectionState::Exchange(exchange) = &self.state {
            match exchange.stage() {
                ExchangeStage::Unanswered => {}
                // An answer that has begun cannot become another.
                ExchangeStage::Begun => return self.cut(),
                ExchangeStage::Answered if waiting == Waiting::Write => return self.cut(),
                ExchangeStage::Answered => {
                    self.state = ConnectionState::Flush;
                    return Step::Again;
                }
            }
        }
        match waiting {
            // A connection that never sent a byte gets no answer it did not ask for.
            Waiting::Head if self.io.is_idle() => Step::Close,
            Waiting::Head => self.refuse(Reject::timeout("the head took too long")),
            Waiting::Body => self.refuse(Reject::timeout("the body took too long")),
            Waiting::Handler => self.refuse(Reject::unavailable("the request took too long")),
            Waiting::NextRequest => {
                self.state = ConnectionState::Flush;
                Step::Again
            }
            Waiting::Write => self.cut(),
            Waiting::Linger | Waiting::HandlerForEnded => Step::Close,
        }
    }

    /// Ends a connection whose peer does not take its answer: what is queued for it goes as well.
    fn cut(&mut self) -> Step {
        self.io.stream.reset_on_close();
        Step::Close
    }

    /// Waits, within the time limits of what is waited for and of the request.
    fn wait(&mut self, waiting: Waiting, context: &mut Context<'_>) -> Poll<Step> {
        let waiting = match waiting {
            Waiting::Handler if self.io.ended => Waiting::HandlerForEnded,
            waiting => waiting,
        };
        let (timer, timeouts) = (&mut self.wait_timer, &self.place.serving().timeouts);
        let polled = match waiting {
            Waiting::Write | Waiting::HandlerForEnded => {
                timer.poll_sent(waiting, &self.io.stream, timeouts, context)
            }
            _ => timer.poll(waiting, self.io.received, timeouts, context),
        };
        let mut passed = polled.is_ready();
        if let ConnectionState::Exchange(exchange) = &mut self.state {
            passed |= exchange.poll_overdue(context).is_ready();
        }
        match passed {
            true => Poll::Ready(self.timed_out(waiting)),
            false => Poll::Pending,
        }
    }
}

impl<A: App> Future for Connection<A> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.place.keep_waker(context.waker());
        for _ in 0..REQUESTS_PER_POLL {
            let step = match this.step(context) {
                Step::Wait(waiting) => {
                    this.io.stream.flush();
                    this.io.recycle();
                    match this.wait(waiting, context) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(step) => step,
                    }
                }
                step => step,
            };
            if let Step::Close = step {
                return Poll::Ready(());
            }
        }
        this.io.stream.flush();
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

// Nothing in a connection is pinned in place: futures and bodies are boxed.
impl<A: App> Unpin for Connection<A> {}
