//! The records that an earlier life of the process left, on their way back into the pool.
//!
//! One task of executor 0 dispatches them, each when there is room for it, in turn with what
//! handlers dispatch: by priority, then in the order in which they were appended. Those that are
//! not due wait here without a credit. It stops where the server begins to drain: what is left
//! stays in the journal.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use sidecore_runtime::executor::{sleep, yield_now};

use super::dispatch::Parcel;
use super::oneshot::oneshot;
use super::plan::{Plan, bounded_due};
use super::{DurableError, DurableJob, Entry, Shared};
use crate::journal::{Record, say};
use crate::shutdown::Shutdown;
use crate::tasks::Tasks;

/// The wall clock may be set: it is looked at so often at least.
const LOOK: Duration = Duration::from_secs(60);

/// Records that are pending and not in the pool.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    due: VecDeque<Record>,
    /// By their times.
    later: VecDeque<Record>,
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    Now(Record),
    At(SystemTime),
    Done,
}

impl Backlog {
    /// Of records by their sequences.
    pub(super) fn new(mut records: Vec<Record>, now: SystemTime) -> Self {
        for record in &mut records {
            record.due_at = bounded_due(record, now);
        }
        let is_later = |record: &Record| record.due_at.is_some_and(|at| at > now);
        let (mut later, mut due): (Vec<_>, Vec<_>) = records.into_iter().partition(is_later);
        // Both sorts are stable.
        due.sort_by_key(|record| Reverse(record.priority));
        later.sort_by_key(|record| record.due_at);
        Backlog { due: due.into(), later: later.into() }
    }

    pub(super) fn len(&self) -> usize {
        self.due.len() + self.later.len()
    }

    /// What has a time that has come goes first: it has waited.
    fn next(&mut self, now: SystemTime) -> Next {
        let first_at = self.later.front().and_then(|record| record.due_at);
        let waited = first_at.filter(|at| *at <= now).and_then(|_| self.later.pop_front());
        match (waited.or_else(|| self.due.pop_front()), first_at) {
            (Some(record), _) => Next::Now(record),
            (None, Some(at)) => Next::At(at),
            (None, None) => Next::Done,
        }
    }
}

/// Dispatches the backlog until it is empty or the server drains.
pub(super) async fn redeliver<J: DurableJob, O: Send + 'static>(
    shared: Arc<Shared<O>>,
    tasks: Tasks<Entry<J>, O>,
    shutdown: Shutdown,
    mut backlog: Backlog,
) {
    if backlog.len() > 0 && !begin_run(&shared, &shutdown).await {
        return;
    }
    while !shutdown.is_raised() {
        let now = SystemTime::now();
        match backlog.next(now) {
            Next::Now(record) => deliver(&shared, &tasks, record).await,
            Next::At(at) => sleep(at.duration_since(now).unwrap_or_default().min(LOOK)).await,
            Next::Done => return,
        }
        yield_now().await;
    }
}

/// Has the journal count from now on: what is delivered may run, and take the process with it. False:
/// it cannot, or the server drains; then nothing is delivered.
async fn begin_run<O: Send + 'static>(shared: &Arc<Shared<O>>, shutdown: &Shutdown) -> bool {
    while !shutdown.is_raised() {
        let (sender, begun) = oneshot();
        shared.journal.begin_run(move |result| drop(sender.send(result)));
        match begun.await {
            Some(Ok(())) => return true,
            Some(Err(error)) if error.is_poisoned() || error.is_closed() => return false,
            // Busy or full: it may be otherwise soon.
            Some(Err(_)) => sleep(LOOK).await,
            None => return false,
        }
    }
    false
}

async fn deliver<J: DurableJob, O: Send + 'static>(
    shared: &Arc<Shared<O>>,
    tasks: &Tasks<Entry<J>, O>,
    record: Record,
) {
    let sequence = record.sequence;
    let is_over = match check(&record, shared.crashes_max) {
        Ok((job, plan)) => {
            let (shared, tasks) = (shared.clone(), tasks.clone());
            let counted = shared.clone();
            let parcel = Parcel { shared, tasks, job, plan, on_dispatch: None };
            let placed = parcel.place(sequence, None).await;
            counted.redelivered.fetch_add(u64::from(placed.is_ok()), Ordering::Relaxed);
            // One whose deadline has passed is settled too.
            !matches!(placed, Err(DurableError::Ended))
        }
        Err(reason) => {
            say(&format!("record {sequence} of a durable pool is a dead letter: {reason}"));
            shared.journal.dead(sequence, reason);
            shared.given_up.fetch_add(1, Ordering::Relaxed);
            true
        }
    };
    shared.backlog.fetch_sub(u64::from(is_over), Ordering::Relaxed);
}

/// The job and its plan, or why it is given up.
fn check<J: DurableJob>(record: &Record, crashes_max: u32) -> Result<(J, Plan), String> {
    let (job, plan) =
        Plan::read(record).map_err(|cause| format!("it cannot be read any more: {cause}"))?;
    match record.attempts > plan.retries().saturating_add(crashes_max) {
        false => Ok((job, plan)),
        true => Err(format!(
            "the process has ended too often while it was pending: attempts so far {}",
            record.attempts
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn record(sequence: u64, priority: i32, due: Option<u64>) -> Record {
        let payload = br#"{"job":1}"#.to_vec();
        Record { sequence, payload, attempts: 3, priority, due_at: due.map(at) }
    }

    #[test]
    fn records_come_by_time_priority_and_sequence() {
        let records = vec![
            record(1, 0, None),
            record(2, -1, Some(5)),
            record(3, 1, None),
            record(4, 0, Some(30)),
            record(5, 0, Some(20)),
            record(6, 0, None),
        ];
        let mut backlog = Backlog::new(records, at(10));
        assert_eq!(backlog.len(), 6);
        let mut next = |seconds| match backlog.next(at(seconds)) {
            Next::Now(record) => Ok(record.sequence),
            Next::At(time) => Err(Some(time)),
            Next::Done => Err(None),
        };
        assert_eq!([next(10), next(10), next(21)], [Ok(3), Ok(1), Ok(5)]);
        assert_eq!([next(21), next(21)], [Ok(6), Ok(2)]);
        assert_eq!([next(21), next(30), next(30)], [Err(Some(at(30))), Ok(4), Err(None)]);
    }

    #[test]
    fn what_cannot_be_read_or_has_ended_the_process_too_often_is_given_up() {
        let record = record(1, 0, None);
        assert_eq!(check::<u64>(&record, 3).unwrap().0, 1);
        assert!(check::<u64>(&record, 2).unwrap_err().contains("so far 3"));
        assert!(check::<String>(&record, 3).unwrap_err().contains("cannot be read"));
    }
}
