//! What a running server renews: its task workers, and who is told of that; its certificates.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sidecore_runtime::sys::stderr;

use crate::lifecycle::error::Result;
use crate::lifecycle::life::{Hooks, Life};
use crate::lifecycle::shutdown::Shutdown;
use crate::lifecycle::tls_policy::TlsPolicy;
use crate::tasks::pool_start::{Counters, RunningPool};

/// How soon, and at least how often, it is looked whether all are made anew.
const LOOK_FIRST: Duration = Duration::from_millis(2);
const LOOK_LAST: Duration = Duration::from_millis(500);

/// Renews parts of a running server, from any thread: nothing is lost.
#[derive(Clone)]
pub struct Reload {
    shared: Arc<ReloadShared>,
}

struct ReloadShared {
    pools: Vec<(Arc<dyn Fn() + Send + Sync>, Counters)>,
    tls_policy: TlsPolicy,
    hooks: Hooks,
    shutdown: Shutdown,
    /// How often each worker had been made anew before the last reload; None: none is under way.
    before: Mutex<Option<Vec<u64>>>,
}

impl Reload {
    pub(crate) fn new(
        pools: &[Box<dyn RunningPool>],
        tls_policy: &TlsPolicy,
        hooks: &Hooks,
        shutdown: &Shutdown,
    ) -> Self {
        // The end of the reload would be waited for in vain with the others.
        let pools = pools.iter().filter(|pool| pool.is_made_anew());
        let pools = pools.map(|pool| (pool.reloader(), pool.counters())).collect();
        let (hooks, shutdown) = (hooks.clone(), shutdown.clone());
        let (tls_policy, before) = (tls_policy.clone(), Mutex::new(None));
        Reload { shared: Arc::new(ReloadShared { pools, tls_policy, hooks, shutdown, before }) }
    }

    /// Has the task workers made anew, each after its job. Begins it; comes back at once. [`Life::Reloading`] is told before, [`Life::Reloaded`] after.
    pub fn task_workers(&self) {
        let shared = &self.shared;
        if !shared.hooks.are_some() {
            return shared.begin();
        }
        shared.hooks.tell(Life::Reloading);
        let watched = shared.before().replace(shared.renewals()).is_some();
        shared.begin();
        if !watched {
            let watching = shared.clone();
            let thread = std::thread::Builder::new().name("reload".into());
            if thread.spawn(move || watching.watch()).is_err() {
                stderr::line(format_args!("no thread to tell the end of the reload"));
                *shared.before() = None;
            }
        }
    }
}

impl Reload {
    /// Reads the certificates again, if there are any: new connections get them, open ones stay.
    /// Where a file is at fault all stay as they were.
    ///
    /// # Errors
    /// What is at fault, and the cure; all goes on with what was read before.
    pub fn certificates(&self) -> Result<()> {
        self.shared.tls_policy.renew()
    }
}

impl ReloadShared {
    fn begin(&self) {
        self.pools.iter().for_each(|(reload, _)| reload());
    }

    /// Of the workers that are no spares, how often each was made anew.
    fn renewals(&self) -> Vec<u64> {
        let pools = self.pools.iter().map(|(_, counters)| counters());
        let workers = pools.flat_map(|pool| pool.workers);
        workers.filter(|worker| !worker.is_spare).map(|worker| worker.renewed).collect()
    }

    /// Looks until all were made anew, less and less often, and tells it.
    fn watch(&self) {
        let mut pause = LOOK_FIRST;
        while !self.shutdown.is_raised() {
            if self.is_over() {
                return self.hooks.tell(Life::Reloaded);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LOOK_LAST);
        }
        *self.before() = None;
    }

    fn is_over(&self) -> bool {
        let mut before = self.before();
        let now = self.renewals();
        let over = before.iter().flatten().zip(now).all(|(before, now)| now > *before);
        if over {
            *before = None;
        }
        over
    }

    fn before(&self) -> MutexGuard<'_, Option<Vec<u64>>> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
