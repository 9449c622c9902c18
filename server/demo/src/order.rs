//! A task as a client orders it: its job, and how it is to be dispatched.

use std::time::Duration;

use serde::Deserialize;
use sidecore::durable::{DurableDispatch, DurableTasks};
use sidecore::tasks::{Dispatch, Priority, Retry};

use crate::job::{Job, Kind, Output};
use crate::pools::{Handles, PoolName};

/// The longest delay and deadline, and the most retries, that are taken.
const TIME_MAX_MS: u64 = 86_400_000;
const RETRIES_MAX: u32 = 100;
/// Tasks that may be waited for in one request.
const TASKS_MAX: usize = 1024;

/// What this server was set up for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Abilities {
    /// There is a file for `append`.
    pub(crate) append: bool,
    /// There is a directory for the journal of the durable pool.
    pub(crate) durable: bool,
}

/// The body of `POST /tasks`.
#[derive(Debug)]
pub(crate) struct Order {
    job: Job,
    pub(crate) pool: PoolName,
    priority: Priority,
    delay: Option<Duration>,
    deadline: Option<Duration>,
    retries: u32,
    task_worker: Option<usize>,
}

/// The body of `POST /tasks/wait`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenWait {
    deadline_ms: u64,
    tasks: Vec<Written>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    kind: Kind,
    ms: Option<u64>,
    rounds: Option<u64>,
    line: Option<String>,
    #[serde(default)]
    pool: PoolName,
    priority: Option<Level>,
    delay_ms: Option<u64>,
    deadline_ms: Option<u64>,
    retries: Option<u32>,
    task_worker: Option<usize>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    High,
    Normal,
    Low,
}

/// An order's dispatch: both kinds of pools take the same options.
macro_rules! with_options {
    ($order:expr, $tasks:expr) => {{
        let Order { job, priority, delay, deadline, retries, task_worker, .. } = $order;
        let mut dispatch = $tasks.job(job).priority(priority);
        if let Some(delay) = delay {
            dispatch = dispatch.delay(delay);
        }
        if let Some(deadline) = deadline {
            dispatch = dispatch.deadline(deadline);
        }
        if let Some(task_worker) = task_worker {
            dispatch = dispatch.task_worker(task_worker);
        }
        if retries > 0 {
            dispatch = dispatch.retry(Retry::times(retries));
        }
        dispatch
    }};
}

impl Order {
    /// Parses and checks a client's order.
    pub(crate) fn parse(json: &[u8], abilities: Abilities) -> Result<Order, String> {
        let written: Written = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        written.check(abilities)
    }

    /// Parses and checks several, and the time that they have together.
    pub(crate) fn parse_wait(
        json: &[u8],
        abilities: Abilities,
    ) -> Result<(Duration, Vec<Order>), String> {
        let wait: WrittenWait = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        if wait.tasks.len() > TASKS_MAX {
            return Err(format!(
                "there are {} tasks: wait for at most {TASKS_MAX}",
                wait.tasks.len()
            ));
        }
        let deadline = time("deadline_ms", Some(wait.deadline_ms))?.unwrap_or_default();
        let tasks = wait.tasks.into_iter().map(|task| task.check(abilities));
        Ok((deadline, tasks.collect::<Result<_, _>>()?))
    }

    /// Must be over within `limit`, if it is not to be earlier.
    pub(crate) fn within(mut self, limit: Duration) -> Self {
        self.deadline = Some(self.deadline.map_or(limit, |deadline| deadline.min(limit)));
        self
    }

    /// The dispatch that was ordered.
    pub(crate) fn prepare(self, pools: &Handles) -> Dispatch<Job, Output> {
        with_options!(self, pools.of(self.pool))
    }

    /// The same for the durable pool.
    pub(crate) fn prepare_durable(
        self,
        tasks: &DurableTasks<Job, Output>,
    ) -> DurableDispatch<Job, Output> {
        with_options!(self, tasks)
    }
}

