//! A server for tests: real sockets on a free port, a small client, and what became of the tasks.
//!
//! ```
//! use std::time::Duration;
//!
//! use sidecore::{Config, Server, service_fn};
//! use sidecore::test_server::TestServer;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut config = Config::default();
//! config.options.worker_num = Some(1);
//! config.options.task_worker_num = Some(1);
//! let server = Server::new(config)
//!     .on_task(|_task, name: String| format!("mail sent to {name}"))
//!     .on_finish(|_finish, _receipt| {});
//! let server = TestServer::start(server, |executor| {
//!     let tasks = executor.tasks();
//!     service_fn(move |request| {
//!         let accepted = tasks.dispatch(request.uri().path().to_owned()).is_ok();
//!         async move { accepted.to_string() }
//!     })
//! })?;
//! let answer = server.get("/ada")?;
//! assert_eq!((answer.status, answer.text()), (sidecore::StatusCode::OK, "true".into()));
//! server.tasks_quiet(Duration::from_secs(10))?;
//! assert_eq!(server.stop()?.finished, 1);
//! # Ok(())
//! # }
//! ```

mod client;
mod echo;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use sidecore_runtime::executor::spawn_local;
use sidecore_runtime::sys::stderr;

pub use crate::test_server::client::Answer;

use crate::app::service::App;
use crate::lifecycle::error::Result;
use crate::lifecycle::executor::Executor;
use crate::lifecycle::report::Report;
use crate::lifecycle::running::Running;
use crate::lifecycle::server::{Job, Output, Server};
use crate::tasks::callbacks::Callbacks;
use crate::test_server::echo::Echo;
use sidecore_runtime::pool::Tasks;

/// How often the counters are looked at.
const LOOK: Duration = Duration::from_millis(1);

/// A server that a test has started. It ends when it is dropped, after its drain.
///
/// Each request goes over a connection of its own and blocks its thread, for 20 seconds at most.
/// To speak to the server in another way, connect to its [`address`](Self::address).
pub struct TestServer<J = std::convert::Infallible, O = std::convert::Infallible> {
    /// None: it was stopped.
    running: Option<Running>,
    address: SocketAddr,
    tasks: Tasks<J, O>,
    echoes: Vec<Arc<Echo>>,
}

/// So many tasks were not over in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TasksOutstanding(pub u64);

impl<J: Send + 'static, O: Send + 'static> TestServer<J, O> {
    /// Starts a server on a free port of 127.0.0.1 and not behind a proxy, whatever its configuration
    /// says of host and port; all else is as it would run.
    ///
    /// # Errors
    /// As [`Server::start`](crate::Server::start).
    pub fn start<A: App, T, F>(
        mut server: Server<T, F>,
        make_app: impl Fn(&Executor<J, O>) -> A + Send + Sync + 'static,
    ) -> Result<Self>
    where
        (T, F): Callbacks<Job = J, Output = O>,
    {
        server.config.host = "127.0.0.1".to_owned();
        server.config.port = 0;
        server.config.proxy = false;
        let seen = Arc::new((OnceLock::new(), Mutex::new(Vec::new())));
        let see = seen.clone();
        let running = server.start(move |executor: &Executor<Job<T, F>, Output<T, F>>| {
            let _ = see.0.set(executor.tasks());
            let echo = Arc::new(Echo::default());
            see.1.lock().unwrap_or_else(PoisonError::into_inner).push(echo.clone());
            spawn_local(async move { echo.answer().await });
            make_app(executor)
        })?;
        let tasks = seen.0.get().cloned().unwrap_or_else(Tasks::none);
        let echoes = std::mem::take(&mut *seen.1.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(TestServer { address: running.address(), running: Some(running), tasks, echoes })
    }

    /// The handle that dispatches to the server's own pool, from the test's thread too.
    pub fn tasks(&self) -> Tasks<J, O> {
        self.tasks.clone()
    }
}

impl<J, O> TestServer<J, O> {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path, for another client.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The server itself: its statistics, its reload, its shutdown.
    pub fn running(&self) -> &Running {
        self.running.as_ref().unwrap_or_else(|| unreachable!("it is taken when it is consumed"))
    }

    /// Asks for a path.
    ///
    /// # Errors
    /// Where the connection fails, or the answer is no HTTP.
    pub fn get(&self, path: &str) -> io::Result<Answer> {
        self.request("GET", path, &[], b"")
    }

    /// Posts a body.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn post(&self, path: &str, body: impl AsRef<[u8]>) -> io::Result<Answer> {
        self.request("POST", path, &[], body.as_ref())
    }

    /// Sends a request with fields, such as `&[("Accept", "text/plain")]`. Those of the framing,
    /// Host and Connection are the client's own.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn request(
        &self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Answer> {
        client::request(self.address, method, path, fields, body)
    }

    /// Waits until no task of any pool is waiting, running or to be tried again, for `limit` at
    /// most. Then each has had its outcome, and the `on_finish` or callback of those that executors
    /// dispatched has returned. (Of a task that another thread dispatched, such as the test's own
    /// by [`tasks`](Self::tasks), it may be just about to be called, on the task worker.)
    ///
    /// # Errors
    /// How many tasks are outstanding when the time is over.
    pub fn tasks_quiet(&self, limit: Duration) -> std::result::Result<(), TasksOutstanding> {
        let end = Instant::now() + limit;
        loop {
            let (accepted, outstanding) = self.counts();
            let left = end.saturating_duration_since(Instant::now());
            // Nothing was dispatched since the first look, and each callback of what was over then
            // has returned.
            if outstanding == 0
                && self.echoes.iter().all(|echo| echo.ask(left))
                && self.counts() == (accepted, 0)
            {
                return Ok(());
            }
            if left.is_zero() {
                return Err(TasksOutstanding(outstanding));
            }
            std::thread::sleep(LOOK.min(left));
        }
    }

    /// Tasks of all pools: accepted, and those of them that are not over.
    fn counts(&self) -> (u64, u64) {
        let pools = self.running().pool_stats();
        pools.iter().fold((0, 0), |(accepted, outstanding), (_, pool)| {
            (accepted + pool.accepted, outstanding + pool.outstanding())
        })
    }

    /// Ends it: what was read is answered, what was accepted is delivered. What became of the tasks.
    ///
    /// # Errors
    /// As [`Running::wait`].
    pub fn stop(mut self) -> Result<Report> {
        self.end().unwrap_or_else(|| unreachable!("it is taken when it is consumed"))
    }

    fn end(&mut self) -> Option<Result<Report>> {
        let running = self.running.take()?;
        running.shutdown().raise();
        Some(running.wait())
    }
}

impl<J, O> Drop for TestServer<J, O> {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.end() {
            stderr::line(format_args!("a test's server did not end well: {error}"));
        }
    }
}

impl fmt::Display for TasksOutstanding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TasksOutstanding(count) = self;
        write!(f, "{count} tasks were not over in time: raise the limit, or let their jobs end")
    }
}

impl std::error::Error for TasksOutstanding {}

impl<J, O> fmt::Debug for TestServer<J, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestServer").field("address", &self.address).finish_non_exhaustive()
    }
}
