//! Closures as jobs: a ready-made kind of job for pools whose work is not one type.
//!
//! ```no_run
//! use sidecore::{Config, Server, service_fn};
//! use sidecore::tasks::closures::Closures;
//!
//! fn thumbnail(picture: Vec<u8>) -> Vec<u8> {
//!     picture.into_iter().step_by(16).collect()
//! }
//!
//! fn main() -> sidecore::Result<()> {
//!     Server::new(Config::load()?)
//!         .on_closures()
//!         .on_finish(|finish, ended| {
//!             if let Err(error) = ended {
//!                 eprintln!("task {}: {error}", finish.id);
//!             }
//!         })
//!         .serve(|executor| {
//!             let tasks = executor.tasks();
//!             service_fn(move |_request| {
//!                 let tasks = tasks.clone();
//!                 async move {
//!                     // At once, and on: what becomes of it is told to `on_finish`.
//!                     let counted = tasks.dispatch_closure(|_task| eprintln!("one more"));
//!                     // Waits, with the closure's own type: the executor serves others meanwhile.
//!                     let small = tasks.call(|_task| thumbnail(vec![7; 1024])).await;
//!                     format!("{counted:?}, {:?}\n", small.map(|small| small.len()))
//!                 }
//!             })
//!         })?;
//!     Ok(())
//! }
//! ```
//!
//! It replaces closures and `Task` objects given to Swoole's `task` (which serialises what they
//! capture, and loses the HTTP worker where one throws), and Octane's `concurrently`. What a
//! closure captures is moved to the task worker, not copied.
//!
//! A closure can be run once only, so it cannot be tried again, and the types say so:
//! [`Dispatch::retry`] wants a job that can be cloned.
//!
//! ```compile_fail,E0599
//! # use sidecore::Tasks;
//! # use sidecore::tasks::Retry;
//! # use sidecore::tasks::closures::{Closure, ClosureOutput};
//! # fn example(tasks: Tasks<Closure, ClosureOutput>) {
//! let job = tasks.job(Closure::new(|_task| {}));
//! let _ = job.retry(Retry::times(3)).spawn();
//! # }
//! ```

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::tasks::callbacks::OnTask;
use crate::tasks::pool::PoolBuilder;
use sidecore_runtime::pool::{
    Dispatch, DispatchError, Failure, Run, RunError, TaskContext, TaskError, TaskHandle, TaskId,
    Tasks,
};

/// A job that is a closure. [`Closures`] makes and dispatches them; one that is made by hand goes
/// through [`Tasks::job`], where there is a handle that cancels it.
pub struct Closure(Box<dyn FnOnce(&TaskContext) -> Result<ClosureOutput, Failure> + Send>);

/// What a closure returned, of whatever type. Only `on_finish` sees it: after [`Closures::dispatch_closure`]
/// it is `()`, and where the future of a call was dropped it is what the closure returned.
pub struct ClosureOutput(Box<dyn Any + Send>);

/// How a closure ends that nobody waits for: with nothing, or with nothing or a failure. A value
/// that nobody would see, such as an ignored `Result` of another kind, does not compile.
pub trait Ending {
    /// Whether it failed.
    ///
    /// # Errors
    /// What the closure failed with.
    fn into_result(self) -> Result<(), Failure>;
}

impl Ending for () {
    fn into_result(self) -> Result<(), Failure> {
        Ok(())
    }
}

impl<E: Into<Failure>> Ending for Result<(), E> {
    fn into_result(self) -> Result<(), Failure> {
        self.map_err(E::into)
    }
}

impl Closure {
    /// A closure that nobody waits for.
    pub fn new<E: Ending>(run: impl FnOnce(&TaskContext) -> E + Send + 'static) -> Self {
        Closure::returning(move |task| run(task).into_result())
    }

