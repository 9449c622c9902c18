//! A connection that leaves HTTP (RFC 9110 §7.8), and comes back to be closed as any other.
//!
//! ```text
//!  Connection ── 101 is written ──► Upgraded future, polled by the connection's task
//!      ▲                                │ holds the stream and what had arrived behind the head
//!      └── Flush, Linger ◄── dropped ───┘
//! ```
//!
//! Nothing of it crosses a thread: what the handler leaves in its [`Upgrade`] is a function that
//! is called on the executor, once the 101 is written.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::header::UPGRADE;
use http::{HeaderMap, Request, StatusCode};

use sidecore_runtime::sys::panics::drop_quietly;

use crate::app::service::App;
use crate::http::http1::connection::{Connection, Io, UNSENT_MAX_BYTES};
use crate::http::http1::panicked;
use crate::http::http1::peer_watch::{News, PeerWatch};
use crate::http::http1::serving::Place;
use crate::http::hyper_upgrade::{self, Minted};

/// What goes on with a connection after the 101.
pub(crate) type Run = Box<dyn FnOnce(Upgraded) -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// The right to take a connection over. It is in the extensions of each HTTP/1.1 request that
/// offers to change the protocol (`Connection: upgrade`) and has no body.
///
/// A handler that wants it leaves with [`then`](Self::then) what is to go on, and answers 101 with
/// the field `Upgrade`. With any other answer what was left is dropped, and the connection goes on
/// as HTTP. A 101 without it is an error of the application: its request gets 500.
#[derive(Clone)]
pub struct Upgrade {
    run: Arc<Mutex<Option<Run>>>,
}

impl Upgrade {
    /// Takes it out of a request; None where the client offers no upgrade.
    pub fn take<B>(request: &mut Request<B>) -> Option<Upgrade> {
        request.extensions_mut().remove()
    }

    /// Has `run` go on with the connection once a 101 is sent. It is called on the connection's
    /// executor and its future stays there, as a part of the connection's task: a panic in it ends
    /// the connection and no more. The connection is closed when what it was given is dropped and
    /// its future has ended; at shutdown it has the drain's time.
    ///
    /// Where the connection is lost while the future waits for something else ([`Upgraded::lost`]
    /// tells it), it has `half_close_timeout_ms` to take notice, by any error of its stream. Then it
    /// is dropped, as a handler's future is: what must happen in any case belongs into a `Drop`.
    pub fn then<F>(self, run: impl FnOnce(Upgraded) -> F + Send + 'static)
    where
        F: Future<Output = ()> + 'static,
    {
        let run: Run = Box::new(|upgraded| Box::pin(run(upgraded)));
        *self.run.lock().unwrap_or_else(PoisonError::into_inner) = Some(run);
    }

    /// What the handler has left.
    fn left(&self) -> Option<Run> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade").finish_non_exhaustive()
    }
}

/// What a request was offered that offers an upgrade.
pub(crate) struct Offered {
    upgrade: Upgrade,
    minted: Option<Box<Minted>>,
}

impl Offered {
    /// Puts the right to an upgrade into a request.
    pub(crate) fn to(request: &mut Request<()>) -> Self {
        let upgrade = Upgrade { run: Arc::new(Mutex::new(None)) };
        let extensions = request.extensions_mut();
        extensions.insert(upgrade.clone());
        Offered { upgrade, minted: hyper_upgrade::mint(extensions) }
    }

    /// The handler has answered 101 with these fields: what goes on with the connection, if it has
    /// left anything for that and says what is switched to (RFC 9110 §15.2.2).
    pub(crate) fn accepted(self, fields: &HeaderMap) -> Option<Run> {
        let protocol = fields.get(UPGRADE)?;
        let is_websocket = protocol.as_bytes().eq_ignore_ascii_case(b"websocket");
        match (self.upgrade.left(), self.minted) {
            (Some(run), _) => Some(run),
            (None, Some(minted)) => minted.deliver(is_websocket),
            (None, None) => {
                hyper_upgrade::advise(StatusCode::SWITCHING_PROTOCOLS);
                None
            }
        }
    }

    /// The handler has answered otherwise: what it has left is dropped.
    pub(crate) fn declined(self, status: StatusCode) {
        drop_quietly(self.upgrade.left());
        hyper_upgrade::advise(status);
    }
}

/// A connection after its 101: bytes both ways. It has no time limits of its own; dropping it has
/// the connection closed, after what was written is sent.
pub struct Upgraded {
    /// Gone only while it is dropped.
    io: Option<Io>,
    home: Rc<Home>,
}