impl Written {
    fn check(self, abilities: Abilities) -> Result<Order, String> {
        let Written { kind, ms, rounds, line, .. } = self;
        if kind == Kind::Append && !abilities.append {
            return Err("append is refused: set SIDECORE_APPEND_FILE to the file".to_owned());
        }
        if self.pool == PoolName::Durable && !abilities.durable {
            return Err("the pool `durable` is refused: set SIDECORE_DATA_DIR to a directory for \
                        its journal"
                .to_owned());
        }
        let retries = self.retries.unwrap_or(0);
        if retries > RETRIES_MAX {
            return Err(format!("retries = {retries} is out of range: give at most {RETRIES_MAX}"));
        }
        Ok(Order {
            job: Job::check(kind, ms, rounds, line)?,
            pool: self.pool,
            priority: match self.priority.unwrap_or(Level::Normal) {
                Level::High => Priority::High,
                Level::Normal => Priority::Normal,
                Level::Low => Priority::Low,
            },
            delay: time("delay_ms", self.delay_ms)?,
            deadline: time("deadline_ms", self.deadline_ms)?,
            retries,
            task_worker: self.task_worker,
        })
    }
}

fn time(name: &str, ms: Option<u64>) -> Result<Option<Duration>, String> {
    match ms {
        Some(ms) if ms > TIME_MAX_MS => {
            Err(format!("{name} = {ms} is out of range: give at most {TIME_MAX_MS}"))
        }
        ms => Ok(ms.map(Duration::from_millis)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Abilities = Abilities { append: false, durable: false };
    const ALL: Abilities = Abilities { append: true, durable: true };

    #[test]
    fn orders_are_parsed_strictly() {
        let parse = |json: &str| Order::parse(json.as_bytes(), NOTHING);
        assert_eq!(parse(r#"{"kind":"sleep","ms":5}"#).unwrap().job, Job::Sleep { ms: 5 });
        let order = parse(r#"{"kind":"hash","rounds":1,"priority":"low","retries":2}"#).unwrap();
        assert_eq!((order.priority, order.retries), (Priority::Low, 2));
        for bad in [
            "",
            "{",
            "[]",
            r#"{"kind":"sleep"}"#,
            r#"{"kind":"sleep","ms":-1}"#,
            r#"{"kind":"sleep","ms":"5"}"#,
            r#"{"kind":"sleep","ms":600001}"#,
            r#"{"kind":"sleep","ms":1,"x":2}"#,
            r#"{"kind":"sleep","ms":1,"rounds":2}"#,
            r#"{"kind":"noop","ms":1}"#,
            r#"{"ms":1}"#,
            r#"{"kind":"audit","method":"GET","path":"/"}"#,
            r#"{"kind":"nap"}"#,
            r#"{"kind":"append","line":"x"}"#,
            r#"{"kind":"noop","priority":"urgent"}"#,
            r#"{"kind":"noop","retries":101}"#,
            r#"{"kind":"noop","delay_ms":86400001}"#,
            r#"{"kind":"noop","pool":"other"}"#,
            r#"{"kind":"noop","pool":"durable"}"#,
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(Order::parse(br#"{"kind":"append","line":"x"}"#, ALL).is_ok());
    }

    #[test]
    fn a_wait_has_a_time_that_its_tasks_cannot_exceed() {
        let json = r#"{"deadline_ms":600,"tasks":[{"kind":"noop","deadline_ms":700},{"kind":"noop","deadline_ms":5}]}"#;
        let (limit, orders) = Order::parse_wait(json.as_bytes(), NOTHING).unwrap();
        let deadlines: Vec<_> = orders.into_iter().map(|o| o.within(limit).deadline).collect();
        assert_eq!(deadlines, [600, 5].map(|ms| Some(Duration::from_millis(ms))));
        assert!(Order::parse_wait(br#"{"tasks":[]}"#, NOTHING).is_err());
    }
}
