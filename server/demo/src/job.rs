//! The jobs of this server, and how a task worker runs them.

use std::collections::hash_map::DefaultHasher;
use std::fs::OpenOptions;
use std::hash::Hasher;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize, Serializer};
use sidecore::TaskContext;
use sidecore::tasks::async_tasks::glommio::timer;
use sidecore::tasks::{Failure, Kinds};

/// The longest sleep, the most rounds and the longest line that are taken.
const SLEEP_MAX_MS: u64 = 600_000;
const ROUNDS_MAX: u64 = 1_000_000_000;
const LINE_MAX_BYTES: usize = 4096;
/// How often a job looks whether it was cancelled.
const LOOK: Duration = Duration::from_millis(5);
const ROUNDS_A_LOOK: u64 = 1024;

/// What to do. A journal keeps it under these names.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Job {
    /// Nothing: what remains is the cost of the task itself.
    Noop,
    /// Sleeps, as a task that waits for something does.
    Sleep { ms: u64 },
    /// Computes: so many rounds of SipHash over its own result.
    Hash { rounds: u64 },
    /// Fails, at each attempt.
    Fail,
    /// Panics, to see that the worker lives on.
    Panic,
    /// Appends a line to a file, so that what ran can be counted from outside.
    Append { line: String },
    /// Records a request, as the audit middleware asks; not a client's to send.
    Audit { method: String, path: String },
}

/// The jobs' kinds, in the statistics.
pub(crate) static KINDS_OF_JOBS: [&str; 7] =
    ["noop", "sleep", "hash", "fail", "panic", "append", "audit"];

/// See [`KINDS_OF_JOBS`].
pub(crate) fn kinds() -> Kinds<Job> {
    Kinds::new(&KINDS_OF_JOBS, |job| match job {
        Job::Noop => 0,
        Job::Sleep { .. } => 1,
        Job::Hash { .. } => 2,
        Job::Fail => 3,
        Job::Panic => 4,
        Job::Append { .. } => 5,
        Job::Audit { .. } => 6,
    })
}

/// A job as a client names it.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Noop,
    Sleep,
    Hash,
    Fail,
    Panic,
    Append,
}

/// What a job returned.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
#[serde(untagged)]
pub(crate) enum Output {
    Noop {},
    Sleep { slept_ms: u64 },
    Hash { hash: Hex },
    Append { appended: usize },
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

impl Job {
    /// The job, if the fields are those of its kind and within their bounds.
    pub(crate) fn check(
        kind: Kind,
        ms: Option<u64>,
        rounds: Option<u64>,
        line: Option<String>,
    ) -> Result<Job, String> {
        match (kind, ms, rounds, line) {
            (Kind::Noop, None, None, None) => Ok(Job::Noop),
            (Kind::Fail, None, None, None) => Ok(Job::Fail),
            (Kind::Panic, None, None, None) => Ok(Job::Panic),
            (Kind::Sleep, Some(ms), None, None) => {
                at_most("ms", ms, SLEEP_MAX_MS).map(|ms| Job::Sleep { ms })
            }
            (Kind::Hash, None, Some(rounds), None) => {
                at_most("rounds", rounds, ROUNDS_MAX).map(|rounds| Job::Hash { rounds })
            }
            (Kind::Append, None, None, Some(line)) => {
                at_most("the length of line", line.len(), LINE_MAX_BYTES)?;
                Ok(Job::Append { line })
            }
            _ => Err("a job of kind sleep takes ms, hash takes rounds, append takes line, noop, \
                      fail and panic none of them"
                .to_owned()),
        }
    }
}

fn at_most<T: PartialOrd + std::fmt::Display>(name: &str, value: T, max: T) -> Result<T, String> {
    match value <= max {
        true => Ok(value),
        false => Err(format!("{name} = {value} is out of range: give at most {max}")),
    }
}

/// What jobs need of the server.
pub(crate) struct Runner {
    /// Where `append` writes.
    pub(crate) append_file: Option<PathBuf>,
}

impl Runner {
    /// Runs a job, on a task worker's thread.
    pub(crate) fn run(&self, task: &TaskContext, job: Job) -> Result<Output, Failure> {
        match job {
            Job::Noop => Ok(Output::Noop {}),
            Job::Sleep { ms } => sleep(task, ms),
            Job::Hash { rounds } => hash(task, rounds),
            Job::Fail => Err(Failure::new(format_args!("task {} was asked to fail", task.id))),
            Job::Panic => panic!("task {} was asked to panic", task.id),
            Job::Append { line } => self.append(&line),
            Job::Audit { method, path } => {
                Ok(Output::Audit { audited: format!("{method} {path}").into() })
            }
        }
    }

    /// Runs a job as a future, on a worker that has many of them: what waits does not keep the others
    /// waiting.
    pub(crate) async fn run_async(&self, task: TaskContext, job: Job) -> Result<Output, Failure> {
        match job {
            Job::Sleep { ms } => {
                timer::sleep(Duration::from_millis(ms)).await;
                Ok(Output::Sleep { slept_ms: ms })
            }
            job => self.run(&task, job),
        }
    }

    /// One write a line: appended whole, whatever other task workers write.
    fn append(&self, line: &str) -> Result<Output, Failure> {
        let path = self.append_file.as_ref().ok_or_else(|| Failure::permanent("no file"))?;
        let file = OpenOptions::new().create(true).append(true).open(path);
        let line = format!("{line}\n");
        let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
        written.map(|()| Output::Append { appended: line.len() }).map_err(Failure::new)
    }
}

fn sleep(task: &TaskContext, ms: u64) -> Result<Output, Failure> {
    let start = Instant::now();
    let whole = Duration::from_millis(ms);
    loop {
        let left = whole.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Ok(Output::Sleep { slept_ms: ms });
        }
        if task.is_cancelled() {
            return Err(Failure::cancelled());
        }
        std::thread::sleep(left.min(LOOK));
    }
}

fn hash(task: &TaskContext, rounds: u64) -> Result<Output, Failure> {
    let mut state = 0;
    for round in 0..rounds {
        if round % ROUNDS_A_LOOK == 0 && task.is_cancelled() {
            return Err(Failure::cancelled());
        }
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(state);
        hasher.write_u64(round);
        state = hasher.finish();
    }
    Ok(Output::Hash { hash: Hex(state) })
}
