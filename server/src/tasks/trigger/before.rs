//! Before the service is called: a job made of the request, and what becomes of a request whose
//! job is refused.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::RETRY_AFTER;
use http::{Request, Response, StatusCode};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::tasks::trigger::{Dispatcher, Fired, Trigger, TriggerCounts, Triggering, tell};
use sidecore_runtime::pool::DispatchError;

/// A layer that dispatches a job made of the request, then calls the service.
///
/// Where the pool does not accept the job, the request goes on all the same and the refusal is
/// counted ([`counts`](Self::counts)), unless [`or_unavailable`](Self::or_unavailable) says
/// otherwise. Dropping the future of the answer does not touch the task: it runs.
pub struct TriggerTask<D, F, W = GoOn> {
    trigger: Arc<Trigger<D>>,
    job_of: Arc<F>,
    when_refused: W,
    tells: bool,
}

/// What becomes of a request whose job is refused.
pub trait WhenRefused<B> {
    /// The answer to it, in the place of the service's; None: it goes on.
    fn answer(&self, refused: &DispatchError<()>) -> Option<Response<B>>;
}

/// It goes on.
#[derive(Clone, Copy, Debug, Default)]
pub struct GoOn;

/// It is answered with 503, and the service is not called.
#[derive(Clone, Copy, Debug)]
pub struct Unavailable {
    retry_after_s: u32,
}

impl<B> WhenRefused<B> for GoOn {
    fn answer(&self, _: &DispatchError<()>) -> Option<Response<B>> {
        None
    }
}

impl<B: Default> WhenRefused<B> for Unavailable {
    fn answer(&self, refused: &DispatchError<()>) -> Option<Response<B>> {
        let mut answer = Response::new(B::default());
        *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        // Waiting helps against a full queue only.
        if refused.is_full() {
            answer.headers_mut().insert(RETRY_AFTER, self.retry_after_s.into());
        }
        Some(answer)
    }
}

impl<D, F> TriggerTask<D, F> {
    /// Dispatches the job that `job_of` makes of a request, if it makes one.
    pub fn before<B, J>(dispatcher: D, job_of: F) -> Self
    where
        D: Dispatcher<J>,
        F: Fn(&Request<B>) -> Option<J>,
    {
        let (trigger, job_of) = (Trigger::new(dispatcher), Arc::new(job_of));
        TriggerTask { trigger, job_of, when_refused: GoOn, tells: false }
    }

    /// Answers a request whose job is refused with 503, before the service is called: with
    /// `Retry-After` where the queue is full, and an empty body.
    pub fn or_unavailable(self, retry_after_s: u32) -> TriggerTask<D, F, Unavailable> {
        let TriggerTask { trigger, job_of, tells, .. } = self;
        TriggerTask { trigger, job_of, when_refused: Unavailable { retry_after_s }, tells }
    }
}

impl<D, F, W> TriggerTask<D, F, W> {
    /// Tells the client of its task: `x-task-id` is its id, or `x-task-refused` why there is none.
    pub fn tell_client(self) -> Self {
        TriggerTask { tells: true, ..self }
    }

    /// The jobs of this layer so far. A clone of it counts with it.
    pub fn counts(&self) -> TriggerCounts {
        self.trigger.counts()
    }
}

impl<D, F, W: Clone, S> Layer<S> for TriggerTask<D, F, W> {
    type Service = Triggering<Self, S>;

    fn layer(&self, inner: S) -> Self::Service {
        Triggering { layer: self.clone(), inner }
    }
}

impl<D, F, W, S, B, A, J> Service<Request<B>> for Triggering<TriggerTask<D, F, W>, S>
where
    D: Dispatcher<J>,
    F: Fn(&Request<B>) -> Option<J>,
    W: WhenRefused<A>,
    S: Service<Request<B>, Response = Response<A>>,
{
    type Response = Response<A>;
    type Error = S::Error;
    type Future = Triggered<S::Future, A>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let TriggerTask { trigger, job_of, when_refused, tells } = &self.layer;
        let fired = job_of(&request).map(|job| trigger.fire(job));
        let refused = fired.as_ref().and_then(|fired| fired.as_ref().err());
        let answer = refused.and_then(|refused| when_refused.answer(refused));
        let state = match answer {
            Some(answer) => TriggerState::Refused { answer: Some(answer) },
            None => TriggerState::Called { future: self.inner.call(request) },
        };
        Triggered { state, fired: fired.filter(|_| *tells) }
    }
}

pin_project! {
    /// The future of [`TriggerTask`]'s service. Dropping it leaves the task alone.
    pub struct Triggered<Fut, A> {
        #[pin]
        state: TriggerState<Fut, A>,
        // What is told to the client.
        fired: Option<Fired>,
    }
}

pin_project! {
    #[project = StateProjected]
    enum TriggerState<Fut, A> {
        Refused { answer: Option<Response<A>> },
        Called { #[pin] future: Fut },
    }
}

impl<Fut, A, E> Future for Triggered<Fut, A>
where
    Fut: Future<Output = Result<Response<A>, E>>,
{
    type Output = Fut::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Fut::Output> {
        let this = self.project();
        let mut answer = match this.state.project() {
            StateProjected::Called { future } => ready!(future.poll(context))?,
            StateProjected::Refused { answer } => match answer.take() {
                Some(answer) => answer,
                // Polled after it was ready.
                None => return Poll::Pending,
            },
        };
        if let Some(fired) = this.fired.take() {
            tell(&mut answer, &fired);
        }
        Poll::Ready(Ok(answer))
    }
}

impl<D, F, W: Clone> Clone for TriggerTask<D, F, W> {
    fn clone(&self) -> Self {
        let TriggerTask { trigger, job_of, when_refused, tells } = self;
        TriggerTask {
            trigger: trigger.clone(),
            job_of: job_of.clone(),
            when_refused: when_refused.clone(),
            tells: *tells,
        }
    }
}

impl<D, F, W> fmt::Debug for TriggerTask<D, F, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TriggerTask").field("counts", &self.counts()).finish_non_exhaustive()
    }
}
