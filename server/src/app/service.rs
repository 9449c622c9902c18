//! What the connection asks of an application: the seam between HTTP and `tower`.

use std::cell::Cell;
use std::fmt::{self, Display};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::app::body::Incoming;
use crate::codec::head::RequestHead;

/// An application, as an executor serves it. Every `tower::Service` over `http` types that can be
/// cloned is one, such as [`service_fn`](crate::service_fn) makes of a function, or a `Router` of axum's;
/// [`Direct`] adds answers that need no `http` types.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot serve requests",
    label = "this is no `sidecore::App`",
    note = "a closure or function serves as `sidecore::service_fn(|request| async move {{ \"hello\" }})`",
    note = "any other `tower::Service<Request<sidecore::Incoming>>` serves, a `Router` of axum's for \
            instance, if it is `Clone`, its response a `Response<B>`, its error `Display`, and `B` a body \
            of `Bytes` whose error is `Display`"
)]
pub trait App: 'static {
    /// The body of its responses.
    type Body: Body<Data = Bytes, Error: Display> + 'static;
    /// The future of a response.
    type Future: Future<Output = Result<Response<Self::Body>, ServiceFailed>> + 'static;

    /// Answers a request at once, from its borrowed head and body, or leaves it to `call`. Asked
    /// where all of the request has arrived, in HTTP/1, and its body, if any, is not chunked: what
    /// is answered here must be answered by `call` too.
    fn direct(&self, _head: &RequestHead<'_>, _body: &[u8]) -> Option<Plain> {
        None
    }

    /// Answers a request. Dropping the future is what becomes of one whose connection is lost, or
    /// whose client gives it up, as HTTP/2 can.
    ///
    /// A request of HTTP/2 has [`Version::HTTP_2`](http::Version::HTTP_2) and an absolute URI, its
    /// authority in Host as well; all else is as in HTTP/1.1.
    fn call(&self, request: Request<Incoming>) -> Self::Future;

    /// Whether each request is to come with a [`PeerAddress`] in its extensions, and each borrowed
    /// head with its peer. It costs a system call a connection, and two allocations a request
    /// that is no direct answer; by default there is none.
    fn wants_peers(&self) -> bool {
        false
    }

    /// Told of a request that the connection has refused and the application was not asked for: it
    /// is malformed, too large or too slow, or there is no room for its connection. Called in the
    /// middle of the connection's work: it may take note, and shall not take long. An application
    /// around another passes it on.
    fn refused(&self, _refused: &RefusedRequest<'_>) {}
}

/// A request that the connection refused without asking the application.
#[derive(Clone, Copy, Debug)]
pub struct RefusedRequest<'a> {
    /// The status of the answer.
    pub status: StatusCode,
    /// Bytes of the answer's body.
    pub body_bytes: u64,
    /// The fields of the answer, but for those of framing, connection and date.
    pub fields: &'a HeaderMap,
    /// What had arrived and was not answered: a head, or a part of one, or nothing. A client's
    /// bytes as they are.
    pub received: &'a [u8],
    /// Who sent it, where the application [wants to know](App::wants_peers).
    pub peer: Option<SocketAddr>,
    /// Whether its connection is secured by TLS.
    pub is_secured: bool,
    /// How long its head had been awaited, from its first byte on (of the first one of a connection
    /// from the accept on).
    pub waited: Duration,
}

impl<'a> RefusedRequest<'a> {
    /// What of the request line had arrived, without the end of the line: blank lines before it are
    /// skipped (RFC 9112 §2.2).
    pub fn line(&self) -> &'a [u8] {
        let blank = self.received.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let line = self.received[blank..].split(|&byte| byte == b'\n').next().unwrap_or_default();
        line.strip_suffix(b"\r").unwrap_or(line)
    }
}

thread_local! {
    /// The connection's answer to the request whose future it drops, while it does.
    static INSTEAD: Cell<Option<(StatusCode, u64)>> = const { Cell::new(None) };
}

/// Drops what the application would have answered with, where the connection has answered in its
/// place, with that status and so many bytes of body.
pub(crate) fn drop_answered(unanswered: impl Sized, status: StatusCode, body_bytes: u64) {
    /// A drop of the application's may panic.
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            INSTEAD.set(None);
        }
    }
    INSTEAD.set(Some((status, body_bytes)));
    let _reset = Reset;
    drop(unanswered);
}

/// How the connection has answered a request in the application's place, its status and the bytes
/// of its body. To be asked in the drop of a future that was not ready; `None` where nothing was
/// answered, as with a connection that is lost.
pub fn answered_instead() -> Option<(StatusCode, u64)> {
    INSTEAD.get()
}

/// In the extensions of a request that came over TLS: its scheme is https, whatever its target and
/// its fields say. A request without it came over a plain connection, which a proxy may have secured
/// before: only its own fields can tell that, to who trusts the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Secured;

/// Who sent a request, in its extensions: see [`WithPeers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddress(pub SocketAddr);

/// Has an application told its peers' addresses: a [`PeerAddress`] in the extensions of each
/// request. Replaces `$request->server['remote_addr']`.
#[derive(Clone, Debug)]
pub struct WithPeers<A>(pub A);

