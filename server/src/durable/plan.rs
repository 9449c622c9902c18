//! How a durable job is to be treated, by the wall clock, so that it still holds after a restart;
//! and a record's payload, which keeps it beside the job.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use super::{DurableJob, Entry};
use crate::journal::{Meta, Record};
use crate::tasks::{Dispatch, Priority, Retry, Tasks};

/// Delays and deadlines beyond it are cut to it, so that no clock overflows.
const TIME_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

/// The options of one durable dispatch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Plan {
    pub(super) priority: Priority,
    pub(super) due_at: Option<SystemTime>,
    pub(super) deadline_at: Option<SystemTime>,
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
    /// The delay's length, for the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delay_ms: Option<u64>,
}

#[derive(Deserialize, Serialize)]
struct WrittenRetry {
    retries: u32,
    backoff_ms: u64,
    backoff_max_ms: u64,
}

/// The time so long from now.
pub(super) fn from_now(time: Duration) -> SystemTime {
    SystemTime::now() + time.min(TIME_MAX)
}

fn until(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::now()).unwrap_or_default()
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// When a record is due: after a clock was set back, no later than its own delay or pause from now.
pub(super) fn bounded_due(record: &Record, now: SystemTime) -> Option<SystemTime> {
    let due_at = record.due_at.filter(|at| *at > now);
    let (Some(at), Ok(written)) =
        (due_at, serde_json::from_slice::<Written<IgnoredAny>>(&record.payload))
    else {
        return record.due_at;
    };
    let pause_ms = written.retry.map(|retry| retry.backoff_max_ms).filter(|_| record.attempts > 0);
    let longest = written.delay_ms.max(pause_ms).map(Duration::from_millis);
    Some(longest.map_or(at, |longest| at.min(now + longest.min(TIME_MAX))))
}

impl Plan {
    /// What the journal keeps beside the payload.
    pub(super) fn meta(&self) -> Meta {
        let priority = match self.priority {
            Priority::High => 1,
            Priority::Normal => 0,
            Priority::Low => -1,
        };
        Meta { priority, due_at: self.due_at }
    }

    /// A record's payload.
    pub(super) fn write(&self, job: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
        let retry = self.retry.map(|retry| WrittenRetry {
            retries: retry.retries,
            backoff_ms: ms(retry.backoff),
            backoff_max_ms: ms(retry.backoff_max),
        });
        let since = |at: SystemTime| at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let deadline_at_ms = self.deadline_at.map(|at| ms(since(at)));
        // Rounded up, so that it never cuts the deadline while the clock runs true.
        let deadline_ms = self.time_left().map(|left| ms(left).saturating_add(1));
        let delay_ms = self.due_at.map(|at| ms(until(at)).saturating_add(1));
        serde_json::to_vec(&Written { job, retry, deadline_at_ms, deadline_ms, delay_ms })
    }

    /// What a record says.
    pub(super) fn read<J: DeserializeOwned>(
        record: &Record,
    ) -> Result<(J, Plan), serde_json::Error> {
        let Written { job, retry, deadline_at_ms, deadline_ms, .. } =
            serde_json::from_slice(&record.payload)?;
        let priority = match record.priority {
            1.. => Priority::High,
            0 => Priority::Normal,
            _ => Priority::Low,
        };
        let retry = retry.map(|retry| Retry {
            retries: retry.retries,
            backoff: Duration::from_millis(retry.backoff_ms),
            backoff_max: Duration::from_millis(retry.backoff_max_ms),
        });
        let latest = deadline_ms.map(|length| from_now(Duration::from_millis(length)));
        let deadline_at = deadline_at_ms
            .map(|at| UNIX_EPOCH + Duration::from_millis(at).min(2 * TIME_MAX))
            .map(|at| latest.map_or(at, |latest| at.min(latest)));
        let (due_at, attempts_before) = (record.due_at, record.attempts);
        let plan =
            Plan { priority, due_at, deadline_at, task_worker: None, retry, attempts_before };
        Ok((job, plan))
    }

    /// How long there is until the deadline, if there is one.
    pub(super) fn time_left(&self) -> Option<Duration> {
        self.deadline_at.map(until)
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
        if let Some(delay) = self.due_at.map(until).filter(|delay| !delay.is_zero()) {
            dispatch = dispatch.delay(delay);
        }
        if let Some(deadline_at) = self.deadline_at {
            dispatch = dispatch.deadline(until(deadline_at));
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
        let Meta { priority, due_at } = plan.meta();
        Record { sequence: 1, payload, attempts: 2, priority, due_at }
    }

    #[test]
    fn what_is_written_is_read_again_but_the_task_worker() {
        let plan = Plan {
            priority: Priority::Low,
            due_at: Some(from_now(Duration::from_secs(5))),
            deadline_at: Some(from_now(Duration::MAX)),
            task_worker: Some(3),
            retry: Some(Retry::times(4)),
            attempts_before: 0,
        };
        let written = record(&plan, plan.write(&"job").unwrap());
        let (job, read) = Plan::read::<String>(&written).unwrap();
        assert_eq!((job.as_str(), read.priority, read.due_at), ("job", Priority::Low, plan.due_at));
        assert_eq!((read.retry, read.task_worker, read.attempts_before), (plan.retry, None, 2));
        let off = plan.deadline_at.unwrap().duration_since(read.deadline_at.unwrap()).unwrap();
        assert!(off < Duration::from_millis(1), "{off:?}");
    }

    #[test]
    fn a_deadline_is_never_longer_than_its_own_length_from_now() {
        // As written by a clock that was set back by an hour since.
        let at_ms = ms(from_now(Duration::from_secs(3600)).duration_since(UNIX_EPOCH).unwrap());
        let payload = format!(r#"{{"job":"job","deadline_at_ms":{at_ms},"deadline_ms":500}}"#);
        let written = record(&Plan::default(), payload.into_bytes());
        let (_, read) = Plan::read::<String>(&written).unwrap();
        assert!(read.time_left().unwrap() <= Duration::from_millis(500), "{read:?}");
    }

    #[test]
    fn a_due_time_is_never_further_than_its_own_delay_or_pause_from_now() {
        let (now, hour) = (SystemTime::now(), Duration::from_secs(3600));
        let due = |attempts, payload: &str| {
            let payload = payload.as_bytes().to_vec();
            let due_at = Some(now + hour);
            let record = Record { sequence: 1, payload, attempts, priority: 0, due_at };
            bounded_due(&record, now).unwrap().duration_since(now).unwrap()
        };
        let retry = r#"{"job":1,"retry":{"retries":3,"backoff_ms":100,"backoff_max_ms":900}}"#;
        assert_eq!(due(1, retry), Duration::from_millis(900));
        assert_eq!(due(0, r#"{"job":1,"delay_ms":500}"#), Duration::from_millis(500));
        // Of an earlier version, which did not keep the delay.
        assert_eq!([due(0, retry), due(0, r#"{"job":1}"#)], [hour, hour]);
    }

    #[test]
    fn a_plain_job_is_written_with_nothing_beside_it() {
        let plan = Plan::default();
        let payload = plan.write(&7).unwrap();
        assert_eq!(payload, br#"{"job":7}"#);
        assert!(Plan::read::<String>(&record(&plan, payload)).is_err());
    }
}
