//! The jobs of this server, and how a task worker runs them.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};
use sidecore::TaskContext;

use crate::ledger::Record;

/// The longest sleep and the most rounds that are taken.
const SLEEP_MAX_MS: u64 = 600_000;
const ROUNDS_MAX: u64 = 1_000_000_000;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing: what remains is the cost of the task itself.
    Noop,
    /// Sleeps, as a task that waits for something does.
    Sleep { ms: u64 },
    /// Computes: so many rounds of SipHash over its own result.
    Hash { rounds: u64 },
    /// Panics, to see that the worker lives on.
    Panic,
    /// Records a request, as the audit middleware asks; not a client's to send.
    Audit { method: String, path: String },
}

/// A job as a client writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    kind: Name,
    ms: Option<u64>,
    rounds: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Name {
    Noop,
    Sleep,
    Hash,
    Panic,
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
    Hash { hash: Hex },
    Audit { audited: Box<str> },
}

/// A number that is written as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hex(u64);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:016x}", self.0))
    }
}

impl Kind {
    /// Parses and checks a client's job.
    pub(crate) fn parse(json: &[u8]) -> Result<Kind, String> {
        let written: Written = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        match written {
            Written { kind: Name::Noop, ms: None, rounds: None } => Ok(Kind::Noop),
            Written { kind: Name::Panic, ms: None, rounds: None } => Ok(Kind::Panic),
            Written { kind: Name::Sleep, ms: Some(ms), rounds: None } => {
                at_most("ms", ms, SLEEP_MAX_MS).map(|ms| Kind::Sleep { ms })
            }
            Written { kind: Name::Hash, ms: None, rounds: Some(rounds) } => {
                at_most("rounds", rounds, ROUNDS_MAX).map(|rounds| Kind::Hash { rounds })
            }
            _ => Err("a job of kind sleep takes ms, hash takes rounds, noop and panic neither"
                .to_owned()),
        }
    }
}

fn at_most(name: &str, value: u64, max: u64) -> Result<u64, String> {
    match value <= max {
        true => Ok(value),
        false => Err(format!("{name} = {value} is out of range: give at most {max}")),
    }
}

/// Runs a job, on a task worker's thread.
pub(crate) fn run(task: &TaskContext, job: Job) -> Output {
    if let Some(record) = &job.record {
        record.start();
    }
    match job.kind {
        Kind::Noop => Output::Noop {},
        Kind::Sleep { ms } => {
            std::thread::sleep(Duration::from_millis(ms));
            Output::Sleep { slept_ms: ms }
        }
        Kind::Hash { rounds } => Output::Hash { hash: Hex(hash(rounds)) },
        Kind::Panic => panic!("task {} was asked to panic", task.id),
        Kind::Audit { method, path } => {
            Output::Audit { audited: format!("{method} {path}").into() }
        }
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
            r#"{"kind":"sleep","ms":1,"rounds":2}"#,
            r#"{"kind":"noop","ms":1}"#,
            r#"{"ms":1}"#,
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