/// What an upgraded connection shares with its task.
struct Home {
    /// How long the peer may take nothing of what waits for it.
    write_timeout: Duration,
    /// Where the stream comes back to.
    io: RefCell<Option<Io>>,
    io_waker: RefCell<Option<Waker>>,
    /// What is unsent is not worth the wait: the connection is reset.
    reset: Cell<bool>,
    draining: Cell<bool>,
    drain_waker: RefCell<Option<Waker>>,
    news: News,
}

impl Upgraded {
    /// Receives more to the end of `into`, as many bytes as there are; 0 is the peer's end. Over TLS
    /// an end that the peer did not say is an error: it may be anybody's. What
    /// had arrived with the request comes first. Dropping the future loses nothing.
    ///
    /// # Errors
    /// Where the connection is lost, or was silent for longer than its limit.
    pub async fn recv(&mut self, into: &mut Vec<u8>) -> io::Result<usize> {
        poll_fn(|context| {
            let io = self.io_mut();
            while io.rest().is_empty() {
                match std::task::ready!(io.fill(context)) {
                    Ok(true) => {}
                    Ok(false) if io.stream.is_cut_off() => {
                        // It may read on, as one that has said its end.
                        return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                    }
                    Ok(false) => return Poll::Ready(Ok(0)),
                    Err(error) => return Poll::Ready(Err(self.failed(error))),
                }
            }
            let count = io.rest().len();
            into.extend_from_slice(io.rest());
            io.consumed = io.input.len();
            self.has_taken();
            Poll::Ready(Ok(count))
        })
        .await
    }

    /// Sends `bytes`; waits first while more than 256 KiB are unsent. An error says that the
    /// connection is lost. Dropping the future before it is ready sends nothing.
    ///
    /// # Errors
    /// Where the connection is lost, or its peer takes nothing for longer than its limit.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        poll_fn(|context| {
            if self.home.news.is_known.get() {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            let stream = &self.io_mut().stream;
            let is_lost = stream.poll_failed(context).is_ready();
            if is_lost || stream.unsent() > UNSENT_MAX_BYTES {
                stream.flush();
                return stream.poll_sent(context).map_err(|error| self.failed(error));
            }
            Poll::Ready(Ok(()))
        })
        .await?;
        let stream = &self.io_mut().stream;
        stream.write(|out| out.extend_from_slice(bytes));
        stream.flush();
        Ok(())
    }

    /// Waits until the connection is lost, for who waits for something else meanwhile: the peer has
    /// reset it, or has been silent for so long that the kernel gave it up (for a WebSocket: or has
    /// ended it). What had arrived before can still be received.
    pub async fn lost(&self) {
        poll_fn(|context| self.poll_lost(context)).await;
    }

    /// Waits until the server shuts down: then the connection should be brought to its end.
    pub async fn draining(&self) {
        poll_fn(|context| self.poll_draining(context)).await;
    }

    /// Whether the server shuts down.
    pub fn is_draining(&self) -> bool {
        self.home.draining.get()
    }

    /// Has the connection reset as soon as this is dropped: what is unsent goes with it.
    pub fn reset(&mut self) {
        self.io_mut().stream.reset_on_close();
        self.home.reset.set(true);
    }

    pub(crate) fn poll_lost(&self, context: &Context<'_>) -> Poll<()> {
        self.home.news.poll_lost(context)
    }

    /// The protocol that is spoken here ends with its peer's end.
    #[cfg(any(feature = "websocket", feature = "hyper-upgrade"))]
    pub(crate) fn ends_with_peer(&self) {
        self.home.news.ends_with_peer.set(true);
    }

    /// The application has got something of what the peer sent.
    pub(crate) fn has_taken(&self) {
        let taken = &self.home.news.taken;
        taken.set(taken.get() + 1);
    }

    /// The application learns of the end of the connection.
    pub(crate) fn is_known_to_end(&self) {
        self.home.news.is_known.set(true);
    }

    fn failed(&self, error: io::Error) -> io::Error {
        self.is_known_to_end();
        error
    }

    pub(crate) fn poll_draining(&self, context: &Context<'_>) -> Poll<()> {
        if self.is_draining() {
            return Poll::Ready(());
        }
        let mut kept = self.home.drain_waker.borrow_mut();
        if !kept.as_ref().is_some_and(|kept| kept.will_wake(context.waker())) {
            *kept = Some(context.waker().clone());
        }
        Poll::Pending
    }

    /// How long the configuration lets a peer take nothing of what waits for it (`write_timeout_ms`).
    /// It is not enforced here: [`send`](Self::send) waits for as long as it takes.
    pub fn write_timeout(&self) -> Duration {
        self.home.write_timeout
    }

    pub(crate) fn io_mut(&mut self) -> &mut Io {
        self.io.as_mut().expect("it is there until the drop")
    }
}

