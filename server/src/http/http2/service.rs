//! One call of the application for each request, and what becomes of it until it is answered.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Body;
use pin_project_lite::pin_project;
use sidecore_runtime::sys::stderr;

use crate::app::body::Incoming;
use crate::app::http2_body::{RequestBody, Watch};
use crate::app::service::{
    App, PeerAddress, RefusedRequest, Secured, ServiceFailed, drop_answered,
};
use crate::codec::reject::Reject;
use crate::http::http1::timeouts::Waiting;
use crate::http::http1::{encode, panicked};
use crate::http::http2::answer::{Outgoing, answer, refusal};
use crate::http::http2::received::take_stream;
use crate::http::http2::request::{admit, expects_continue};
use crate::http::http2::session::Http2Session;
use crate::http::http2::stream::Stream;

/// The application, as hyper calls it.
pub(crate) struct Calls<A>(pub(crate) Rc<Http2Session<A>>);

impl<A: App> hyper::service::Service<Request<hyper::body::Incoming>> for Calls<A> {
    type Response = Response<Outgoing<A::Body>>;
    type Error = Infallible;
    type Future = Answering<A>;

    fn call(&self, mut request: Request<hyper::body::Incoming>) -> Answering<A> {
        let session = &self.0;
        let is_head = request.method() == Method::HEAD;
        let number = take_stream(request.headers_mut());
        let number = number.filter(|_| expects_continue(request.headers()));
        let (admitted, watch) = admitted(request, session);
        let stream = Stream::new(watch, session.serving.timeouts.request, session.flow.clone());
        stream.expect(number);
        session.begin(stream.clone());
        let call = match admitted {
            Ok(request) => called(&*session.serving.app, request),
            Err(reject) => Call::Refused { reject },
        };
        Answering { call, is_head, session: session.clone(), stream }
    }
}

/// What the application gets, if the request is right, and what its body is watched by.
fn admitted<A: App>(
    request: Request<hyper::body::Incoming>,
    session: &Http2Session<A>,
) -> (Result<Request<Incoming>, Reject>, Option<Watch>) {
    let serving = &session.serving;
    let (mut parts, body) = request.into_parts();
    let checked = match session.is_refused {
        true => Err(Reject::no_room()),
        false => admit(&mut parts, serving.head_limits(true)),
    };
    let checked = checked.and_then(|()| match body.size_hint().lower() > serving.body_size_max {
        true => Err(Reject::body_too_large()),
        false => Ok(()),
    });
    if let Err(reject) = checked {
        tell_refused(&parts, reject, session);
        let unread = (!body.is_end_stream()).then(|| Watch::of_unread(body));
        return (Err(reject), unread);
    }
    if let Some(peer) = session.peer {
        parts.extensions.insert(PeerAddress(peer));
    }
    if session.is_secured {
        parts.extensions.insert(Secured);
    }
    if body.is_end_stream() {
        return (Ok(Request::from_parts(parts, Incoming::empty())), None);
    }
    let (body, watch) = RequestBody::new(body, serving.body_size_max);
    (Ok(Request::from_parts(parts, Incoming::http2(body))), Some(watch))
}

/// An application that has no call for a request, such as a log, is told as in HTTP/1.1: with the
/// line that the request would have had.
fn tell_refused<A: App>(parts: &Parts, reject: Reject, session: &Http2Session<A>) {
    let target = parts.uri.path_and_query().map_or("", PathAndQuery::as_str);
    session.serving.app.refused(&RefusedRequest {
        status: reject.status(),
        body_bytes: body_bytes(reject, parts.method == Method::HEAD),
        fields: &reject.fields(),
        received: format!("{} {target} HTTP/2.0\r\n", parts.method).as_bytes(),
        peer: session.peer,
        is_secured: session.is_secured,
        // It came whole, as far as this server knows.
        waited: Duration::ZERO,
    });
}

