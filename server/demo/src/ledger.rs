//! What this server remembers of its tasks, so that clients can ask and cancel.
//!
//! A record lives from dispatch until it is over and `tasks_remembered` others have ended after
//! it; those that are not over are bounded by the credits. Touched by executors only.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use sidecore::tasks::{TaskError, TaskHandle, TaskId, TaskState};
use sidecore::{FinishContext, TaskResult};

use crate::job::Output;

/// The tasks of all executors.
pub(crate) struct Ledger {
    state: Mutex<State>,
    remembered: usize,
}

#[derive(Default)]
struct State {
    records: HashMap<TaskId, Record, BuildHasherDefault<IdHasher>>,
    ended: VecDeque<TaskId>,
}

/// Ids are the server's own numbers, close to each other: spreading their bits is enough.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write_u64(&mut self, id: u64) {
        // The golden ratio's bits (Knuth, TAOCP 3, §6.4): neighbours land far apart.
        self.0 = id.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only ids are hashed");
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// One task.
enum Record {
    Open(TaskHandle),
    Ended(End),
}

/// How a task ended. Kept small: thousands are remembered, and each dispatch touches one that the
/// caches forgot.
struct End {
    task_worker: Option<u32>,
    attempts: u32,
    waited_us: u64,
    ran_us: u64,
    outcome: Result<Output, TaskError>,
}

/// A task as a client sees it.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    #[serde(skip_serializing_if = "Option::is_none")]
    task_id: Option<TaskId>,
    pub(crate) state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Output>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(flatten)]
    run: Option<RunView>,
}

#[derive(Debug, Serialize)]
struct RunView {
    #[serde(skip_serializing_if = "Option::is_none")]
    task_worker: Option<u32>,
    attempts: u32,
    waited_us: u64,
    ran_us: u64,
}

impl Ledger {
    /// A ledger that remembers so many ended tasks.
    pub(crate) fn new(remembered: usize) -> Self {
        Ledger { state: Mutex::default(), remembered }
    }

    /// Remembers a task that was accepted.
    pub(crate) fn insert(&self, handle: TaskHandle) {
        self.lock().records.insert(handle.id(), Record::Open(handle));
    }

    /// Records the end of a task; one that nobody asked to remember is left.
    pub(crate) fn finish(&self, finish: &FinishContext, outcome: TaskResult<Output>) {
        let mut state = self.lock();
        let Some(record) = state.records.get_mut(&finish.id) else { return };
        *record = Record::Ended(End {
            task_worker: finish.task_worker.map(|task_worker| task_worker as u32),
            attempts: finish.attempts,
            waited_us: finish.waited.as_micros() as u64,
            ran_us: finish.ran.as_micros() as u64,
            outcome,
        });
        state.ended.push_back(finish.id);
        while state.ended.len() > self.remembered {
            let Some(oldest) = state.ended.pop_front() else { break };
            state.records.remove(&oldest);
        }
    }

    /// What is known of a task.
    pub(crate) fn view(&self, id: TaskId) -> Option<View> {
        Some(self.lock().records.get(&id)?.view(id))
    }

    /// The handle of a known task, or that it is over; None for an unknown one.
    pub(crate) fn handle(&self, id: TaskId) -> Option<Option<TaskHandle>> {
        match self.lock().records.get(&id)? {
            Record::Open(handle) => Some(Some(handle.clone())),
            Record::Ended(_) => Some(None),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    fn view(&self, id: TaskId) -> View {
        match self {
            Record::Open(handle) => {
                let state = match handle.state() {
                    TaskState::Queued => "queued",
                    // Its finish is on its way home.
                    TaskState::Running | TaskState::Ended => "running",
                    TaskState::Withdrawn => "cancelled",
                };
                View { task_id: Some(id), state, output: None, error: None, run: None }
            }
            Record::Ended(end) => View {
                task_id: Some(id),
                run: Some(RunView {
                    task_worker: end.task_worker,
                    attempts: end.attempts,
                    waited_us: end.waited_us,
                    ran_us: end.ran_us,
                }),
                ..View::of(end.outcome.clone())
            },
        }
    }
}

impl View {
    /// Of an outcome alone.
    pub(crate) fn of(outcome: TaskResult<Output>) -> Self {
        let state = match &outcome {
            Ok(_) => "finished",
            Err(TaskError::Failed(_)) => "failed",
            Err(TaskError::Panicked(_)) => "panicked",
            Err(TaskError::TimedOut) => "timed_out",
            Err(TaskError::Cancelled) => "cancelled",
            Err(TaskError::Lost) => "lost",
        };
        let (output, error) = match outcome {
            Ok(output) => (Some(output), None),
            Err(error) => (None, Some(error.to_string())),
        };
        View { task_id: None, state, output, error, run: None }
    }

    /// Of one that was not accepted.
    pub(crate) fn refused(cause: String) -> Self {
        View { task_id: None, state: "refused", output: None, error: Some(cause), run: None }
    }
}
