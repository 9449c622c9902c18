//! `GET /stats`: the counters of the executors and of the pools.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use sidecore::durable::DurableStats;
use sidecore::lifecycle::{ExecutorSnapshot, Heap};
use sidecore::tasks::{KindSnapshot, Percentiles, PoolSnapshot, TaskWorkerSnapshot};

/// Between two looks at the heap.
const HEAP_EVERY: Duration = Duration::from_secs(1);

/// All counters, with the names that Swoole's `stats()` gives some of them beside them.
pub(crate) fn view(
    executors: &[ExecutorSnapshot],
    pools: &[(Arc<str>, PoolSnapshot)],
    journal: Option<DurableStats>,
) -> Value {
    let mut views: Map<String, Value> =
        pools.iter().map(|(name, pool)| (name.to_string(), pool_view(pool))).collect();
    if let (Some(journal), Some(durable)) = (journal, views.get_mut("durable")) {
        durable["journal"] = journal_view(&journal);
    }
    let own = pools.iter().find(|(name, _)| &**name == "default").map(|(_, pool)| pool);
    let workers = own.map_or(&[][..], |pool| &pool.workers);
    let heap = heap();
    json!({
        "executors": executors.iter().map(executor).collect::<Vec<_>>(),
        "pools": views,
        // What is in use tells a leak from what the allocator keeps for later.
        "heap": heap.map(|heap| json!({
            "in_use_bytes": heap.in_use_bytes,
            "held_bytes": heap.held_bytes,
        })),
        // Swoole's own fields: of its one pool, which is this server's own.
        "worker_num": executors.len(),
        "task_worker_num": workers.len(),
        "connection_num": executors.iter().map(|executor| executor.streams).sum::<u64>(),
        "tasking_num": own.map_or(0, |pool| pool.queued),
        "task_count": own.map_or(0, |pool| pool.accepted),
        "task_idle_worker_num": workers.iter().filter(|worker| worker.running_jobs == 0).count(),
    })
}

/// Asked for once a second at most: the allocator takes about a millisecond to tell, in which the
/// executor serves nobody.
fn heap() -> Option<Heap> {
    static LAST: Mutex<Option<(Instant, Option<Heap>)>> = Mutex::new(None);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let (at, heap) = last.filter(|(at, _)| at.elapsed() < HEAP_EVERY).unwrap_or_else(|| {
        let heap = sidecore::lifecycle::heap();
        (Instant::now(), heap)
    });
    *last = Some((at, heap));
    heap
}

fn executor(executor: &ExecutorSnapshot) -> Value {
    json!({
        "turns": executor.turns,
        "kernel_enters": executor.enters,
        "sleeps": executor.sleeps,
        "polls": executor.polls,
        "finishes": executor.finishes,
        "connections": executor.streams,
        "panics": executor.panics,
        "blocked": executor.blocked,
    })
}

fn pool_view(pool: &PoolSnapshot) -> Value {
    let outcomes = &pool.outcomes;
    json!({
        "accepted": pool.accepted,
        "refused": pool.refused,
        "retried": pool.retried,
        "queued": pool.queued,
        "in_flight": pool.outstanding(),
        "finished": outcomes.finished,
        "failed": outcomes.failed,
        "panicked": outcomes.panicked,
        "timed_out": outcomes.timed_out,
        "cancelled": outcomes.cancelled,
        "lost": outcomes.lost,
        "callback_panics": pool.callback_panics,
        "sleeping_workers": pool.sleeping,
        "wakes": pool.wakes,
        "waited_us": percentiles(&pool.waited),
        "ran_us": percentiles(&pool.run_time),
        "kinds": pool.kinds.iter().map(|of| (of.name.to_owned(), kind(of))).collect::<Map<_, _>>(),
        "task_workers": pool.workers.iter().map(task_worker).collect::<Vec<_>>(),
    })
}

fn journal_view(journal: &DurableStats) -> Value {
    json!({
        "appended": journal.appended,
        "acked": journal.acked,
        "redelivered": journal.redelivered,
        "backlog": journal.backlog,
        "given_up": journal.given_up,
        "dead": journal.dead,
        "kept": journal.kept,
        "commits": journal.journal.commits,
        "poisoned": journal.journal.poisoned,
    })
}

fn kind(kind: &KindSnapshot) -> Value {
    json!({
        "ran": kind.run_time.count,
        "panicked": kind.panicked,
        "waited_us": percentiles(&kind.waited),
        "ran_us": percentiles(&kind.run_time),
    })
}

fn task_worker(worker: &TaskWorkerSnapshot) -> Value {
    json!({
        "ran": worker.ran,
        "panicked": worker.panicked,
        "renewed": worker.renewed,
        "is_spare": worker.is_spare,
        "running_jobs": worker.running_jobs,
        "running_task_id": worker.running.map(|(id, _)| id),
        "running_for_ms": worker.running.map(|(_, since)| since.as_millis() as u64),
    })
}

fn percentiles(of: &Percentiles) -> Value {
    json!({
        "count": of.count,
        "p50": of.p50.as_micros() as u64,
        "p99": of.p99.as_micros() as u64,
        "p999": of.p999.as_micros() as u64,
        "max": of.max.as_micros() as u64,
    })
}
