//! The layers around services of this thread; with a pool they run in the integration tests.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, pending, ready};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use http::{Request, Response, StatusCode};
use tower::{Layer, Service, service_fn};

use super::*;

type Seen = Rc<RefCell<Vec<String>>>;

/// Calls a service; what its future says when it is polled once.
fn call<S: Service<Request<&'static str>>>(
    service: &mut S,
    path: &str,
) -> Poll<Result<S::Response, S::Error>> {
    let request = Request::builder().uri(path).body("what was asked").unwrap();
    pin!(service.call(request)).poll(&mut Context::from_waker(Waker::noop()))
}

fn answer<A, E: std::fmt::Debug>(polled: Poll<Result<Response<A>, E>>) -> Response<A> {
    match polled {
        Poll::Ready(Ok(answer)) => answer,
        Poll::Ready(Err(error)) => panic!("{error:?}"),
        Poll::Pending => panic!("it is not ready"),
    }
}

fn field<'a, A>(answer: &'a Response<A>, name: &str) -> Option<&'a str> {
    answer.headers().get(name).map(|value| value.to_str().unwrap())
}

/// The path as a job, unless it is the root.
fn path_of(request: &Request<&'static str>) -> Option<String> {
    let path = request.uri().path();
    (path != "/").then(|| path.to_owned())
}

/// Notes each request that reaches it.
fn noting(
    seen: &Seen,
) -> impl Service<
    Request<&'static str>,
    Response = Response<String>,
    Error = Infallible,
    Future: Future<Output = Result<Response<String>, Infallible>>,
> {
    let seen = seen.clone();
    service_fn(move |request: Request<&'static str>| {
        seen.borrow_mut().push(format!("called {} {}", request.uri().path(), request.body()));
        ready(Ok(Response::new("answered".to_owned())))
    })
}

/// Accepts each job with the id 7, and notes it.
fn accepting(seen: &Seen) -> impl Dispatcher<String> {
    let seen = seen.clone();
    move |job: String| {
        seen.borrow_mut().push(format!("job {job}"));
        Ok(7)
    }
}

fn full(job: String) -> Result<TaskId, DispatchError<String>> {
    Err(DispatchError::Full(job))
}

#[test]
fn the_job_is_dispatched_before_the_service_is_called_with_the_whole_request() {
    let seen = Seen::default();
    let layer = TriggerTask::before(accepting(&seen), path_of).tell_client();
    let mut service = layer.layer(noting(&seen));
    let answered = answer(call(&mut service, "/page"));
    assert_eq!(*seen.borrow(), ["job /page", "called /page what was asked"]);
    assert_eq!((field(&answered, "x-task-id"), answered.body().as_str()), (Some("7"), "answered"));
    let answered = answer(call(&mut service, "/"));
    assert_eq!((field(&answered, "x-task-id"), answered.status()), (None, StatusCode::OK));
    assert_eq!(layer.counts(), TriggerCounts { dispatched: 1, refused: 0 });
}

#[test]
fn a_client_is_told_of_its_task_only_where_that_is_wanted() {
    let seen = Seen::default();
    let mut service = TriggerTask::before(accepting(&seen), path_of).layer(noting(&seen));
    assert!(answer(call(&mut service, "/page")).headers().is_empty());
}

#[test]
fn without_room_the_request_goes_on_and_the_refusal_is_counted() {
    let seen = Seen::default();
    let layer = TriggerTask::before(full, path_of).tell_client();
    let answered = answer(call(&mut layer.layer(noting(&seen)), "/page"));
    assert_eq!(*seen.borrow(), ["called /page what was asked"]);
    assert_eq!(field(&answered, "x-task-refused"), Some("queue full"));
    assert_eq!(answered.status(), StatusCode::OK);
    assert_eq!(layer.counts(), TriggerCounts { dispatched: 0, refused: 1 });
}

#[test]
fn where_a_task_is_a_must_its_refusal_is_503_and_the_service_is_not_called() {
    let seen = Seen::default();
    let layer = TriggerTask::before(full, path_of).or_unavailable(30);
    let mut service = layer.layer(noting(&seen));
    let refused = answer(call(&mut service, "/page"));
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!((field(&refused, "retry-after"), refused.body().as_str()), (Some("30"), ""));
    assert!(seen.borrow().is_empty(), "{seen:?}");
    assert_eq!(layer.counts(), TriggerCounts { dispatched: 0, refused: 1 });
    // One without a job is none that was refused.
    assert_eq!(answer(call(&mut service, "/")).status(), StatusCode::OK);
}

#[test]
fn retry_after_is_left_out_where_waiting_does_not_help() {
    let seen = Seen::default();
    let none: Tasks<String, ()> = Tasks::none();
    let layer = TriggerTask::before(none, path_of).or_unavailable(30).tell_client();
    let refused = answer(call(&mut layer.layer(noting(&seen)), "/page"));
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(field(&refused, "retry-after"), None);
    assert_eq!(field(&refused, "x-task-refused"), Some("no task workers"));
}

/// A job of the path and the status, unless that is 204.
fn status_job(path: String, answer: &Response<String>) -> Option<String> {
    let status = answer.status();
    (status != StatusCode::NO_CONTENT).then(|| format!("{path} {}", status.as_u16()))
}

#[test]
fn a_job_after_the_answer_knows_both_and_is_made_once_the_answer_is_there() {
    let seen = Seen::default();
    let layer = TriggerAfter::new(accepting(&seen), path_of, status_job).tell_client();
    let mut service = layer.layer(noting(&seen));
    let answered = answer(call(&mut service, "/page"));
    assert_eq!(*seen.borrow(), ["called /page what was asked", "job /page 200"]);
    assert_eq!(field(&answered, "x-task-id"), Some("7"));
    // Nothing was kept of this one.
    assert!(answer(call(&mut service, "/")).headers().is_empty());
    // Of this one's answer no job is made.
    let mut service = layer.layer(service_fn(|_: Request<&'static str>| {
        let answer = Response::builder().status(StatusCode::NO_CONTENT).body(String::new());
        ready(Ok::<_, Infallible>(answer.unwrap()))
    }));
    assert!(answer(call(&mut service, "/page")).headers().is_empty());
    assert_eq!(layer.counts(), TriggerCounts { dispatched: 1, refused: 0 });
}

#[test]
fn a_refusal_after_the_answer_is_counted_and_told() {
    let seen = Seen::default();
    let layer = TriggerAfter::new(full, path_of, status_job).tell_client();
    let answered = answer(call(&mut layer.layer(noting(&seen)), "/page"));
    assert_eq!(field(&answered, "x-task-refused"), Some("queue full"));
    assert_eq!(layer.counts(), TriggerCounts { dispatched: 0, refused: 1 });
}

#[test]
fn without_an_answer_there_is_no_job_after_it() {
    let seen = Seen::default();
    let layer = TriggerAfter::new(accepting(&seen), path_of, status_job);
    let mut failing = layer.layer(service_fn(|_: Request<&'static str>| {
        ready(Err::<Response<String>, _>("the service fails"))
    }));
    assert!(matches!(call(&mut failing, "/page"), Poll::Ready(Err("the service fails"))));
    // `call` drops this future before it is ready.
    let mut slow = layer.layer(service_fn(|_: Request<&'static str>| {
        pending::<Result<Response<String>, Infallible>>()
    }));
    assert!(call(&mut slow, "/page").is_pending());
    assert!(seen.borrow().is_empty(), "{seen:?}");
    assert_eq!(layer.counts(), TriggerCounts::default());
}
