//! The service: a file where there is one, else what the inner service answers.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::UPGRADE;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{Either, Empty};
use pin_project_lite::pin_project;
use sidecore::http::Upgrade;
use tower_layer::Layer;
use tower_service::Service;

use crate::StaticFiles;
use crate::answer::{self, RequestParts};
use crate::body::FileBody;
use crate::encodings::Accepts;
use crate::lookup::{Files, Found, Wanted};
use crate::path::FilePath;
use crate::read::DiskCall;

/// The service of [`StaticFiles`]: it answers requests for files and leaves others to `S`.
///
/// Left to an application are, whatever their paths: methods other than GET and HEAD, and offers
/// of an upgrade, such as the handshake of a WebSocket.
///
/// Clones share a cache.
pub struct ServeFiles<S> {
    files: Arc<Files>,
    inner: S,
    /// Nobody is behind it who could answer what it does not.
    is_alone: bool,
}

/// A service that finds nothing: 404.
#[derive(Clone, Copy, Debug, Default)]
pub struct NotFound;

/// The body of an answer: a file's, or the inner service's.
pub type FilesBody<B> = Either<FileBody, B>;

impl StaticFiles {
    /// The service that answers 404 where there is no file, and 405 where there is one and the
    /// method is none of GET, HEAD and OPTIONS.
    pub fn service(&self) -> ServeFiles<NotFound> {
        ServeFiles { is_alone: true, ..self.layer(NotFound) }
    }
}

impl<S> Layer<S> for StaticFiles {
    type Service = ServeFiles<S>;

    /// Each service that is made has a cache of its own.
    fn layer(&self, inner: S) -> ServeFiles<S> {
        let files = Arc::new(Files::new(self.settings.clone()));
        ServeFiles { files, inner, is_alone: false }
    }
}

impl<S: Clone> Clone for ServeFiles<S> {
    fn clone(&self) -> Self {
        let (files, inner) = (self.files.clone(), self.inner.clone());
        ServeFiles { files, inner, is_alone: self.is_alone }
    }
}

impl<B> Service<Request<B>> for NotFound {
    type Response = Response<Empty<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        let mut answer = Response::new(Empty::new());
        *answer.status_mut() = StatusCode::NOT_FOUND;
        ready(Ok(answer))
    }
}

impl<S, B, A> Service<Request<B>> for ServeFiles<S>
where
    S: Service<Request<B>, Response = Response<A>> + Clone,
{
    type Response = Response<FilesBody<A>>;
    type Error = S::Error;
    type Future = Serving<S, Request<B>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Some(wanted) = self.wanted(&request) else { return self.leave(request) };
        let files = self.files.clone();
        let find = move |mode| files.find(&wanted, mode);
        let finding = self.files.settings.disk_workers.run(find);
        let finding = match finding {
            // Nearly every look ends here.
            DiskCall::Done(Some(found)) => {
                return Serving { state: self.found(found, request) };
            }
            away => away,
        };
        // The one that was polled ready is used here, a clone of it waits for its next call.
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone);
        let service = ServeFiles { files: self.files.clone(), inner, is_alone: self.is_alone };
        Serving { state: State::Finding { finding, asked: Some((service, request)) } }
    }
}

impl<S> ServeFiles<S> {
    /// What a request wants, if that can be a file here.
    fn wanted<B>(&self, request: &Request<B>) -> Option<Wanted> {
        let settings = &self.files.settings;
        let path = request.uri().path().strip_prefix(&*settings.prefix)?;
        let is_applications = !reads(request.method()) || offers_upgrade(request);
        if is_applications && !self.is_alone {
            return None;
        }
        let path = match path {
            "" => FilePath::of_mount(),
            path => FilePath::decode(path, settings.dotfiles)?,
        };
        if path.is_hidden && settings.unserved.has_reported_dotfiles() {
            return None;
        }
        let accepts = match settings.precompressed {
            true => Accepts::of(request.headers()),
            false => Accepts::IDENTITY,
        };
        Some(Wanted { path, accepts })
    }