    fn returning<T: Send + 'static>(
        run: impl FnOnce(&TaskContext) -> Result<T, Failure> + Send + 'static,
    ) -> Self {
        Closure(Box::new(move |task| run(task).map(|value| ClosureOutput(Box::new(value)))))
    }

    /// Runs it, on this thread: the `on_task` of a pool of closures, as in
    /// `.try_on_task(Closure::run)`.
    ///
    /// # Errors
    /// What the closure failed with.
    pub fn run(task: &TaskContext, closure: Closure) -> Result<ClosureOutput, Failure> {
        (closure.0)(task)
    }
}

impl ClosureOutput {
    /// The value, if it is of type `T`; else it is given back.
    ///
    /// # Errors
    /// The output itself, where it is of another type.
    pub fn downcast<T: 'static>(self) -> Result<T, ClosureOutput> {
        self.0.downcast().map(|value| *value).map_err(ClosureOutput)
    }
}

impl<T, F> PoolBuilder<T, F> {
    /// Runs closures on this pool's task workers.
    pub fn on_closures(self) -> PoolBuilder<OnTask<Closure, ClosureOutput>, F> {
        self.try_on_task(Closure::run)
    }
}

/// Calls and spawns closures on the task workers of a pool: what `Tasks<Closure, ClosureOutput>`
/// can do beside all that [`Tasks`] can.
pub trait Closures {
    /// The dispatch of a closure, with the options of this handle.
    fn prepare(&self, closure: Closure) -> Dispatch<Closure, ClosureOutput>;

    /// Puts a closure into the queue and returns at once with its id. Its end, and its failure or
    /// panic, is counted in the pool's outcomes and told to `on_finish`. Replaces Swoole's `task`.
    ///
    /// # Errors
    /// [`DispatchError`], which has the closure.
    fn dispatch_closure<E: Ending>(
        &self,
        run: impl FnOnce(&TaskContext) -> E + Send + 'static,
    ) -> Result<TaskId, DispatchError<Closure>> {
        self.prepare(Closure::new(run)).dispatch()
    }

    /// Puts a closure into the queue, now, and returns a future of what it returns. Replaces
    /// Swoole's `taskwait`.
    fn call<T: Send + 'static>(
        &self,
        run: impl FnOnce(&TaskContext) -> T + Send + 'static,
    ) -> Call<T> {
        self.try_call(move |task| Ok(run(task)))
    }

    /// Calls a closure whose failure is the task's, [`TaskError::Failed`] or
    /// [`TaskError::Cancelled`], and is counted so. What fails otherwise, with an error of its own
    /// that its caller wants, is for [`call`](Self::call).
    fn try_call<T: Send + 'static>(
        &self,
        run: impl FnOnce(&TaskContext) -> Result<T, Failure> + Send + 'static,
    ) -> Call<T> {
        Call { run: self.prepare(Closure::returning(run)).run(), output: PhantomData }
    }

    /// A handle that dispatches each closure with these options.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use sidecore::Tasks;
    /// # use sidecore::tasks::{Priority, RunError};
    /// # use sidecore::tasks::closures::{Closure, ClosureOutput, Closures};
    /// # async fn example(tasks: Tasks<Closure, ClosureOutput>) -> Result<u32, RunError<Closure>> {
    /// let urgent = tasks.with(|job| job.priority(Priority::High).deadline(Duration::from_secs(2)));
    /// urgent.call(|_task| 6 * 7).await
    /// # }
    /// ```
    fn with<F>(&self, options: F) -> WithOptions<Self, F>
    where
        Self: Clone,
        F: Fn(Dispatch<Closure, ClosureOutput>) -> Dispatch<Closure, ClosureOutput>,
    {
        WithOptions { tasks: self.clone(), options }
    }
}

impl Closures for Tasks<Closure, ClosureOutput> {
    fn prepare(&self, closure: Closure) -> Dispatch<Closure, ClosureOutput> {
        self.job(closure)
    }

    /// Without the handle that nobody holds.
    fn dispatch_closure<E: Ending>(
        &self,
        run: impl FnOnce(&TaskContext) -> E + Send + 'static,
    ) -> Result<TaskId, DispatchError<Closure>> {
        self.dispatch(Closure::new(run))
    }
}