/// The same for one that h2 has answered, of which no more is known than that.
pub(crate) fn tell_unheard<A: App>(session: &Http2Session<A>) {
    session.serving.app.refused(&RefusedRequest {
        status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        body_bytes: 0,
        fields: &HeaderMap::new(),
        received: b"",
        peer: session.peer,
        is_secured: session.is_secured,
        waited: Duration::ZERO,
    });
}

/// Of a refusal's answer.
fn body_bytes(reject: Reject, is_head: bool) -> u64 {
    if is_head { 0 } else { reject.reason().len() as u64 }
}

fn called<A: App>(app: &A, request: Request<Incoming>) -> Call<A::Future> {
    match panicked::caught(|| app.call(request)) {
        Some(future) => Call::Called { future },
        None => Call::Refused { reject: Reject::handler_failed() },
    }
}

pin_project! {
    /// A request until the head of its answer.
    pub(crate) struct Answering<A: App> {
        #[pin]
        call: Call<A::Future>,
        is_head: bool,
        session: Rc<Http2Session<A>>,
        stream: Rc<Stream>,
    }
}

pin_project! {
    #[project = CallProjected]
    enum Call<F> {
        Called { #[pin] future: F },
        Refused { reject: Reject },
    }
}

/// The application's future, to be dropped in its place.
struct Unanswered<'a, F> {
    call: Pin<&'a mut Call<F>>,
    reject: Reject,
}

impl<F> Drop for Unanswered<'_, F> {
    fn drop(&mut self) {
        self.call.set(Call::Refused { reject: self.reject });
    }
}

impl<A: App> Future for Answering<A> {
    type Output = Result<Response<Outgoing<A::Body>>, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let (session, stream) = (&**this.session, &*this.stream);
        stream.watch().inspect(|watch| watch.keep(context.waker()));
        let polled = match this.call.as_mut().project() {
            CallProjected::Called { future } => poll_call(future, context),
            CallProjected::Refused { reject } => Poll::Ready(Err(*reject)),
        };
        // A body that breaks a rule: the handler's answer to it would not be to this request.
        let refused = stream.watch().and_then(Watch::refused);
        let answered = match (refused, polled) {
            (Some(reject), _) => Err(reject),
            (None, Poll::Ready(answered)) => answered,
            (None, Poll::Pending) => {
                stream.go_on(context.waker(), |number| session.send_continue(number));
                match stream.poll_overdue(&session.serving.timeouts, context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Waiting::Body) => Err(Reject::timeout("the body took too long")),
                    Poll::Ready(_) => Err(Reject::unavailable("the request took too long")),
                }
            }
        };
        Poll::Ready(Ok(match answered {
            Ok(response) => {
                stream.watch().inspect(|watch| watch.answered());
                answer(response, *this.is_head, session, stream)
            }
            Err(reject) => {
                let unanswered = Unanswered { call: this.call, reject };
                drop_answered(unanswered, reject.status(), body_bytes(reject, *this.is_head));
                refusal(reject, *this.is_head, session, stream)
            }
        }))
    }
}

/// Polls the application: what it answers, or why the request is refused after all.
fn poll_call<F, B>(
    future: Pin<&mut F>,
    context: &mut Context<'_>,
) -> Poll<Result<Response<B>, Reject>>
where
    F: Future<Output = Result<Response<B>, ServiceFailed>>,
{
    Poll::Ready(match panicked::caught(|| future.poll(context)) {
        Some(Poll::Pending) => return Poll::Pending,
        Some(Poll::Ready(Ok(response))) => match encode::is_final(response.status()) {
            true => Ok(response),
            false => Err(encode::not_final(response.status())),
        },
        Some(Poll::Ready(Err(failed))) => {
            stderr::line(format_args!("a service failed: {}", failed.0));
            Err(Reject::handler_failed())
        }
        // The panic hook has reported it; it costs this request its answer, no more.
        None => Err(Reject::handler_failed()),
    })
}
