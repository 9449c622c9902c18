//! After the service has answered: a job made of its answer and of what was kept of the request.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::tasks::trigger::{Dispatcher, Trigger, TriggerCounts, Triggering, tell};

/// A layer that calls the service, then dispatches a job made of its answer.
///
/// A refusal is counted ([`counts`](Self::counts)); the answer goes out all the same. There is no
/// job where there is no answer: the service fails, or the future is dropped before it is ready,
/// as it is when the client goes away.
pub struct TriggerAfter<D, K, F> {
    trigger: Arc<Trigger<D>>,
    keep: Arc<K>,
    job_of: Arc<F>,
    tells: bool,
}

impl<D> TriggerAfter<D, (), ()> {
    /// Keeps what `keep` takes of a request, if anything, and dispatches the job that `job_of`
    /// makes of that and of the answer, if it makes one. So nothing else of the request is copied.
    ///
    /// ```
    /// use sidecore::tasks::trigger::TriggerAfter;
    /// use sidecore::{Request, Response, Tasks};
    /// use tower::{Layer, service_fn};
    ///
    /// struct Failed {
    ///     path: String,
    ///     status: u16,
    /// }
    ///
    /// # fn example(tasks: Tasks<Failed, ()>) {
    /// let path = |request: &Request<String>| Some(request.uri().path().to_owned());
    /// let failed = |path, answer: &Response<String>| {
    ///     let status = answer.status();
    ///     status.is_server_error().then(|| Failed { path, status: status.as_u16() })
    /// };
    /// let layer = TriggerAfter::new(tasks, path, failed);
    /// # let _ = layer.layer(service_fn(async |_: Request<String>| {
    /// #     Ok::<_, std::convert::Infallible>(Response::new(String::new()))
    /// # }));
    /// # }
    /// ```
    pub fn new<B, A, T, J, K, F>(dispatcher: D, keep: K, job_of: F) -> TriggerAfter<D, K, F>
    where
        D: Dispatcher<J>,
        K: Fn(&Request<B>) -> Option<T>,
        F: Fn(T, &Response<A>) -> Option<J>,
    {
        let trigger = Trigger::new(dispatcher);
        TriggerAfter { trigger, keep: Arc::new(keep), job_of: Arc::new(job_of), tells: false }
    }
}

impl<D, K, F> TriggerAfter<D, K, F> {
    /// Tells the client of its task: `x-task-id` is its id, or `x-task-refused` why there is none.
    pub fn tell_client(self) -> Self {
        TriggerAfter { tells: true, ..self }
    }

    /// The jobs of this layer so far. A clone of it counts with it.
    pub fn counts(&self) -> TriggerCounts {
        self.trigger.counts()
    }
}

impl<D, K, F, S> Layer<S> for TriggerAfter<D, K, F> {
    type Service = Triggering<Self, S>;

    fn layer(&self, inner: S) -> Self::Service {
        Triggering { layer: self.clone(), inner }
    }
}

impl<D, K, F, S, B, A, T, J> Service<Request<B>> for Triggering<TriggerAfter<D, K, F>, S>
where
    D: Dispatcher<J>,
    K: Fn(&Request<B>) -> Option<T>,
    F: Fn(T, &Response<A>) -> Option<J>,
    S: Service<Request<B>, Response = Response<A>>,
{
    type Response = Response<A>;
    type Error = S::Error;
    type Future = TriggeredAfter<S::Future, D, K, F, T>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let kept = (self.layer.keep)(&request).map(|kept| (kept, self.layer.clone()));
        TriggeredAfter { future: self.inner.call(request), kept }
    }
}

pin_project! {
    /// The future of [`TriggerAfter`]'s service. There is no job if it is dropped before it is
    /// ready.
    pub struct TriggeredAfter<Fut, D, K, F, T> {
        #[pin]
        future: Fut,
        kept: Option<(T, TriggerAfter<D, K, F>)>,
    }
}

impl<Fut, D, K, F, T, A, E, J> Future for TriggeredAfter<Fut, D, K, F, T>
where
    D: Dispatcher<J>,
    F: Fn(T, &Response<A>) -> Option<J>,
    Fut: Future<Output = Result<Response<A>, E>>,
{
    type Output = Fut::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Fut::Output> {
        let this = self.project();
        let mut answer = ready!(this.future.poll(context))?;
        if let Some((kept, layer)) = this.kept.take()
            && let Some(job) = (layer.job_of)(kept, &answer)
        {
            let fired = layer.trigger.fire(job);
            if layer.tells {
                tell(&mut answer, &fired);
            }
        }
        Poll::Ready(Ok(answer))
    }
}

impl<D, K, F> Clone for TriggerAfter<D, K, F> {
    fn clone(&self) -> Self {
        let TriggerAfter { trigger, keep, job_of, tells } = self;
        TriggerAfter {
            trigger: trigger.clone(),
            keep: keep.clone(),
            job_of: job_of.clone(),
            tells: *tells,
        }
    }
}

impl<D, K, F> fmt::Debug for TriggerAfter<D, K, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TriggerAfter").field("counts", &self.counts()).finish_non_exhaustive()
    }
}
