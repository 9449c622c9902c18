//! The counters of a pool, read from outside.

use std::sync::atomic::{AtomicU64, Ordering};

use super::PoolShared;
use crate::pool::stats::histogram::{Histogram, Percentiles};
use crate::pool::stats::{
    Counter, KindSnapshot, KindStats, Outcomes, PoolSnapshot, TaskWorkerSnapshot,
};

impl<J, O> PoolShared<J, O> {
    pub(crate) fn snapshot(&self) -> PoolSnapshot {
        let lanes = || self.lanes.iter().map(|lane| &lane.stats);
        let external = &self.external.stats;
        let external_count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut outcomes = Outcomes::default();
        // Before what was accepted: a task that ends meanwhile is outstanding, not one too many.
        lanes().for_each(|lane| outcomes.add(lane.outcomes.each_ref().map(Counter::get)));
        outcomes.add(external.outcomes.each_ref().map(external_count));
        PoolSnapshot {
            outcomes,
            accepted: lanes().map(|lane| lane.accepted.get()).sum::<u64>()
                + external_count(&external.accepted),
            refused: lanes().map(|lane| lane.refused.get()).sum::<u64>()
                + external_count(&external.refused),
            retried: lanes().map(|lane| lane.retried.get()).sum(),
            callback_panics: lanes().map(|lane| lane.callback_panics.get()).sum(),
            queued: self.queues.len(),
            sleeping: self.park.sleeping(),
            wakes: self.park.wakes(),
            waited: self.percentiles(|kind| &kind.waited),
            run_time: self.percentiles(|kind| &kind.run_time),
            kinds: self
                .kinds
                .names()
                .iter()
                .enumerate()
                .map(|(k, name)| self.kind(k, name))
                .collect(),
            workers: self.worker_snapshots(),
        }
    }

    fn percentiles(&self, of: fn(&KindStats) -> &Histogram) -> Percentiles {
        Histogram::percentiles(self.workers.iter().flat_map(|worker| worker.kinds.iter().map(of)))
    }

    fn kind(&self, kind: usize, name: &'static str) -> KindSnapshot {
        let of_kind = || self.workers.iter().map(|worker| &worker.kinds[kind]);
        KindSnapshot {
            name,
            panicked: of_kind().map(|kind| kind.panicked.get()).sum(),
            waited: Histogram::percentiles(of_kind().map(|kind| &kind.waited)),
            run_time: Histogram::percentiles(of_kind().map(|kind| &kind.run_time)),
        }
    }

    fn worker_snapshots(&self) -> Vec<TaskWorkerSnapshot> {
        let workers = self.workers.iter().enumerate();
        workers
            .filter(|(index, worker)| {
                *index < self.seats || worker.is_working() || worker.ran.get() > 0
            })
            .map(|(index, worker)| worker.snapshot(index >= self.seats))
            .collect()
    }
}
