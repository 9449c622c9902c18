//! How a durable job is to be treated, and a record's payload, which keeps it beside the job: by the
//! wall clock, so that it still holds after a restart.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use sidecore_runtime::sys::instant;

use crate::durable::{DurableJob, Entry};
use sidecore_journal::{Meta, Record};
use sidecore_runtime::pool::{Dispatch, Priority, Retry, Tasks};

/// The options of one durable dispatch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Plan {
    pub(super) priority: Priority,
    pub(super) due: Option<Instant>,
    pub(super) deadline: Option<Instant>,
    /// Not kept beyond a restart, after which there may be other task workers.
    pub(super) task_worker: Option<usize>,
    pub(super) retry: Option<Retry>,
    /// In earlier lives of the process.
    pub(super) attempts_before: u32,
}

/// A payload. What it may lack has a default, so that a later version can read it.
#[derive(Deserialize, Serialize)]
struct Written<J> {
    job: J,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry: Option<WrittenRetry>,
    /// Milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deadline_at_ms: Option<u64>,
    /// Its length when it was written: what bounds it should the clock be set back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deadline_ms: Option<u64>,
}

impl<J> Written<J> {
    fn deadline(&self) -> Option<Instant> {
        let left_ms = self.deadline_at_ms?.saturating_sub(wall_ms());
        let left_ms = left_ms.min(self.deadline_ms.unwrap_or(left_ms));
        Some(instant::after(Duration::from_millis(left_ms)))
    }
}

#[derive(Deserialize, Serialize)]
struct WrittenRetry {
    retries: u32,
    backoff_ms: u64,
    backoff_max_ms: u64,
}

/// How long it is until then.
fn until(at: Instant) -> Duration {
    at.saturating_duration_since(Instant::now())
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds since 1970.
fn wall_ms() -> u64 {
    ms(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// The deadline of a record that was read just now, if it has one that can be read.
pub(super) fn deadline_of(record: &Record) -> Option<Instant> {
    serde_json::from_slice::<Written<IgnoredAny>>(&record.payload).ok()?.deadline()
}

impl Plan {
    /// What the journal keeps beside the payload.
    pub(super) fn meta(&self) -> Meta {
        let priority = match self.priority {
            Priority::High => 1,
            Priority::Normal => 0,
            Priority::Low => -1,
        };
        Meta { priority, due_in: self.due.map(until) }
    }

    /// A record's payload.
    pub(super) fn write(&self, job: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
        let retry = self.retry.map(|retry| WrittenRetry {
            retries: retry.retries,
            backoff_ms: ms(retry.backoff),
            backoff_max_ms: ms(retry.backoff_max),
        });
        // Rounded up, so that it never cuts the deadline while the clock runs true.
        let deadline_ms = self.time_left().map(|left| ms(left).saturating_add(1));
        let deadline_at_ms = deadline_ms.map(|left| wall_ms().saturating_add(left));
        serde_json::to_vec(&Written { job, retry, deadline_at_ms, deadline_ms })
    }

    /// What a record says, whose time to wait is over.
    pub(super) fn read<J: DeserializeOwned>(
        record: &Record,
    ) -> Result<(J, Plan), serde_json::Error> {
        let written: Written<J> = serde_json::from_slice(&record.payload)?;
        let deadline = written.deadline();
        let priority = match record.priority {
            1.. => Priority::High,
            0 => Priority::Normal,
            _ => Priority::Low,
        };
        let retry = written.retry.map(|retry| Retry {
            retries: retry.retries,
            backoff: Duration::from_millis(retry.backoff_ms),
            backoff_max: Duration::from_millis(retry.backoff_max_ms),
        });
        let attempts_before = record.attempts;
        Ok((written.job, Plan { priority, deadline, retry, attempts_before, ..Plan::default() }))
    }

    /// How long there is until the deadline, if there is one.
    pub(super) fn time_left(&self) -> Option<Duration> {
        self.deadline.map(until)
    }

    /// Attempts after the first.
    pub(super) fn retries(&self) -> u32 {
        self.retry.map_or(0, |retry| retry.retries)
    }

    /// The dispatch of an entry, by what is left of its times.
    pub(super) fn prepare<J: DurableJob, O: Send + 'static>(
        &self,
        tasks: &Tasks<Entry<J>, O>,
        entry: Entry<J>,
    ) -> Dispatch<Entry<J>, O> {
        let mut dispatch = tasks.job(entry).priority(self.priority);
        dispatch = dispatch.attempts_before(self.attempts_before);
        if let Some(delay) = self.due.map(until).filter(|delay| !delay.is_zero()) {
            dispatch = dispatch.delay(delay);
        }
        if let Some(left) = self.time_left() {
            dispatch = dispatch.deadline(left);
        }
        if let Some(task_worker) = self.task_worker {
            dispatch = dispatch.task_worker(task_worker);
        }
        match self.retry {
            Some(retry) => dispatch.retry(retry),
            None => dispatch,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(plan: &Plan, payload: Vec<u8>) -> Record {
        let Meta { priority, due_in } = plan.meta();
        Record { sequence: 1, payload, attempts: 2, priority, due_in }
    }

    #[test]
    fn what_is_written_is_read_again_but_the_task_worker_and_the_time_that_has_passed() {
        let plan = Plan {
            priority: Priority::Low,
            due: Some(instant::after(Duration::from_secs(5))),
            deadline: Some(instant::after(Duration::MAX)),
            task_worker: Some(3),
            retry: Some(Retry::times(4)),
            attempts_before: 0,
        };
        let written = record(&plan, plan.write(&"job").unwrap());
        assert!(written.due_in.is_some_and(|left| left > Duration::from_secs(4)), "{written:?}");
        let (job, read) = Plan::read::<String>(&written).unwrap();
        assert_eq!((job.as_str(), read.priority, read.due), ("job", Priority::Low, None));
        assert_eq!((read.retry, read.task_worker, read.attempts_before), (plan.retry, None, 2));
        let off = read.deadline.unwrap().duration_since(plan.deadline.unwrap());
        assert!(off < Duration::from_secs(2), "{off:?}");
    }

    #[test]
    fn a_deadline_is_never_longer_than_its_own_length_from_now() {
        // As written by a clock that was set back by an hour since.
        let at_ms = wall_ms() + 3_600_000;
        let payload = format!(r#"{{"job":"job","deadline_at_ms":{at_ms},"deadline_ms":500}}"#);
        let written = record(&Plan::default(), payload.into_bytes());
        let (_, read) = Plan::read::<String>(&written).unwrap();
        assert!(read.time_left().unwrap() <= Duration::from_millis(500), "{read:?}");
        let passed = br#"{"job":"job","deadline_at_ms":1,"deadline_ms":500}"#.to_vec();
        let (_, read) = Plan::read::<String>(&record(&Plan::default(), passed)).unwrap();
        assert_eq!(read.time_left(), Some(Duration::ZERO));
    }

    #[test]
    fn a_plain_job_is_written_with_nothing_beside_it() {
        let plan = Plan::default();
        let payload = plan.write(&7).unwrap();
        assert_eq!(payload, br#"{"job":7}"#);
        assert!(Plan::read::<String>(&record(&plan, payload)).is_err());
    }
}