impl<A: App> App for WithPeers<A> {
    type Body = A::Body;
    type Future = A::Future;

    fn direct(&self, head: &RequestHead<'_>, body: &[u8]) -> Option<Plain> {
        self.0.direct(head, body)
    }

    fn call(&self, request: Request<Incoming>) -> A::Future {
        self.0.call(request)
    }

    fn wants_peers(&self) -> bool {
        true
    }

    fn refused(&self, refused: &RefusedRequest<'_>) {
        self.0.refused(refused);
    }
}

/// A small answer whose parts are ready.
#[derive(Clone, Debug)]
pub struct Plain {
    /// Its status: a final one, 200 to 599; another is an error of the application's.
    pub status: StatusCode,
    /// Its Content-Type; empty for none, and left out if it has a control character.
    pub content_type: &'static str,
    /// One more field, such as Retry-After. Those of the framing, the connection and
    /// the date are the server's own.
    pub field: Option<(HeaderName, HeaderValue)>,
    /// Its body.
    pub body: Bytes,
}

impl Plain {
    /// 200 with a text.
    pub const fn text(text: &'static str) -> Self {
        let body = Bytes::from_static(text.as_bytes());
        Plain { status: StatusCode::OK, content_type: "text/plain", field: None, body }
    }
}

/// A service returned an error instead of a response, of which this is the text: the server reports
/// it, and answers 500.
#[derive(Clone, Debug)]
pub struct ServiceFailed(pub(crate) String);

impl ServiceFailed {
    pub(crate) fn of<E: Display>(error: E) -> Self {
        ServiceFailed(error.to_string())
    }
}

impl Display for ServiceFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ServiceFailed {}

#[diagnostic::do_not_recommend]
impl<S, B> App for S
where
    S: Service<Request<Incoming>, Response = Response<B>, Error: Display> + Clone + 'static,
    S::Future: 'static,
    B: Body<Data = Bytes, Error: Display> + 'static,
{
    type Body = B;
    type Future = Oneshot<S>;

    fn call(&self, request: Request<Incoming>) -> Oneshot<S> {
        Oneshot { state: OneshotState::NotReady { service: self.clone(), request: Some(request) } }
    }
}

pin_project! {
    /// Waits until a clone of a service is ready, then for its response.
    pub struct Oneshot<S: Service<Request<Incoming>>> {
        #[pin]
        state: OneshotState<S, S::Future>,
    }
}

pin_project! {
    #[project = StateProjected]
    enum OneshotState<S, F> {
        NotReady { service: S, request: Option<Request<Incoming>> },
        Called { #[pin] future: F },
    }
}

impl<S, B> Future for Oneshot<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error: Display>,
{
    type Output = Result<Response<B>, ServiceFailed>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let failed = ServiceFailed::of::<S::Error>;
        let mut state = self.project().state;
        loop {
            let future = match state.as_mut().project() {
                StateProjected::Called { future } => return future.poll(context).map_err(failed),
                StateProjected::NotReady { service, request } => {
                    ready!(service.poll_ready(context)).map_err(failed)?;
                    let Some(request) = request.take() else { return Poll::Pending };
                    service.call(request)
                }
            };
            state.set(OneshotState::Called { future });
        }
    }
}

/// Puts answers from the borrowed request before a service: for the few paths on which the cost of
/// building `http` types shows.
///
/// The service must know these paths too: a request whose body is chunked, or not all there when
/// its head is read, goes to it, and so does each of HTTP/2.
///
/// ```
/// use sidecore::app::{Direct, Plain};
/// # use sidecore::{Incoming, Request, Response};
/// # let service = tower::service_fn(|_: Request<Incoming>| async {
/// #     Ok::<_, std::convert::Infallible>(Response::new(String::new()))
/// # });
/// let app = Direct::new(service, |head, _body| match (head.method, head.target.path()) {
///     ("GET" | "HEAD", "/health") => Some(Plain::text("OK")),
///     _ => None,
/// });
/// ```
#[derive(Clone)]
pub struct Direct<S, F> {
    service: S,
    direct: F,
}

impl<S, F> Direct<S, F>
where
    F: Fn(&RequestHead<'_>, &[u8]) -> Option<Plain>,
{
    /// Asks `direct` first; what it leaves goes to `service`.
    pub fn new(service: S, direct: F) -> Self {
        Direct { service, direct }
    }
}

impl<S, F> App for Direct<S, F>
where
    S: App,
    F: Fn(&RequestHead<'_>, &[u8]) -> Option<Plain> + 'static,
{
    type Body = S::Body;
    type Future = S::Future;

    fn direct(&self, head: &RequestHead<'_>, body: &[u8]) -> Option<Plain> {
        (self.direct)(head, body).or_else(|| self.service.direct(head, body))
    }

    fn call(&self, request: Request<Incoming>) -> S::Future {
        self.service.call(request)
    }

    fn wants_peers(&self) -> bool {
        self.service.wants_peers()
    }

    fn refused(&self, refused: &RefusedRequest<'_>) {
        self.service.refused(refused);
    }
}
