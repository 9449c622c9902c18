//! A server that runs: its counters, its end, and what became of its tasks.

use crate::lifecycle::report::Report;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use sidecore_runtime::executor::{Blocked, Executor, ExecutorSnapshot, ExecutorWatch, Watching};
use sidecore_runtime::net::UnixPath;
use sidecore_runtime::pool::PoolSnapshot;
use sidecore_runtime::sys::{instant, stderr};

use crate::lifecycle::companion::Companion;
use crate::lifecycle::error::{Error, Result};
use crate::lifecycle::life::{Hooks, Life};
use crate::lifecycle::reload::Reload;
use crate::lifecycle::shutdown::Shutdown;
use crate::lifecycle::tls_policy::TlsPolicy;
use crate::tasks::pool_start::{DEFAULT, RunningPool};

/// Receives the reports of blocked executors.
pub(crate) type OnBlocked = Box<dyn Fn(&Blocked) + Send>;

/// How long a task worker may overrun the drain.
const OVERRUN: Duration = Duration::from_millis(100);

/// A server that accepts connections.
pub struct Running {
    /// The first is that of host and port, if there is one.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Where it listens, as the operator is told.
    pub(crate) listens: Vec<String>,
    /// The files of its Unix sockets, which go with it.
    #[expect(dead_code, reason = "dropped when the server has ended")]
    pub(crate) files: Vec<UnixPath>,
    pub(crate) tls_policy: TlsPolicy,
    /// Who runs where.
    pub(crate) places: Vec<String>,
    pub(crate) shutdown: Shutdown,
    pub(crate) executors: Vec<(usize, Executor)>,
    pub(crate) pools: Vec<Box<dyn RunningPool>>,
    pub(crate) hooks: Hooks,
    pub(crate) companion: Option<Companion>,
    /// Of blocked executors, where they are looked for.
    pub(crate) watching: Option<Watching>,
}

impl Running {
    /// Where it listens; with port 0 in the configuration, the port that was free. Where the host
    /// is `none` that is the first of the other addresses of TCP, and 0.0.0.0:0 without one.
    pub fn address(&self) -> SocketAddr {
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        self.addresses.first().copied().unwrap_or(nowhere)
    }

    /// All addresses of TCP that it listens on: that of host and port, then those of the further
    /// listeners that it bound, in their order. Empty where all are Unix sockets.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What shuts it down, from any thread.
    pub fn shutdown(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// The start-up lines: where it listens, which CPU serves what, what could be better.
    pub fn describe(&self) -> Vec<String> {
        let mut lines = self.places.clone();
        lines.push(format!(
            "listening on {} with {} executors and {} task workers",
            self.listens[0],
            self.executors.len(),
            self.task_stats().map_or(0, |pool| pool.workers.len())
        ));
        lines.extend(self.listens[1..].iter().map(|at| format!("listening on {at} too")));
        lines
    }

    /// The counters of each executor.
    pub fn executor_stats(&self) -> Vec<ExecutorSnapshot> {
        self.executors.iter().map(|(_, executor)| executor.stats().snapshot()).collect()
    }

    /// The counters of the server's own task pool, if there is one.
    pub fn task_stats(&self) -> Option<PoolSnapshot> {
        self.pool_stats().into_iter().find(|(name, _)| &**name == DEFAULT).map(|(_, pool)| pool)
    }

    /// The counters of all pools, with their names; the server's own is `default`.
    pub fn pool_stats(&self) -> Vec<(Arc<str>, PoolSnapshot)> {
        self.pools.iter().map(|pool| (pool.name(), (pool.counters())())).collect()
    }

    /// What has task workers made anew, or certificates read again, from any thread. Replaces
    /// Swoole's `reload(true)`.
    pub fn reload(&self) -> Reload {
        Reload::new(&self.pools, &self.tls_policy, &self.hooks, &self.shutdown)
    }

    /// Waits for the end of the shutdown.
    ///
    /// Where an executor ends by a panic outside of requests and tasks, or by an error of its ring,
    /// it closes its sockets, the shutdown begins, and the others drain. Then this gives that error,
    /// with the report of the tasks ([`Error::report`]): those that the executor had accepted and
    /// not delivered are among the lost ones.
    ///
    /// # Errors
    /// An [`Error`] with the cause, where an executor ended before it was told to; what became of the
    /// tasks is in its [report](Error::report).
    pub fn wait(self) -> Result<Report> {
        let mut failed: Option<String> = None;
        for (index, (cpu, executor)) in self.executors.into_iter().enumerate() {
            if let Err(error) = executor.join(index, cpu) {
                self.shutdown.raise();
                failed.get_or_insert_with(|| error.to_string());
            }
        }
        // The executors have waited for their tasks; a worker that still runs one has overrun.
        let end = instant::after(OVERRUN);
        let mut report = Report::default();
        self.pools.into_iter().for_each(|pool| report.add(&pool.close(end)));
        // Last: until then futures may have its timers.
        if let Some(Err(error)) = self.companion.map(Companion::end) {
            failed.get_or_insert(error);
        }
        self.hooks.tell(Life::Ended { report });
        match failed {
            Some(cause) => Err(Error::failed(cause, report)),
            None => Ok(report),
        }
    }

    /// Every executor reports once it accepts; one that cannot start ends instead.
    pub(crate) fn await_start(self, started: &mpsc::Receiver<()>) -> Result<Self> {
        for _ in &self.executors {
            if started.recv().is_err() {
                self.shutdown.raise();
                self.wait()?;
                return Err(Error::io(
                    "an executor ended before it could serve",
                    std::io::ErrorKind::Interrupted.into(),
                ));
            }
        }
        self.hooks.tell(Life::Started { address: self.address() });
        Ok(self)
    }

    /// Has blocked executors looked for, by a thread of its own.
    pub(crate) fn watch(&mut self, watch: Option<ExecutorWatch>, on_blocked: Option<OnBlocked>) {
        let Some(watch) = watch else { return };
        let on_blocked = on_blocked
            .unwrap_or_else(|| Box::new(|blocked| stderr::line(format_args!("{blocked}"))));
        let executors = self.executors.iter().map(|(_, executor)| executor.stats().clone());
        match watch.start(executors.collect::<Vec<_>>(), on_blocked) {
            Ok(watching) => self.watching = Some(watching),
            Err(error) => {
                self.places.push(format!("warning: nobody looks for blocked executors: {error}"));
            }
        }
    }
}
