//! The pools of this server: its own, and those beside it.

use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use sidecore::durable::journal::JournalError;
use sidecore::durable::{Durable, DurableLimits, DurablePool, DurableTasks};
use sidecore::lifecycle::stderr;
use sidecore::tasks::{OnFinish, OnTask, TaskPool};
use sidecore::{Executor, Server, Tasks};

use crate::job::{Job, Output, Runner, kinds};
use crate::ledger::Ledger;

/// Jobs that wait in the bulk pool at most: it is there to be flooded.
const BULK_DEPTH: usize = 64;
/// Jobs that the async pool's worker takes at once.
const ASYNC_CONCURRENCY: usize = 1024;

/// A pool, as clients name it.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PoolName {
    /// The server's own.
    #[default]
    Default,
    /// A bulkhead: a short queue and a worker of its own.
    Bulk,
    /// Its jobs are futures, many at once.
    Async,
    /// Its jobs are on the disk before they are answered.
    Durable,
}

/// The pools beside the server's own.
#[derive(Clone)]
pub(crate) struct Pools {
    bulk: TaskPool<Job, Output>,
    many: TaskPool<Job, Output>,
    durable: Option<DurablePool<Job, Output>>,
}

/// What dispatches to all pools from one executor.
pub(crate) struct Handles {
    own: Tasks<Job, Output>,
    bulk: Tasks<Job, Output>,
    many: Tasks<Job, Output>,
    pub(crate) durable: Option<DurableTasks<Job, Output>>,
}

/// A server with its callbacks.
type Complete = Server<OnTask<Job, Output>, OnFinish<Output>>;

impl Pools {
    /// The pools; the durable one only with a directory for its journal.
    pub(crate) fn new(
        runner: &Arc<Runner>,
        ledger: &Arc<Ledger>,
        data_dir: Option<&Path>,
    ) -> Result<Self, JournalError> {
        let on_finish = || {
            let ledger = ledger.clone();
            move |finish: &_, outcome| ledger.finish(finish, outcome)
        };
        let run = || {
            let runner = runner.clone();
            move |task: &_, job| runner.run(task, job)
        };
        let bulk = TaskPool::named("bulk").queue_depth(BULK_DEPTH).try_on_task(run());
        let runner = runner.clone();
        let many = TaskPool::named("async").on_async_task(ASYNC_CONCURRENCY, move |task, job| {
            let runner = runner.clone();
            async move { runner.run_async(task, job).await }
        });
        let durable = match data_dir {
            Some(directory) => {
                let journal = open(directory)?;
                let pool = TaskPool::named("durable").try_on_task(run()).kinds(kinds());
                Some(pool.on_finish(on_finish()).durable(&journal))
            }
            None => None,
        };
        let bulk = bulk.kinds(kinds()).on_finish(on_finish()).build();
        let many = many.kinds(kinds()).on_finish(on_finish()).build();
        Ok(Pools { bulk, many, durable })
    }

    /// Adds them to a server.
    pub(crate) fn mount(&self, server: Complete) -> Complete {
        let server = server.with_pool(&self.bulk).with_pool(&self.many);
        match &self.durable {
            Some(durable) => server.with_pool(durable),
            None => server,
        }
    }

    /// The handles of one executor.
    pub(crate) fn on(&self, executor: &Executor<Job, Output>) -> Handles {
        Handles {
            own: executor.tasks(),
            bulk: self.bulk.tasks(),
            many: self.many.tasks(),
            durable: self.durable.as_ref().map(|durable| durable.tasks(executor)),
        }
    }

    /// Tasks that the journal keeps, after the server's end.
    pub(crate) fn kept(&self) -> u64 {
        self.durable.as_ref().map_or(0, |durable| durable.stats().kept)
    }
}

impl Handles {
    /// Of every pool but the durable one, whose handle is of another kind.
    pub(crate) fn of(&self, pool: PoolName) -> &Tasks<Job, Output> {
        match pool {
            PoolName::Bulk => &self.bulk,
            PoolName::Async => &self.many,
            PoolName::Default | PoolName::Durable => &self.own,
        }
    }
}

fn open(directory: &Path) -> Result<Durable<Job, Output>, JournalError> {
    let journal = Durable::open(directory, "durable", DurableLimits::default())?;
    let left = journal.stats().backlog;
    if left > 0 {
        stderr::line(format_args!(
            "{left} tasks of the journal are left from before: they are run now"
        ));
    }
    Ok(journal)
}
