//! `GET /stats`: the counters of the executors and of the task pool.

use serde_json::{Value, json};
use sidecore::durable::DurableStats;
use sidecore::{ExecutorSnapshot, Percentiles, PoolSnapshot, TaskWorkerSnapshot};

/// All counters, with the names that Swoole's `stats()` gives some of them beside them.
pub(crate) fn view(
    executors: &[ExecutorSnapshot],
    pool: Option<&PoolSnapshot>,
    durable: Option<(PoolSnapshot, DurableStats)>,
) -> Value {
    let idle = pool.map_or(0, |pool| pool.workers.iter().filter(|w| w.running.is_none()).count());
    json!({
        "executors": executors.iter().map(executor).collect::<Vec<_>>(),
        "pools": { "default": pool.map(pool_view), "durable": durable.as_ref().map(durable_view) },
        // Swoole's own fields.
        "worker_num": executors.len(),
        "task_worker_num": pool.map_or(0, |pool| pool.workers.len()),
        "connection_num": executors.iter().map(|executor| executor.streams).sum::<u64>(),
        "tasking_num": pool.map_or(0, |pool| pool.queued),
        "task_count": pool.map_or(0, |pool| pool.accepted),
        "task_idle_worker_num": idle,
    })
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
        "waited_us": percentiles(&pool.waited),
        "ran_us": percentiles(&pool.run_time),
        "task_workers": pool.workers.iter().map(task_worker).collect::<Vec<_>>(),
    })
}

/// The counters of the pool, and those of its journal.
fn durable_view((pool, durable): &(PoolSnapshot, DurableStats)) -> Value {
    let mut view = pool_view(pool);
    view["journal"] = json!({
        "appended": durable.appended,
        "acked": durable.acked,
        "redelivered": durable.redelivered,
        "backlog": durable.backlog,
        "given_up": durable.given_up,
        "dead": durable.dead,
        "kept": durable.kept,
        "commits": durable.journal.commits,
        "poisoned": durable.journal.poisoned,
    });
    view
}

fn task_worker(worker: &TaskWorkerSnapshot) -> Value {
    json!({
        "ran": worker.ran,
        "panicked": worker.panicked,
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
