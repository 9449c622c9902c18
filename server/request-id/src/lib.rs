//! Request ids: one name for a request, here, in its log and at whoever it is passed on to.
//!
//! ```
//! use http::{Request, Response};
//! use sidecore_request_id::{RequestId, RequestIds};
//! use tower::{Layer, service_fn};
//!
//! let app = RequestIds::new().layer(service_fn(async |request: Request<()>| {
//!     let id = request.extensions().get::<RequestId>().map(RequestId::to_string);
//!     Ok::<_, std::convert::Infallible>(Response::new(format!("{id:?}")))
//! }));
//! # let _ = app;
//! ```
//!
//! Put it around a layer that logs, such as `sidecore-access-log`'s, whose `%{X-Request-Id}i` then
//! has the id; where the log is outside of it, `%{X-Request-Id}o` has.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{HeaderName, HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// A longer id is not taken over: it would be carried into each line of a log.
const LENGTH_MAX: usize = 128;

/// The id of a request, in its extensions: up to 128 letters, digits and `-._~+/=:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

/// A layer that gives each request an id: the one that it came with in X-Request-Id, if that is
/// well-formed, else a new one. It is in the request's field and extensions, and in the answer's
/// field.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestIds {
    ignores_clients: bool,
}

/// The service of [`RequestIds`].
#[derive(Clone, Debug)]
pub struct Identified<S> {
    layer: RequestIds,
    inner: S,
}

impl RequestId {
    /// A new id, which no other request of any process has, but for a chance of one in 2^64: 32
    /// hexadecimal digits. It is no secret: the next ones can be guessed from it.
    pub fn new() -> Self {
        thread_local! {
            /// What this thread's ids begin with, and the next one's number.
            static NEXT: Cell<(u64, u64)> = Cell::new((RandomState::new().hash_one(0), 0));
        }
        let (prefix, number) = NEXT.get();
        NEXT.set((prefix, number.wrapping_add(1)));
        let text = format!("{prefix:016x}{number:016x}");
        RequestId(HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("")))
    }

    /// The id that a request came with, if it is well-formed.
    fn of<B>(request: &Request<B>) -> Option<Self> {
        let mut values = request.headers().get_all(&X_REQUEST_ID).iter();
        let value = values.next().filter(|_| values.next().is_none())?;
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=:".contains(byte);
        let is_well_formed =
            (1..=LENGTH_MAX).contains(&value.len()) && value.as_bytes().iter().all(allowed);
        is_well_formed.then(|| RequestId(value.clone()))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

impl Default for RequestId {
    fn default() -> Self {
        RequestId::new()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl RequestIds {
    /// Takes over well-formed ids: for a server behind one that makes them.
    pub fn new() -> Self {
        RequestIds::default()
    }

    /// Gives each request a new id, whatever it came with: for a server that faces clients.
    pub fn always_new() -> Self {
        RequestIds { ignores_clients: true }
    }
}

impl<S> Layer<S> for RequestIds {
    type Service = Identified<S>;

    fn layer(&self, inner: S) -> Identified<S> {
        Identified { layer: *self, inner }
    }
}

impl<S, B, A> Service<Request<B>> for Identified<S>
where
    S: Service<Request<B>, Response = Response<A>>,
{
    type Response = Response<A>;
    type Error = S::Error;
    type Future = Identifying<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let id = match self.layer.ignores_clients {
            true => RequestId::new(),
            false => RequestId::of(&request).unwrap_or_default(),
        };
        request.headers_mut().insert(X_REQUEST_ID, id.0.clone());
        request.extensions_mut().insert(id.clone());
        Identifying { future: self.inner.call(request), id: Some(id) }
    }
}

pin_project! {
    /// The future of [`Identified`].
    pub struct Identifying<F> {
        #[pin]
        future: F,
        id: Option<RequestId>,
    }
}

impl<F, A, E> Future for Identifying<F>
where
    F: Future<Output = Result<Response<A>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let mut answer = ready!(this.future.poll(context))?;
        if let Some(RequestId(id)) = this.id.take() {
            answer.headers_mut().insert(X_REQUEST_ID, id);
        }
        Poll::Ready(Ok(answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_well_formed_ids_are_taken_over() {
        let check = |values: &[&str], expected: Option<&str>| {
            let mut request = Request::new(());
            for value in values {
                request.headers_mut().append(X_REQUEST_ID, value.parse().unwrap());
            }
            let id = RequestId::of(&request);
            assert_eq!(id.as_ref().map(RequestId::as_str), expected, "{values:?}");
        };
        check(&["a-B_1.2~3+/=:"], Some("a-B_1.2~3+/=:"));
        check(&[], None);
        check(&[""], None);
        check(&["a b"], None);
        check(&["a\"b"], None);
        check(&["\u{e9}"], None);
        check(&["a", "b"], None);
        let (long, longer) = ("a".repeat(128), "a".repeat(129));
        check(&[&long], Some(&long));
        check(&[&longer], None);
    }

    #[test]
    fn new_ids_differ_within_and_across_threads() {
        let make = || (0..1000).map(|_| RequestId::new().to_string()).collect::<Vec<_>>();
        let mut ids = make();
        ids.extend(std::thread::spawn(make).join().unwrap());
        assert!(ids.iter().all(|id| id.len() == 32));
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 2000);
    }
}