    fn leave<B>(&mut self, request: Request<B>) -> Serving<S, Request<B>>
    where
        S: Service<Request<B>>,
    {
        Serving { state: State::Left { future: self.inner.call(request), otherwise: None } }
    }

    /// What follows from a look at the disk.
    fn found<B>(
        &mut self,
        found: io::Result<Found>,
        request: Request<B>,
    ) -> State<S, Request<B>, S::Future>
    where
        S: Service<Request<B>>,
    {
        let answer = self.answer(found, &request);
        let is_mount = request.uri().path() == self.files.settings.prefix;
        match answer {
            // It is nobody's file: an application may have a route there.
            Some(otherwise) if is_mount && !self.is_alone => {
                State::Left { future: self.inner.call(request), otherwise: Some(otherwise) }
            }
            Some(answer) => State::Answered { answer: Some(answer) },
            None => State::Left { future: self.inner.call(request), otherwise: None },
        }
    }

    /// The answer to a request for which this was found; None: the inner service is to be asked.
    fn answer<B>(
        &self,
        found: io::Result<Found>,
        request: &Request<B>,
    ) -> Option<Response<FileBody>> {
        let request = RequestParts {
            method: request.method(),
            uri: request.uri(),
            fields: request.headers(),
        };
        match found {
            Ok(Found::Nothing) => None,
            Ok(Found::Directory) if !reads(request.method) => None,
            Ok(Found::Directory) => Some(answer::redirect_to_directory(&request)),
            Ok(Found::NotAcceptable) => Some(answer::not_acceptable()),
            Ok(Found::File(served)) => Some(answer::file(&request, served, &self.files.settings)),
            Err(error) => Some(answer::failed(&error)),
        }
    }
}

fn reads(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Whether the client wants to go on with another protocol, which no file does. HTTP/2 itself is
/// not meant: some clients offer that with each first request, and take any answer (RFC 9113 §3.1
/// has done away with it).
fn offers_upgrade<B>(request: &Request<B>) -> bool {
    request.extensions().get::<Upgrade>().is_some()
        && request.headers().get_all(UPGRADE).iter().any(|offered| {
            let mut names = offered.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
            names.any(|name| !name.eq_ignore_ascii_case(b"h2c"))
        })
}

pin_project! {
    /// The future of [`ServeFiles`]. Dropping it drops the inner service's; a look at the disk
    /// that is on its way comes to its end unseen.
    pub struct Serving<S: Service<R>, R> {
        #[pin]
        state: State<S, R, S::Future>,
    }
}

pin_project! {
    #[project = StateProjected]
    enum State<S, R, F> {
        Answered { answer: Option<Response<FileBody>> },
        Finding { #[pin] finding: DiskCall<Found>, asked: Option<(ServeFiles<S>, R)> },
        // With what is answered if the inner service finds nothing.
        Left { #[pin] future: F, otherwise: Option<Response<FileBody>> },
    }
}

impl<S, B, A> Future for Serving<S, Request<B>>
where
    S: Service<Request<B>, Response = Response<A>>,
{
    type Output = Result<Response<FilesBody<A>>, S::Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProjected::Answered { answer } => match answer.take() {
                    Some(answer) => return Poll::Ready(Ok(answer.map(Either::Left))),
                    // Polled after it was ready.
                    None => return Poll::Pending,
                },
                StateProjected::Left { future, otherwise } => {
                    let answer = ready!(future.poll(context))?;
                    let otherwise =
                        otherwise.take().filter(|_| answer.status() == StatusCode::NOT_FOUND);
                    return Poll::Ready(Ok(match otherwise {
                        Some(otherwise) => otherwise.map(Either::Left),
                        None => answer.map(Either::Right),
                    }));
                }
                StateProjected::Finding { finding, asked } => {
                    let found = ready!(finding.poll(context));
                    let Some((mut service, request)) = asked.take() else { return Poll::Pending };
                    service.found(found, request)
                }
            };
            state.set(next);
        }
    }
}
