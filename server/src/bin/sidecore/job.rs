//! The jobs of this server, and how a task worker runs them.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sidecore::TaskContext;

use crate::ledger::Record;

/// The longest sleep and the most rounds that are taken.
const SLEEP_MAX_MS: u64 = 600_000;
const ROUNDS_MAX: u64 = 1_000_000_000;

/// What to do, as a client writes it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Kind {
    /// Nothing: what remains is the cost of the task itself.
    Noop {},
    /// Sleeps, as a task that waits for something does.
    Sleep { ms: u64 },
    /// Computes: so many rounds of SipHash over its own result.
    Hash { rounds: u64 },
    /// Panics, to see that the worker lives on.
    Panic {},
    /// Records a request, as the audit middleware asks; not a client's to send.
    #[serde(skip_deserializing)]
    Audit { method: String, path: String },
}

/// A job in the queue: what to do, and where its progress is seen.
pub(crate) struct Job {
    pub(crate) kind: Kind,
    pub(crate) record: Option<Arc<Record>>,
}

/// What a job returned.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
#[serde(untagged)]
pub(crate) enum Output {
    Noop {},
    Sleep { slept_ms: u64 },
    Hash { hash: String },
    Audit { audited: String },
}

impl Kind {
    /// Parses and checks a client's job.
    pub(crate) fn parse(json: &[u8]) -> Result<Kind, String> {
        let kind: Kind = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        match kind {
            Kind::Sleep { ms } if ms > SLEEP_MAX_MS => {
                Err(format!("ms = {ms} is out of range: give at most {SLEEP_MAX_MS}"))
            }
            Kind::Hash { rounds } if rounds > ROUNDS_MAX => {
                Err(format!("rounds = {rounds} is out of range: give at most {ROUNDS_MAX}"))
            }
            kind => Ok(kind),
        }
    }
}

/// Runs a job, on a task worker's thread.
pub(crate) fn run(task: &TaskContext, job: Job) -> Output {
    if let Some(record) = &job.record {
        record.start();
    }
    match job.kind {
        Kind::Noop {} => Output::Noop {},
        Kind::Sleep { ms } => {
            std::thread::sleep(Duration::from_millis(ms));
            Output::Sleep { slept_ms: ms }
        }
        Kind::Hash { rounds } => Output::Hash { hash: format!("{:016x}", hash(rounds)) },
        Kind::Panic {} => panic!("task {} was asked to panic", task.id),
        Kind::Audit { method, path } => Output::Audit { audited: format!("{method} {path}") },
    }
}

fn hash(rounds: u64) -> u64 {
    (0..rounds).fold(0, |state, round| {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(state);
        hasher.write_u64(round);
        hasher.finish()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_parsed_strictly() {
        assert_eq!(Kind::parse(br#"{"kind":"sleep","ms":5}"#), Ok(Kind::Sleep { ms: 5 }));
        assert_eq!(Kind::parse(br#"{"kind":"hash","rounds":1}"#), Ok(Kind::Hash { rounds: 1 }));
        for bad in [
            "",
            "{",
            "[]",
            r#"{"kind":"sleep"}"#,
            r#"{"kind":"sleep","ms":-1}"#,
            r#"{"kind":"sleep","ms":"5"}"#,
            r#"{"kind":"sleep","ms":600001}"#,
            r#"{"kind":"sleep","ms":1,"x":2}"#,
            r#"{"kind":"audit","method":"GET","path":"/"}"#,
            r#"{"kind":"nap"}"#,
        ] {
            assert!(Kind::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_hash_depends_on_its_rounds() {
        assert_eq!(hash(10), hash(10));
        assert_ne!(hash(10), hash(11));
    }
}