impl Drop for Upgraded {
    fn drop(&mut self) {
        if let Some(io) = self.io.take() {
            io.stream.flush();
            *self.home.io.borrow_mut() = Some(io);
        }
        wake(&self.home.io_waker);
    }
}

/// The task of a connection: HTTP, and what it may be upgraded to.
#[expect(clippy::large_enum_variant, reason = "nearly all are of the largest, for all their life")]
pub(crate) enum ConnectionTask<A: App> {
    Http(Connection<A>),
    Upgraded(Host<A>),
    /// From its first byte on; what is left of it then is closed as any other.
    #[cfg(feature = "http2")]
    Http2(Pin<Box<dyn Future<Output = Option<Connection<A>>>>>),
    Over,
}

/// A connection that is lent to what it was upgraded to.
pub(crate) struct Host<A: App> {
    /// None when it has ended.
    running: Option<Pin<Box<dyn Future<Output = ()>>>>,
    home: Rc<Home>,
    /// Boxed, as few connections are upgraded.
    peer_watch: Box<PeerWatch>,
    place: Place<A>,
}

impl<A: App> Host<A> {
    fn start(run: Run, io: Io, place: Place<A>, context: &mut Context<'_>) -> Self {
        let peer_watch = Box::new(PeerWatch::new(io.stream.watch()));
        // From here on the task is woken by what becomes of the peer, whatever the application does.
        let _ = io.stream.poll_failed(context);
        let home = Rc::new(Home {
            write_timeout: place.serving().timeouts.write(),
            io: RefCell::default(),
            io_waker: RefCell::default(),
            reset: Cell::new(false),
            draining: Cell::new(false),
            drain_waker: RefCell::default(),
            news: News::default(),
        });
        let upgraded = Upgraded { io: Some(io), home: home.clone() };
        let running = panicked::caught(|| run(upgraded));
        Host { running, home, peer_watch, place }
    }

    /// Ready with the stream when all is over.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Io> {
        self.place.keep_waker(context.waker());
        if self.place.serving().is_draining() && !self.home.draining.replace(true) {
            wake(&self.home.drain_waker);
        }
        if let Some(running) = &mut self.running {
            if let Some(Poll::Pending) = panicked::caught(|| running.as_mut().poll(context)) {
                let limit = self.place.serving().timeouts.half_close();
                std::task::ready!(self.peer_watch.poll(&self.home.news, limit, context));
            }
            drop_quietly(self.running.take());
        }
        // It may be held by another task still.
        *self.home.io_waker.borrow_mut() = Some(context.waker().clone());
        self.home.io.borrow_mut().take().map_or(Poll::Pending, Poll::Ready)
    }
}

impl<A: App> Future for ConnectionTask<A> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        loop {
            match &mut *self {
                ConnectionTask::Http(connection) => {
                    std::task::ready!(Pin::new(connection).poll(context));
                    let ConnectionTask::Http(connection) =
                        std::mem::replace(&mut *self, ConnectionTask::Over)
                    else {
                        return Poll::Ready(());
                    };
                    #[cfg(feature = "http2")]
                    if connection.speaks_http2() {
                        let (io, place) = connection.into_parts();
                        let serving = Box::pin(crate::http::http2::serve(io, place));
                        *self = ConnectionTask::Http2(serving);
                        continue;
                    }
                    let Some((run, io, place)) = connection.into_upgraded() else {
                        return Poll::Ready(());
                    };
                    *self = ConnectionTask::Upgraded(Host::start(run, io, place, context));
                }
                ConnectionTask::Upgraded(host) => {
                    let io = std::task::ready!(host.poll(context));
                    let ConnectionTask::Upgraded(host) =
                        std::mem::replace(&mut *self, ConnectionTask::Over)
                    else {
                        return Poll::Ready(());
                    };
                    if host.home.reset.get() {
                        return Poll::Ready(());
                    }
                    *self = ConnectionTask::Http(Connection::closing(io, host.place));
                }
                #[cfg(feature = "http2")]
                ConnectionTask::Http2(serving) => {
                    *self = match std::task::ready!(serving.as_mut().poll(context)) {
                        Some(connection) => ConnectionTask::Http(connection),
                        None => ConnectionTask::Over,
                    };
                }
                ConnectionTask::Over => return Poll::Ready(()),
            }
        }
    }
}

// Futures are boxed; nothing else is pinned in place.
impl<A: App> Unpin for ConnectionTask<A> {}

fn wake(waker: &RefCell<Option<Waker>>) {
    let waker = waker.borrow_mut().take();
    if let Some(waker) = waker {
        waker.wake();
    }
}
