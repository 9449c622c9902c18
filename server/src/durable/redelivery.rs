//! The records that an earlier life of the process left, on their way back into the pool.
//!
//! One task of executor 0 dispatches them, each when there is room for it, in turn with what
//! handlers dispatch: by priority, then in the order in which they were appended. Those that are
//! not due wait here without a credit. A second task ends those whose deadline passes before their
//! turn. Both stop where the server begins to drain: what is left stays in the journal.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use sidecore_runtime::executor::{sleep, spawn_local, yield_now};
use sidecore_runtime::sys::instant;
use sidecore_runtime::sys::panics::{caught, drop_quietly};
use sidecore_runtime::sys::stderr;

use crate::durable::dispatch::Parcel;
use crate::durable::plan::{Plan, deadline_of};
use crate::durable::{DurableError, DurableJob, Entry, Shared};
use crate::lifecycle::shutdown::Shutdown;
use sidecore_journal::{Record, Sequence};
use sidecore_runtime::pool::Tasks;

/// Records that are pending and not in the pool.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    records: HashMap<Sequence, Found>,
    /// Here and below: of those that are still in `records`, and of some that are not.
    due: VecDeque<Sequence>,
    /// By their times.
    later: VecDeque<(Instant, Sequence)>,
    deadlines: VecDeque<(Instant, Sequence)>,
}

/// A record, and its deadline as it was at the open: the wall clock may be set since.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    record: Record,
    deadline: Option<Instant>,
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    Now(Found),
    At(Instant),
    Done,
}

impl Backlog {
    /// Of records by their sequences, which were read just now.
    pub(super) fn new(records: Vec<Record>, now: Instant) -> Self {
        let (mut due, mut later, mut deadlines) = (Vec::new(), Vec::new(), Vec::new());
        let mut found = HashMap::with_capacity(records.len());
        for record in records {
            let (sequence, deadline) = (record.sequence, deadline_of(&record));
            match record.due_in {
                Some(left) => later.push((instant::saturating_add(now, left), sequence)),
                None => due.push((Reverse(record.priority), sequence)),
            }
            deadlines.extend(deadline.map(|at| (at, sequence)));
            found.insert(sequence, Found { record, deadline });
        }
        due.sort_unstable();
        later.sort_unstable();
        deadlines.sort_unstable();
        Backlog {
            records: found,
            due: due.into_iter().map(|(_, sequence)| sequence).collect(),
            later: later.into(),
            deadlines: deadlines.into(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// What has a time that has come goes first: it has waited.
    fn next(&mut self, now: Instant) -> Next {
        let Backlog { records, due, later, .. } = self;
        match first(later, records, now) {
            Next::Now(found) => Next::Now(found),
            at_or_done => {
                let mut due = std::iter::from_fn(|| due.pop_front());
                due.find_map(|sequence| records.remove(&sequence)).map_or(at_or_done, Next::Now)
            }
        }
    }

    /// What is past its deadline.
    fn next_late(&mut self, now: Instant) -> Next {
        first(&mut self.deadlines, &mut self.records, now)
    }
}

/// Takes the first record out whose time has come, or says when that of the first will.
fn first(
    times: &mut VecDeque<(Instant, Sequence)>,
    records: &mut HashMap<Sequence, Found>,
    now: Instant,
) -> Next {
    while let Some((at, sequence)) = times.front() {
        match records.contains_key(sequence) {
            true if *at > now => return Next::At(*at),
            true => return records.remove(sequence).map_or(Next::Done, Next::Now),
            false => drop(times.pop_front()),
        }
    }
    Next::Done
}

/// Dispatches the backlog until it is empty or the server drains.
pub(super) fn redeliver<J: DurableJob, O: Send + 'static>(
    shared: Arc<Shared<O>>,
    tasks: Tasks<Entry<J>, O>,
    shutdown: Shutdown,
    backlog: Backlog,
) {
    let backlog = Rc::new(RefCell::new(backlog));
    let late = backlog.clone();
    let next = move |now| backlog.borrow_mut().next(now);
    let next_late = move |now| late.borrow_mut().next_late(now);
    spawn_local(deliver_each(shared.clone(), tasks.clone(), shutdown.clone(), next));
    spawn_local(deliver_each(shared, tasks, shutdown, next_late));
}

async fn deliver_each<J: DurableJob, O: Send + 'static>(
    shared: Arc<Shared<O>>,
    tasks: Tasks<Entry<J>, O>,
    shutdown: Shutdown,
    next: impl Fn(Instant) -> Next,
) {
    while !shutdown.is_raised() {
        let now = Instant::now();
        match next(now) {
            Next::Now(found) => deliver(&shared, &tasks, found).await,
            Next::At(at) => sleep(at.saturating_duration_since(now)).await,
            Next::Done => return,
        }
        yield_now().await;
    }
}

async fn deliver<J: DurableJob, O: Send + 'static>(
    shared: &Arc<Shared<O>>,
    tasks: &Tasks<Entry<J>, O>,
    Found { record, deadline }: Found,
) {
    let sequence = record.sequence;
    let is_over = match check(&record, shared.crashes_max) {
        Ok((job, plan)) => {
            let plan = Plan { deadline, ..plan };
            let (shared, tasks) = (shared.clone(), tasks.clone());
            let counted = shared.clone();
            let parcel = Parcel { shared, tasks, job, plan, on_dispatch: None };
            let placed = parcel.place(sequence, None).await;
            counted.redelivered.fetch_add(u64::from(placed.is_ok()), Ordering::Relaxed);
            // One whose deadline has passed is settled too.
            let is_over = !matches!(placed, Err(DurableError::Ended));
            // With its job, where it came back.
            drop_quietly(placed);
            is_over
        }
        Err(reason) => {
            stderr::line(format_args!(
                "record {sequence} of a durable pool is a dead letter: {reason}"
            ));
            shared.journal.give_up(sequence, reason);
            shared.given_up.fetch_add(1, Ordering::Relaxed);
            true
        }
    };
    shared.backlog.fetch_sub(u64::from(is_over), Ordering::Relaxed);
}