/// A handle that dispatches closures with options: [`Closures::with`].
#[derive(Clone)]
pub struct WithOptions<C, F> {
    tasks: C,
    options: F,
}

impl<C, F> Closures for WithOptions<C, F>
where
    C: Closures,
    F: Fn(Dispatch<Closure, ClosureOutput>) -> Dispatch<Closure, ClosureOutput>,
{
    fn prepare(&self, closure: Closure) -> Dispatch<Closure, ClosureOutput> {
        (self.options)(self.tasks.prepare(closure))
    }
}

/// The future of what a closure returns: [`Closures::call`]. It is `Send`.
///
/// Dropping it cancels nothing: the closure runs, and what it returns goes to `on_finish` (where
/// it was called by a thread that is no executor, nowhere). Cancel it by its
/// [`handle`](Self::handle). Await it where it was made, if that is an executor.
///
/// Its errors: [`RunError::Refused`] gives the closure back; [`RunError::Failed`] says how it
/// ended, its panic included; [`TaskError::Lost`] stands where a pool's own `on_task` has
/// returned the output of another closure.
#[must_use = "a future does nothing unless awaited; `spawn` runs a closure without waiting"]
pub struct Call<T> {
    run: Run<Closure, ClosureOutput>,
    output: PhantomData<fn() -> T>,
}

impl<T: 'static> Call<T> {
    /// The handle that cancels the task; None where it was refused.
    pub fn handle(&self) -> Option<&TaskHandle> {
        self.run.handle()
    }

    /// Blocks a thread that is no executor until the closure has returned, for `limit` at most;
    /// then the future comes back.
    ///
    /// # Errors
    /// The future itself, where the task is not over by then.
    pub fn wait(self, limit: Duration) -> Result<Result<T, RunError<Closure>>, Self> {
        match self.run.wait(limit) {
            Ok(outcome) => Ok(typed(outcome)),
            Err(run) => Err(Call { run, output: PhantomData }),
        }
    }
}

impl<T: 'static> Future for Call<T> {
    type Output = Result<T, RunError<Closure>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.run).poll(context).map(typed)
    }
}

fn typed<T: 'static>(
    outcome: Result<ClosureOutput, RunError<Closure>>,
) -> Result<T, RunError<Closure>> {
    outcome?.downcast().map_err(|_| RunError::Failed(TaskError::Lost))
}

impl fmt::Debug for Closure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Closure")
    }
}

impl fmt::Debug for ClosureOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClosureOutput")
    }
}

impl<T> fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Call").field(&self.run).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_of_another_type_is_given_back_whole() {
        let output = ClosureOutput(Box::new(7_u32));
        let output = output.downcast::<String>().expect_err("it is no String");
        assert_eq!(output.downcast::<u32>().ok(), Some(7));
    }

    #[test]
    fn an_output_of_another_closure_is_an_error_and_no_panic() {
        let mixed_up = typed::<String>(Ok(ClosureOutput(Box::new(7_u32))));
        assert!(matches!(mixed_up, Err(RunError::Failed(TaskError::Lost))), "{mixed_up:?}");
    }

    #[test]
    fn a_call_is_send_whatever_it_returns() {
        fn is_send<T: Send>() {}
        is_send::<Call<std::cell::Cell<u8>>>();
    }

    #[test]
    fn without_task_workers_a_closure_is_refused() {
        let tasks: Tasks<Closure, ClosureOutput> = Tasks::none();
        assert!(matches!(tasks.dispatch_closure(|_| ()), Err(DispatchError::NoTaskWorkers(_))));
        let waited = tasks.call(|_| 1).wait(Duration::ZERO);
        let refused = waited.map_err(|_| "a refused call waits for nothing").unwrap();
        assert!(matches!(refused, Err(RunError::Refused(DispatchError::NoTaskWorkers(_)))));
    }
}
