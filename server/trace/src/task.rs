//! The spans of tasks and their finishes, and the value that takes a span along.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use sidecore::tasks::{Failure, TaskId, pool_name};
use sidecore::{FinishContext, TaskContext, TaskResult};
use tracing::Span;
use tracing::field::Empty;

use crate::{TARGET, mark_failed};

/// A value that goes from thread to thread with the span in which it was made.
#[derive(Clone, Debug)]
pub struct InSpan<T> {
    span: Span,
    value: T,
}

impl<T> InSpan<T> {
    /// In the current span.
    pub fn current(value: T) -> Self {
        InSpan { span: Span::current(), value }
    }

    /// The span.
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// The value alone.
    pub fn into_inner(self) -> T {
        self.value
    }
}

/// An `on_task` whose jobs run in a span `task`, a child of the one in which they were dispatched,
/// with the task's id, pool and attempt. Its outputs take the parent to the finish.
pub fn task_in_span<J, O>(
    on_task: impl Fn(&TaskContext, J) -> O + Send + Sync + 'static,
) -> impl Fn(&TaskContext, InSpan<J>) -> InSpan<O> + Send + Sync + 'static {
    move |task, InSpan { span, value }| {
        let value = run_in(&task_span(&span, task), || on_task(task, value));
        InSpan { span, value }
    }
}

/// As [`task_in_span`], for a `try_on_task`: the span of a job that fails is marked so.
pub fn try_task_in_span<J, O>(
    on_task: impl Fn(&TaskContext, J) -> Result<O, Failure> + Send + Sync + 'static,
) -> impl Fn(&TaskContext, InSpan<J>) -> Result<InSpan<O>, Failure> + Send + Sync + 'static {
    move |task, InSpan { span, value }| {
        let child = task_span(&span, task);
        let done = run_in(&child, || on_task(task, value));
        if done.is_err() {
            mark_failed(&child);
        }
        done.map(|value| InSpan { span, value })
    }
}

/// As [`try_task_in_span`], for an `on_async_task`: a job's future is polled in its span.
pub fn async_task_in_span<J, O, W>(
    on_task: impl Fn(TaskContext, J) -> W + Send + Sync + 'static,
) -> impl Fn(TaskContext, InSpan<J>) -> TaskSpanning<W> + Send + Sync + 'static
where
    W: Future<Output = Result<O, Failure>>,
{
    move |task, InSpan { span: parent, value }| {
        let span = task_span(&parent, &task);
        let future = run_in(&span, || on_task(task, value));
        TaskSpanning { future, span, parent }
    }
}

pin_project! {
    /// The future of [`async_task_in_span`]. Its span is left with it, at its end or dropped.
    pub struct TaskSpanning<W> {
        #[pin]
        future: W,
        span: Span,
        parent: Span,
    }
}

impl<W, O> Future for TaskSpanning<W>
where
    W: Future<Output = Result<O, Failure>>,
{
    type Output = Result<InSpan<O>, Failure>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let done = ready!(run_in(this.span, || this.future.poll(context)));
        if done.is_err() {
            mark_failed(this.span);
        }
        Poll::Ready(done.map(|value| InSpan { span: this.parent.clone(), value }))
    }
}

/// An `on_finish` that runs in a span `finish`, with the task's id, a child of the one in which the
/// task was dispatched: that one is over, as a rule, and is not entered anew. Of a task without an
/// output, such as one that failed, the span is not known: it runs in none.
pub fn finish_in_span<O>(
    on_finish: impl Fn(&FinishContext, TaskResult<O>) + Send + Sync + 'static,
) -> impl Fn(&FinishContext, TaskResult<InSpan<O>>) + Send + Sync + 'static {
    move |finish, ended| match ended {
        Ok(InSpan { span, value }) => {
            let child = tracing::info_span!(target: TARGET, parent: &span, "finish", id = number(finish.id));
            child.in_scope(|| on_finish(finish, Ok(value)));
        }
        Err(error) => on_finish(finish, Err(error)),
    }
}

/// A closure for [`Closures`](sidecore::tasks::closures::Closures) that runs in a span `task`, a child of the current
/// one: `tasks.call(call_in_span(|task| …))`.
pub fn call_in_span<T>(
    run: impl FnOnce(&TaskContext) -> T + Send + 'static,
) -> impl FnOnce(&TaskContext) -> T + Send + 'static {
    let span = Span::current();
    move |task| run_in(&task_span(&span, task), || run(task))
}

fn task_span(parent: &Span, task: &TaskContext) -> Span {
    let (id, attempt) = (number(task.id), i64::from(task.attempt));
    let pool = pool_name();
    let pool = pool.as_deref().unwrap_or_default();
    tracing::info_span!(target: TARGET, parent: parent, "task", otel.status_code = Empty, id, pool, attempt)
}

/// Runs a job in its span, which is marked where the job panics.
fn run_in<T>(span: &Span, run: impl FnOnce() -> T) -> T {
    struct Unwinding<'a>(&'a Span);

    impl Drop for Unwinding<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                mark_failed(self.0);
            }
        }
    }

    let _unwinding = Unwinding(span);
    span.in_scope(run)
}

/// Numbers are signed, as those of OpenTelemetry are: others become texts there.
fn number(id: TaskId) -> i64 {
    i64::try_from(id).unwrap_or(i64::MAX)
}
