//! A named pool that is durable: its callbacks are wrapped, its journal is closed after it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sidecore_runtime::pool::{PoolConfig, PoolError};
use sidecore_runtime::sys::doorbell::Doorbell;
use sidecore_runtime::sys::stderr;

use crate::durable::{Durable, DurableJob, DurableStats, DurableTasks, Entry};
use crate::lifecycle::executor::Executor;
use crate::tasks::callbacks::{OnFinish, OnTask};
use crate::tasks::pool::{PoolBuilder, TaskPool};
use crate::tasks::pool_start::{
    Counters, Ended, Install, PoolStart, RunningPool, ServerPool, StartPool,
};
use sidecore_runtime::pool::{DeadLetter, TaskContext};

/// How long the end of a server may take to close a journal.
const CLOSE_LIMIT: Duration = Duration::from_secs(10);

/// A [`TaskPool`] whose jobs are journalled: [`PoolBuilder::durable`]. Cheap to clone.
pub struct DurablePool<J, O> {
    durable: Durable<J, O>,
    pool: TaskPool<Entry<J>, O>,
}

impl<J: DurableJob, O: Send + 'static> PoolBuilder<OnTask<J, O>, OnFinish<O>> {
    /// The pool, with a journal: its jobs are run at least once, over restarts. One journal to a
    /// pool.
    pub fn durable(self, durable: &Durable<J, O>) -> DurablePool<J, O> {
        let entries = |on_task| wrap(durable, on_task);
        let on_finish = |OnFinish(on_finish): OnFinish<O>| {
            let told = move |finish: &_, outcome| on_finish(finish, outcome);
            OnFinish::new(durable.on_finish(told))
        };
        let pool = self.map_callbacks(entries, on_finish).build();
        DurablePool { durable: durable.clone(), pool }
    }
}

fn wrap<J: DurableJob, O: Send + 'static>(
    durable: &Durable<J, O>,
    on_task: OnTask<J, O>,
) -> OnTask<Entry<J>, O> {
    let OnTask { make, kinds, on_dead_letter } = on_task;
    let durable = durable.clone();
    let mut wrapped = OnTask::made(move |info| {
        let (mut run, durable) = (make(info)?, durable.clone());
        Ok(move |task: &TaskContext, entry| durable.attempt(task, entry, &mut run))
    });
    wrapped.kinds = kinds.held_by(Entry::job);
    if let Some(on_dead_letter) = on_dead_letter {
        wrapped.on_dead_letter = Some(Arc::new(move |dead: DeadLetter<Entry<J>>| {
            let DeadLetter { id, job, attempts, error } = dead;
            on_dead_letter(DeadLetter { id, job: job.job, attempts, error });
        }));
    }
    wrapped
}

impl<J: DurableJob, O: Send + 'static> DurablePool<J, O> {
    /// The handle that dispatches from this executor's handlers; on executor 0 it begins the
    /// redelivery. Call it on each executor, where the server's application is made.
    pub fn tasks<A: Send + 'static, B: Send + 'static>(
        &self,
        executor: &Executor<A, B>,
    ) -> DurableTasks<J, O> {
        self.durable.tasks(executor, self.pool.tasks())
    }

    /// Its journal. The server closes it when the pool has ended.
    pub fn durable(&self) -> &Durable<J, O> {
        &self.durable
    }

    /// The counters of the journal and of the redelivery, after the server's end too.
    pub fn stats(&self) -> DurableStats {
        self.durable.stats()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.pool.name()
    }
}

impl<J: DurableJob, O: Send + 'static> ServerPool for DurablePool<J, O> {
    fn pool_start(&self) -> PoolStart {
        let mount = self.pool.pool_start();
        let durable = self.durable.clone();
        let start = mount.start.map(|pool| -> Box<dyn StartPool> {
            let close = Box::new(move || {
                if let Err(error) = durable.close(CLOSE_LIMIT) {
                    stderr::line(format_args!("{error}"));
                }
            });
            Box::new(Journalled { pool, close })
        });
        PoolStart { start, ..mount }
    }
}

/// A pool, before its start or running, and what closes its journal.
struct Journalled<P: ?Sized> {
    close: Box<dyn FnOnce() + Send>,
    pool: Box<P>,
}

impl StartPool for Journalled<dyn StartPool> {
    fn is_async(&self) -> bool {
        self.pool.is_async()
    }

    fn start(
        self: Box<Self>,
        config: &PoolConfig,
        number: u8,
        doorbells: &[Arc<Doorbell>],
    ) -> Result<(Box<dyn RunningPool>, Vec<Install>), PoolError> {
        let Journalled { close, pool } = *self;
        let (pool, installs) = pool.start(config, number, doorbells)?;
        Ok((Box::new(Journalled { close, pool }), installs))
    }
}

impl RunningPool for Journalled<dyn RunningPool> {
    fn name(&self) -> Arc<str> {
        self.pool.name()
    }

    fn is_made_anew(&self) -> bool {
        self.pool.is_made_anew()
    }

    fn reloader(&self) -> Arc<dyn Fn() + Send + Sync> {
        self.pool.reloader()
    }

    fn counters(&self) -> Counters {
        self.pool.counters()
    }

    fn close(self: Box<Self>, deadline: Instant) -> Ended {
        let Journalled { close, pool } = *self;
        let Ended { counters, .. } = pool.close(deadline);
        close();
        // What was not delivered, or told as lost, was not settled either.
        let kept = counters.outstanding() + counters.outcomes.lost;
        Ended { counters, kept }
    }
}

impl<J, O> Clone for DurablePool<J, O> {
    fn clone(&self) -> Self {
        DurablePool { durable: self.durable.clone(), pool: self.pool.clone() }
    }
}

impl<J, O> fmt::Debug for DurablePool<J, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DurablePool").field("durable", &self.durable).finish_non_exhaustive()
    }
}
