//! One executor of a server: its listeners, its connections, its end.

use crate::lifecycle::either::{Either, either};
use crate::lifecycle::shutdown::RaiseOnDrop;
use std::future::Future;
use std::pin::pin;
use std::sync::mpsc::Sender;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use sidecore_runtime::executor::{
    ExecutorSnapshot, ExecutorStats, begin_drain, sleep, tasks_quiet,
};
use sidecore_runtime::pool::PoolSnapshot;
use sidecore_runtime::sys::instant;

use crate::app::service::App;
use crate::config::settings::Options;
use crate::http::http1::serving::Serving;
use crate::lifecycle::accept::AcceptLoop;
use crate::lifecycle::life::{Hooks, Life};
use crate::lifecycle::listen::Socket;
use crate::lifecycle::shutdown::Shutdown;
use crate::lifecycle::tls_policy::TlsPolicy;
use crate::tasks::pool_start::{Counters, Install};
use sidecore_runtime::pool::Tasks;

/// An executor, as the application's constructor sees it: the function given to
/// [`Server::serve`](crate::Server::serve) is called with it, on its thread.
///
/// ```
/// use std::cell::Cell;
/// use std::rc::Rc;
///
/// use sidecore::test_server::TestServer;
/// use sidecore::{Config, Executor, Server, service_fn};
///
/// /// What this executor's requests share needs no lock, and need not be `Send`.
/// fn app<J: Send + 'static, O: Send + 'static>(executor: &Executor<J, O>) -> impl sidecore::App + use<J, O> {
///     let (number, served) = (executor.index(), Rc::new(Cell::new(0)));
///     service_fn(move |_request| {
///         served.set(served.get() + 1);
///         let text = format!("request {} of executor {number}", served.get());
///         async { text }
///     })
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut config = Config::default();
/// config.options.worker_num = Some(1);
/// let server = TestServer::start(Server::new(config), app)?;
/// assert_eq!(server.get("/")?.text(), "request 1 of executor 0");
/// assert_eq!(server.get("/")?.text(), "request 2 of executor 0");
/// # Ok(())
/// # }
/// ```
pub struct Executor<J, O> {
    pub(crate) index: usize,
    pub(crate) cpu: usize,
    pub(crate) tasks: Tasks<J, O>,
    pub(crate) stats: ServerStats,
    pub(crate) shutdown: Shutdown,
}

/// The counters of all executors and pools, readable from any of them.
#[derive(Clone, Default)]
pub struct ServerStats {
    pub(crate) executors: Arc<OnceLock<Vec<Arc<ExecutorStats>>>>,
    pub(crate) pools: Arc<OnceLock<Vec<(Arc<str>, Counters)>>>,
}

impl ServerStats {
    /// Of each executor; empty until all have started.
    pub fn executors(&self) -> Vec<ExecutorSnapshot> {
        let executors = self.executors.get().map_or(&[][..], Vec::as_slice);
        executors.iter().map(|stats| stats.snapshot()).collect()
    }

    /// Of each pool of task workers, with its name; the server's own is `default`.
    pub fn pools(&self) -> Vec<(Arc<str>, PoolSnapshot)> {
        let pools = self.pools.get().map_or(&[][..], Vec::as_slice);
        pools.iter().map(|(name, counters)| (name.clone(), counters())).collect()
    }
}

impl<J: Send + 'static, O: Send + 'static> Executor<J, O> {
    /// Its number, from 0; Swoole's `$worker_id`.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The CPU it is pinned to.
    pub fn cpu(&self) -> usize {
        self.cpu
    }

    /// The handle that dispatches tasks from this executor's handlers.
    pub fn tasks(&self) -> Tasks<J, O> {
        self.tasks.clone()
    }

    /// What shuts the server down.
    pub fn shutdown(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// The counters of the server.
    pub fn stats(&self) -> ServerStats {
        self.stats.clone()
    }
}

/// What an executor is given to serve with.
pub(crate) struct Assignment<J, O> {
    pub(crate) executor: Executor<J, O>,
    pub(crate) lanes: Vec<Install>,
    pub(crate) sockets: Vec<Socket>,
    pub(crate) tls_policy: TlsPolicy,
    pub(crate) options: Options,
    pub(crate) shutdown: Shutdown,
    pub(crate) ready: Sender<()>,
    pub(crate) hooks: Hooks,
    pub(crate) ended: RaiseOnDrop,
}

impl<J: Send + Unpin + 'static, O: Send + 'static> Assignment<J, O> {
    /// Serves until the shutdown, then drains: what was read is answered, what was accepted is
    /// delivered, within the drain's time.
    pub(crate) async fn serve<A: App>(self, make_app: impl FnOnce(&Executor<J, O>) -> A) {
        let Assignment {
            executor,
            lanes,
            sockets,
            tls_policy,
            options,
            shutdown,
            ready,
            hooks,
            ended,
        } = self;
        let _ended = ended;
        let installed: Vec<_> = lanes.into_iter().map(|install| install(executor.index)).collect();
        let serving = Serving::new(make_app(&executor), &options);
        let accept_loop = AcceptLoop::open(sockets, tls_policy.prefaces(&options));
        hooks.tell(Life::ExecutorStarted { executor: executor.index, cpu: executor.cpu });
        // The receiver is gone only if another executor could not start.
        let _ = ready.send(());
        drop(ready);
        accept_loop.accept(&serving, &shutdown).await;
        hooks.tell(Life::Draining);

        let end = instant::after(Duration::from_millis(options.drain_timeout_ms));
        begin_drain(end);
        accept_loop.finish(&serving).await;
        serving.drain();
        let _ = before(end, serving.closed()).await;
        let _ = before(end, tasks_quiet()).await;
        installed.into_iter().for_each(|uninstall| uninstall());
        hooks.tell(Life::ExecutorStopped { executor: executor.index });
    }
}

/// A future's output, if it is ready before `end`.
async fn before<T>(end: Instant, future: impl Future<Output = T>) -> Option<T> {
    let left = end.saturating_duration_since(Instant::now());
    match either(pin!(sleep(left)), future).await {
        Either::Left(()) => None,
        Either::Right(output) => Some(output),
    }
}
