//! A function as an application, and what it may answer with.
//!
//! ```
//! use sidecore::test_server::TestServer;
//! use sidecore::{Config, Server, StatusCode, service_fn};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = TestServer::start(Server::new(Config::default()), |_executor| {
//!     service_fn(|request| async move {
//!         match request.uri().path() {
//!             "/" => Ok("hello"),
//!             _ => Err(StatusCode::NOT_FOUND),
//!         }
//!     })
//! })?;
//! assert_eq!(server.get("/")?.text(), "hello");
//! assert_eq!(server.get("/elsewhere")?.status, StatusCode::NOT_FOUND);
//! # Ok(())
//! # }
//! ```

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use sidecore_runtime::pool::{DispatchError, RunError, TaskError};
use tower_service::Service;

use crate::app::body::Incoming;
use crate::app::service::ServiceFailed;

/// Makes a `tower::Service` of a function from a request to a future of anything that
/// [can be answered with](IntoAnswer): a text, bytes, a status, a [`Response`], or a `Result` of two
/// of these.
///
/// ```no_run
/// use sidecore::{Config, Server, service_fn};
///
/// fn main() -> sidecore::Result<()> {
///     Server::new(Config::load()?).serve(|_executor| service_fn(|_request| async { "hello" }))?;
///     Ok(())
/// }
/// ```
///
/// The function is cloned for each request, so what it keeps should be cheap to clone. Layers of tower
/// go around the service as around any other. Dropping the future, as when the client has gone away,
/// drops what the function has begun.
pub fn service_fn<F, Fut>(answer: F) -> ServiceFn<F>
where
    F: FnMut(Request<Incoming>) -> Fut + Clone,
    Fut: Future<Output: IntoAnswer>,
{
    ServiceFn(answer)
}

/// What [`service_fn`] makes.
#[derive(Clone, Copy)]
pub struct ServiceFn<F>(F);

impl<F> fmt::Debug for ServiceFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceFn")
    }
}

impl<F, Fut> Service<Request<Incoming>> for ServiceFn<F>
where
    F: FnMut(Request<Incoming>) -> Fut,
    Fut: Future<Output: IntoAnswer>,
{
    type Response = Response<<Fut::Output as IntoAnswer>::Body>;
    type Error = ServiceFailed;
    type Future = Answering<Fut>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), ServiceFailed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Answering<Fut> {
        Answering { answer: (self.0)(request) }
    }
}

pin_project! {
    /// The future of a [`ServiceFn`].
    pub struct Answering<Fut> {
        #[pin]
        answer: Fut,
    }
}

impl<Fut: Future<Output: IntoAnswer>> Future for Answering<Fut> {
    type Output = Result<Response<<Fut::Output as IntoAnswer>::Body>, ServiceFailed>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(ready!(self.project().answer.poll(context)).into_answer())
    }
}

/// What a request can be answered with.
///
/// | a value | is |
/// |---|---|
/// | `&'static str`, `String` | 200, `text/plain; charset=utf-8` |
/// | `Bytes`, `Vec<u8>`, `&'static [u8]` | 200, `application/octet-stream` |
/// | `StatusCode` | that status, without a body |
/// | `()` | 204 |
/// | `(StatusCode, T)` | `T` with that status |
/// | `Response<B>` | itself |
/// | `Result<T, E>` | either |
/// | [`DispatchError`], or such a [`RunError`] | 503 with `Retry-After`, where another try may help |
/// | other errors of tasks, `io::Error`, `Box<dyn Error>` | 500; its text is reported, and not told |
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an answer",
    label = "no answer can be made of this",
    note = "answer with a text, bytes, a `StatusCode`, `(StatusCode, text)`, a `Response`, or a `Result` \
            whose both sides are such",
    note = "an error of your own becomes one by `.map_err(|error| (StatusCode::BAD_GATEWAY, \
            error.to_string()))`, or by `?` in a function that returns `Result<_, Box<dyn Error>>`"
)]
pub trait IntoAnswer {
    /// The answer's body.
    type Body: Body<Data = Bytes, Error: fmt::Display> + 'static;

    /// The answer.
    ///
    /// # Errors
    /// The request has failed: the server reports the text, and answers 500.
    fn into_answer(self) -> Result<Response<Self::Body>, ServiceFailed>;
}

/// The body of a text, of bytes, or of nothing.
#[derive(Debug, Default)]
pub struct WholeBody(Bytes);

impl Body for WholeBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = std::mem::take(&mut self.0);
        Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}

