//! One connection: hyper's, polled as a local task of its executor, its times and its end.
//!
//! ```text
//!   Open ──idle, last request, drain, refused──► Leaving (GOAWAY) ──streams over──► closed as HTTP/1
//!     │ peer takes nothing, or goes on for ever      │                               closes: half,
//!     └──────────────────────────────────────────────┴──► cut off                    linger, close
//! ```
//!
//! Leaving is graceful (RFC 9113 §6.8): the client is told that no more will be served, what it had
//! sent by then is, and the connection ends with its last stream, or `linger_timeout_ms` after it
//! where the client does not say that it has understood.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::app::service::App;
use crate::http::http1::connection::{Connection, FAREWELLS_MAX, Io};
use crate::http::http1::serving::Place;
use crate::http::http1::timeouts::{WaitTimer, Waiting};
use crate::http::http2::limits::ABANDONED_MAX;
use crate::http::http2::service::{Calls, tell_unheard};
use crate::http::http2::session::Http2Session;
use crate::http::http2::stream::Spawner;
use crate::http::http2::wire::{Http2Wire, WireEnd};

type Hyper<A> = hyper::server::conn::http2::Connection<WireEnd, Calls<A>, Spawner<A>>;

/// Serves a connection; what is left of it is to be closed, unless it was cut off.
pub(crate) async fn serve<A: App>(io: Io, place: Place<A>) -> Option<Connection<A>> {
    let wire = Http2Wire::new(io);
    let end = Serve::begin(wire.clone(), &place).await;
    let Ok(wire) = Rc::try_unwrap(wire) else { return None };
    match end {
        ConnectionEnd::Over => Some(Connection::closing(wire.into_io(), place)),
        ConnectionEnd::CutOff => {
            wire.transport().reset_on_close();
            None
        }
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ConnectionEnd {
    /// All that there was to say is written.
    Over,
    /// The peer is not to get the rest.
    CutOff,
}

struct Serve<'a, A: App> {
    hyper: Pin<Box<Hyper<A>>>,
    session: Rc<Http2Session<A>>,
    wire: Rc<Http2Wire>,
    place: &'a Place<A>,
    /// Requests that had been read when the client was told to leave.
    left_at: Option<u64>,
    /// For the peer to take what hyper writes.
    wait_timer: WaitTimer,
}

impl<'a, A: App> Serve<'a, A> {
    fn begin(wire: Rc<Http2Wire>, place: &'a Place<A>) -> Self {
        let serving = place.shared().clone();
        let peer = serving.app.wants_peers().then(|| wire.transport().peer_addr().ok()).flatten();
        let session = Http2Session::new(serving, &wire, peer, place.is_refused());
        let serving = &session.serving;
        let builder = serving.http2.builder(Spawner(session.clone()), &serving.timeouts);
        let hyper = builder.serve_connection(WireEnd(wire.clone()), Calls(session.clone()));
        let hyper = Box::pin(hyper);
        let serve =
            Serve { hyper, session, wire, place, left_at: None, wait_timer: WaitTimer::new() };
        serve.renew_idle();
        serve
    }

    /// Whether this connection is to take no further request.
    fn is_over_soon(&self) -> bool {
        let Http2Session { serving, is_refused, .. } = &*self.session;
        let begun = self.session.begun();
        serving.is_draining()
            || *is_refused && begun > 0
            || begun >= serving.requests_max
            || self.session.is_last()
            || self.session.abandoned() > ABANDONED_MAX
    }

    /// Tells the client to make another connection for what it has not sent yet.
    fn leave(&mut self) {
        if self.left_at.is_none() {
            self.left_at = Some(self.session.begun());
            self.renew_idle();
            self.hyper.as_mut().graceful_shutdown();
        }
    }

    /// What ends the connection without an answer.
    fn is_unbearable(&self) -> bool {
        // A client that was told to leave and goes on is not served for ever.
        let farewells = self.left_at.map_or(0, |at| self.session.begun() - at);
        self.session.is_stuck() || farewells > u64::from(FAREWELLS_MAX)
    }

    /// Ready when the peer takes too long to read.
    fn poll_blocked(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let (timer, timeouts) = (&mut self.wait_timer, &self.session.serving.timeouts);
        match self.wire.is_blocked() {
            true => timer.poll_sent(Waiting::Write, self.wire.transport(), timeouts, context),
            false => timer.poll(Waiting::Handler, 0, timeouts, context),
        }
    }

    /// Ready when there was no request for too long. A PING is none.
    fn poll_idle(&self, context: &mut Context<'_>) -> Poll<()> {
        // Within a stream it begins anew with each poll of the connection, which the stream's answer
        // brings about, and then with the stream's end.
        if !self.session.is_idle() {
            self.renew_idle();
        }
        while self.session.idle.borrow_mut().poll(context).is_ready() {
            if self.session.is_idle() {
                return Poll::Ready(());
            }
            self.renew_idle();
        }
        Poll::Pending
    }

    fn renew_idle(&self) {
        let limit = self.idle_limit();
        self.session.idle_limit.set(limit);
        self.session.idle.borrow_mut().set(limit);
    }

    fn idle_limit(&self) -> Duration {
        let waiting = match (self.left_at, self.session.begun()) {
            (Some(_), _) => Waiting::Linger,
            (None, 0) => Waiting::Head,
            (None, _) => Waiting::NextRequest,
        };
        self.session.serving.timeouts.limit(waiting).unwrap_or(Duration::MAX)
    }
}

impl<A: App> Future for Serve<'_, A> {
    type Output = ConnectionEnd;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<ConnectionEnd> {
        let this = &mut *self;
        this.place.keep_waker(context.waker());
        this.session.keep_waker(context.waker());
        loop {
            if this.is_over_soon() {
                this.leave();
            }
            // Whatever ended it, hyper has written what there was to be said.
            let polled = this.hyper.as_mut().poll(context);
            (0..this.wire.take_untold()).for_each(|_| tell_unheard(&this.session));
            if polled.is_ready() {
                return Poll::Ready(ConnectionEnd::Over);
            }
            if this.is_unbearable() || this.poll_blocked(context).is_ready() {
                return Poll::Ready(ConnectionEnd::CutOff);
            }
            if this.poll_idle(context).is_ready() {
                if this.left_at.is_some() {
                    return Poll::Ready(ConnectionEnd::Over);
                }
                this.leave();
                continue;
            }
            if this.is_over_soon() && this.left_at.is_none() {
                continue;
            }
            this.wire.transport().flush();
            return Poll::Pending;
        }
    }
}

// Nothing in it is pinned in place: hyper's is boxed.
impl<A: App> Unpin for Serve<'_, A> {}