/// The job and its plan, or why it is given up. What reads the job is the user's: a panic of it would
/// end the redelivery of all others.
fn check<J: DurableJob>(record: &Record, crashes_max: u32) -> Result<(J, Plan), String> {
    let read = caught(|| Plan::read(record).map_err(|cause| cause.to_string()));
    let (job, plan) = read
        .unwrap_or_else(|message| Err(format!("what reads it panicked: {message}")))
        .map_err(|cause| format!("it cannot be read any more: {cause}"))?;
    match record.attempts > plan.retries().saturating_add(crashes_max) {
        false => Ok((job, plan)),
        true => Err(format!(
            "the process has ended too often while it ran: attempts so far {}",
            record.attempts
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn record(sequence: u64, priority: i32, due_in: Option<u64>) -> Record {
        let (payload, due_in) = (br#"{"job":1}"#.to_vec(), due_in.map(Duration::from_secs));
        Record { sequence, payload, attempts: 3, priority, due_in }
    }

    #[test]
    fn records_come_by_time_priority_and_sequence() {
        let records = vec![
            record(1, 0, None),
            record(2, -1, None),
            record(3, 1, None),
            record(4, 0, Some(20)),
            record(5, 0, Some(10)),
            record(6, 0, None),
        ];
        let opened = Instant::now();
        let at = |seconds| opened + Duration::from_secs(seconds);
        let mut backlog = Backlog::new(records, opened);
        assert_eq!(backlog.len(), 6);
        let mut next = |seconds| match backlog.next(at(seconds)) {
            Next::Now(found) => Ok(found.record.sequence),
            Next::At(time) => Err(Some(time)),
            Next::Done => Err(None),
        };
        assert_eq!([next(0), next(0), next(11)], [Ok(3), Ok(1), Ok(5)]);
        assert_eq!([next(11), next(11)], [Ok(6), Ok(2)]);
        assert_eq!([next(11), next(20), next(20)], [Err(Some(at(20))), Ok(4), Err(None)]);
    }

    #[test]
    fn a_deadline_takes_a_record_out_wherever_it_waits_and_once() {
        let mut records = vec![record(1, 0, None), record(2, 0, Some(3600)), record(3, 0, None)];
        for late in &mut records[1..] {
            late.payload = br#"{"job":1,"deadline_at_ms":1,"deadline_ms":500}"#.to_vec();
        }
        let opened = Instant::now();
        let mut backlog = Backlog::new(records, opened);
        let soon = opened + Duration::from_secs(1);
        let numbers = [backlog.next_late(soon), backlog.next_late(soon)].map(|next| match next {
            Next::Now(found) => found.record.sequence,
            other => panic!("{other:?}"),
        });
        assert_eq!((numbers, backlog.next_late(soon)), ([2, 3], Next::Done));
        assert!(matches!(backlog.next(soon), Next::Now(found) if found.record.sequence == 1));
        assert_eq!((backlog.next(soon), backlog.len()), (Next::Done, 0));
    }

    #[test]
    fn what_panics_as_it_is_read_is_given_up_alone() {
        #[derive(Clone, serde::Serialize)]
        struct Panics;
        impl<'de> serde::Deserialize<'de> for Panics {
            fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
                panic!("a reader of the user's")
            }
        }
        let reason = check::<Panics>(&record(1, 0, None), 9).err().unwrap();
        assert!(reason.contains("cannot be read") && reason.contains("of the user's"), "{reason}");
    }

    #[test]
    fn what_cannot_be_read_or_has_ended_the_process_too_often_is_given_up() {
        let record = record(1, 0, None);
        assert_eq!(check::<u64>(&record, 3).unwrap().0, 1);
        assert!(check::<u64>(&record, 2).unwrap_err().contains("so far 3"));
        assert!(check::<String>(&record, 3).unwrap_err().contains("cannot be read"));
    }
}