fn whole(bytes: Bytes, content_type: &'static str) -> Response<WholeBody> {
    let mut response = Response::new(WholeBody(bytes));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Answers of one body, made of a value named `$value`.
macro_rules! answers {
    ($($Of:ty, $value:ident => $response:expr;)*) => {$(
        impl IntoAnswer for $Of {
            type Body = WholeBody;

            fn into_answer(self) -> Result<Response<WholeBody>, ServiceFailed> {
                let $value = self;
                $response
            }
        }
    )*};
}

const TEXT: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream";

answers! {
    &'static str, text => Ok(whole(Bytes::from_static(text.as_bytes()), TEXT));
    String, text => Ok(whole(text.into(), TEXT));
    &'static [u8], bytes => Ok(whole(Bytes::from_static(bytes), BYTES));
    Vec<u8>, bytes => Ok(whole(bytes.into(), BYTES));
    Bytes, bytes => Ok(whole(bytes, BYTES));
    (), _nothing => StatusCode::NO_CONTENT.into_answer();
    Infallible, never => match never {};
    ServiceFailed, failed => Err(failed);
    TaskError, error => Err(ServiceFailed(error.to_string()));
    io::Error, error => Err(ServiceFailed(error.to_string()));
    Box<dyn Error>, error => Err(ServiceFailed(error.to_string()));
    Box<dyn Error + Send + Sync>, error => Err(ServiceFailed(error.to_string()));
    StatusCode, status => {
        let mut response = Response::new(WholeBody::default());
        *response.status_mut() = status;
        Ok(response)
    };
}

impl<J> IntoAnswer for DispatchError<J> {
    type Body = WholeBody;

    fn into_answer(self) -> Result<Response<WholeBody>, ServiceFailed> {
        use DispatchError::{Closed, Full, TimedOut};
        if !matches!(self, Full(_) | TimedOut(_) | Closed(_)) {
            return Err(ServiceFailed(self.to_string()));
        }
        let mut response = StatusCode::SERVICE_UNAVAILABLE.into_answer()?;
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        Ok(response)
    }
}

impl<J> IntoAnswer for RunError<J> {
    type Body = WholeBody;

    fn into_answer(self) -> Result<Response<WholeBody>, ServiceFailed> {
        match self {
            RunError::Refused(refused) => refused.into_answer(),
            failed => Err(ServiceFailed(failed.to_string())),
        }
    }
}

impl<T: IntoAnswer> IntoAnswer for (StatusCode, T) {
    type Body = T::Body;

    fn into_answer(self) -> Result<Response<T::Body>, ServiceFailed> {
        let mut response = self.1.into_answer()?;
        *response.status_mut() = self.0;
        Ok(response)
    }
}

impl<B: Body<Data = Bytes, Error: fmt::Display> + 'static> IntoAnswer for Response<B> {
    type Body = B;

    fn into_answer(self) -> Result<Response<B>, ServiceFailed> {
        Ok(self)
    }
}

impl<T: IntoAnswer, E: IntoAnswer> IntoAnswer for Result<T, E> {
    type Body = EitherBody<T::Body, E::Body>;

    fn into_answer(self) -> Result<Response<Self::Body>, ServiceFailed> {
        match self {
            Ok(value) => {
                Ok(value.into_answer()?.map(|body| EitherBody::of(Either::Value { body })))
            }
            Err(error) => {
                Ok(error.into_answer()?.map(|body| EitherBody::of(Either::Error { body })))
            }
        }
    }
}

pin_project! {
    /// The body of an answer that is made of a `Result`: that of its value, or of its error.
    pub struct EitherBody<T, E> {
        #[pin]
        either: Either<T, E>,
    }
}

pin_project! {
    #[project = EitherProjected]
    enum Either<T, E> {
        Value { #[pin] body: T },
        Error { #[pin] body: E },
    }
}

impl<T, E> EitherBody<T, E> {
    fn of(either: Either<T, E>) -> Self {
        EitherBody { either }
    }
}

impl<T, E> Body for EitherBody<T, E>
where
    T: Body<Data = Bytes, Error: fmt::Display>,
    E: Body<Data = Bytes, Error: fmt::Display>,
{
    type Data = Bytes;
    type Error = ServiceFailed;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ServiceFailed>>> {
        match self.project().either.project() {
            EitherProjected::Value { body } => body.poll_frame(context).map_err(ServiceFailed::of),
            EitherProjected::Error { body } => body.poll_frame(context).map_err(ServiceFailed::of),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.either {
            Either::Value { body } => body.is_end_stream(),
            Either::Error { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.either {
            Either::Value { body } => body.size_hint(),
            Either::Error { body } => body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The status, the type and the length of an answer; None: the request fails.
    fn answered(answer: impl IntoAnswer) -> Option<(u16, Option<String>, Option<u64>)> {
        let response = answer.into_answer().ok()?;
        let content_type = response.headers().get(CONTENT_TYPE);
        let content_type = content_type.map(|value| value.to_str().unwrap().to_owned());
        Some((response.status().as_u16(), content_type, response.body().size_hint().exact()))
    }

    #[test]
    fn each_kind_of_answer_is_what_the_table_says() {
        let text = |status, bytes| Some((status, Some(TEXT.to_owned()), Some(bytes)));
        let bytes = Some((200, Some(BYTES.to_owned()), Some(3)));
        let bare = |status| Some((status, None, Some(0)));
        assert_eq!(answered("hello"), text(200, 5));
        assert_eq!(answered("hello".to_owned()), text(200, 5));
        assert_eq!(answered(vec![1, 2, 3]), bytes);
        assert_eq!(answered(&[1, 2, 3][..]), bytes);
        assert_eq!(answered(Bytes::from_static(&[1, 2, 3])), bytes);
        assert_eq!(answered(StatusCode::NOT_FOUND), bare(404));
        assert_eq!(answered(()), bare(204));
        assert_eq!(answered((StatusCode::CREATED, "made")), text(201, 4));
        assert_eq!(answered(Response::new("own".to_owned())), Some((200, None, Some(3))));
        assert_eq!(answered(Err::<&str, _>((StatusCode::CONFLICT, "again"))), text(409, 5));
        assert_eq!(answered(Err::<&str, _>(DispatchError::Full(1))), bare(503));
        assert_eq!(answered(RunError::Refused(DispatchError::TimedOut(1))), bare(503));
    }

    #[test]
    fn what_is_no_fault_of_the_request_fails_it() {
        let error = io::Error::other("no disk");
        assert!(answered(Err::<(), Box<dyn Error>>(error.into())).is_none());
        assert!(answered(io::Error::other("no disk")).is_none());
        assert!(answered(DispatchError::NoTaskWorkers(1)).is_none());
        assert!(answered(RunError::<()>::Failed(TaskError::TimedOut)).is_none());
    }
}
