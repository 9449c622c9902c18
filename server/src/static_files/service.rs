//! The service: a file where there is one, else what the inner service answers.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{Either, Empty};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::StaticFiles;
use super::answer::{self, Question};
use super::body::FileBody;
use super::encodings::Accepts;
use super::lookup::{Files, Found, Wanted};
use super::path::FilePath;
use super::read::Looking;

/// The service of [`StaticFiles`]: it answers requests for files and leaves others to `S`.
///
/// Clones share a cache.
pub struct ServeFiles<S> {
    files: Arc<Files>,
    inner: S,
}

/// A service that finds nothing: 404.
#[derive(Clone, Copy, Debug, Default)]
pub struct NotFound;

/// The body of an answer: a file's, or the inner service's.
pub type FilesBody<B> = Either<FileBody, B>;

impl StaticFiles {
    /// The service that answers 404 where there is no file.
    pub fn service(&self) -> ServeFiles<NotFound> {
        self.layer(NotFound)
    }
}

impl<S> Layer<S> for StaticFiles {
    type Service = ServeFiles<S>;

    /// Each service that is made has a cache of its own.
    fn layer(&self, inner: S) -> ServeFiles<S> {
        ServeFiles { files: Arc::new(Files::new(self.settings.clone())), inner }
    }
}

impl<S: Clone> Clone for ServeFiles<S> {
    fn clone(&self) -> Self {
        ServeFiles { files: self.files.clone(), inner: self.inner.clone() }
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
        let find = move |look| files.find(&wanted, look);
        let looking = self.files.settings.waiters.look(find);
        let looking = match looking {
            // Nearly every look ends here.
            Looking::Done(Some(found)) => match self.answer(found, &request) {
                Some(answer) => {
                    return Serving { state: State::Answered { answer: Some(answer) } };
                }
                None => return self.leave(request),
            },
            away => away,
        };
        // The one that was polled ready is used here, a clone of it waits for its next call.
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone);
        let service = ServeFiles { files: self.files.clone(), inner };
        Serving { state: State::Looking { looking, asked: Some((service, request)) } }
    }
}

impl<S> ServeFiles<S> {
    /// What a request wants, if that can be a file here.
    fn wanted<B>(&self, request: &Request<B>) -> Option<Wanted> {
        let settings = &self.files.settings;
        let path = request.uri().path().strip_prefix(&*settings.prefix)?;
        let path = FilePath::decode(path, settings.dotfiles)?;
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
        Serving { state: State::Left { future: self.inner.call(request) } }
    }

    /// The answer to a request for which this was found; None: the inner service is to be asked.
    fn answer<B>(
        &self,
        found: io::Result<Found>,
        request: &Request<B>,
    ) -> Option<Response<FileBody>> {
        let question =
            Question { method: request.method(), uri: request.uri(), fields: request.headers() };
        let reads = matches!(*question.method, Method::GET | Method::HEAD);
        match found {
            Ok(Found::Nothing) => None,
            Ok(Found::Directory) if !reads => None,
            Ok(Found::Directory) => Some(answer::to_directory(&question)),
            Ok(Found::NotAcceptable) => Some(answer::not_acceptable()),
            Ok(Found::File(served)) => {
                Some(answer::of_file(&question, served, &self.files.settings))
            }
            Err(error) => Some(answer::failed(&error)),
        }
    }
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
        Looking { #[pin] looking: Looking<Found>, asked: Option<(ServeFiles<S>, R)> },
        Left { #[pin] future: F },
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
                StateProjected::Left { future } => {
                    return future.poll(context).map_ok(|answer| answer.map(Either::Right));
                }
                StateProjected::Looking { looking, asked } => {
                    let found = ready!(looking.poll(context));
                    let Some((mut service, request)) = asked.take() else { return Poll::Pending };
                    match service.answer(found, &request) {
                        Some(answer) => State::Answered { answer: Some(answer) },
                        None => State::Left { future: service.inner.call(request) },
                    }
                }
            };
            state.set(next);
        }
    }
}
