//! What this server remembers of its tasks, so that clients can ask.
//!
//! A record lives from dispatch until it is finished and `tasks_remembered` others have finished
//! after it; unfinished ones are bounded by the task queue. The map is touched by executors only;
//! a task worker marks its record without a lock.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use serde::Serialize;
use sidecore::{FinishContext, TaskId, TaskResult};

use crate::job::Output;

/// The tasks of all executors.
pub(crate) struct Ledger {
    state: Mutex<State>,
    remembered: usize,
}

#[derive(Default)]
struct State {
    records: HashMap<TaskId, Arc<Record>, BuildHasherDefault<IdHasher>>,
    finished: VecDeque<TaskId>,
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

/// One task's progress.
#[derive(Default)]
pub(crate) struct Record {
    started: AtomicBool,
    end: OnceLock<End>,
}

/// Kept small: thousands are remembered, and each dispatch touches one that the caches forgot.
struct End {
    task_worker: u32,
    waited_us: u64,
    ran_us: u64,
    outcome: Result<Output, Box<str>>,
}

/// A record as a client sees it.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    task_id: TaskId,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Output>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_worker: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waited_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ran_us: Option<u64>,
}

impl Ledger {
    /// A ledger that remembers so many finished tasks.
    pub(crate) fn new(remembered: usize) -> Self {
        Ledger { state: Mutex::default(), remembered }
    }

    /// Remembers a task that was accepted.
    pub(crate) fn insert(&self, id: TaskId, record: Arc<Record>) {
        self.lock().records.insert(id, record);
    }

    /// Records the end of a task; one that nobody asked to remember is left.
    pub(crate) fn finish(&self, finish: &FinishContext, outcome: TaskResult<Output>) {
        let mut state = self.lock();
        let Some(record) = state.records.get(&finish.id) else { return };
        let end = End {
            task_worker: finish.task_worker as u32,
            waited_us: finish.waited.as_micros() as u64,
            ran_us: finish.ran.as_micros() as u64,
            outcome: outcome.map_err(|error| error.to_string().into()),
        };
        if record.end.set(end).is_ok() {
            state.finished.push_back(finish.id);
        }
        while state.finished.len() > self.remembered {
            let Some(oldest) = state.finished.pop_front() else { break };
            state.records.remove(&oldest);
        }
    }

    /// What is known of a task.
    pub(crate) fn view(&self, id: TaskId) -> Option<View> {
        let record = self.lock().records.get(&id)?.clone();
        Some(record.view(id))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    /// Marks the task as running, from its task worker.
    pub(crate) fn start(&self) {
        self.started.store(true, Ordering::Relaxed);
    }

    fn view(&self, task_id: TaskId) -> View {
        let Some(end) = self.end.get() else {
            let running = self.started.load(Ordering::Relaxed);
            let state = if running { "running" } else { "queued" };
            let (output, error) = (None, None);
            return View {
                task_id,
                state,
                output,
                error,
                task_worker: None,
                waited_us: None,
                ran_us: None,
            };
        };
        View {
            task_id,
            state: if end.outcome.is_ok() { "finished" } else { "panicked" },
            output: end.outcome.as_ref().ok().cloned(),
            error: end.outcome.as_ref().err().cloned(),
            task_worker: Some(end.task_worker),
            waited_us: Some(end.waited_us),
            ran_us: Some(end.ran_us),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn remembers_so_many_finished_tasks_and_every_unfinished_one() {
        let ledger = Ledger::new(2);
        for id in 1..=5 {
            ledger.insert(id, Arc::default());
        }
        for id in 1..=4 {
            let finish = FinishContext {
                id,
                executor: 0,
                task_worker: 0,
                waited: Duration::ZERO,
                ran: Duration::from_micros(id),
            };
            ledger.finish(&finish, Ok(Output::Noop {}));
        }
        let states = (1..=5).map(|id| ledger.view(id).map(|view| view.state)).collect::<Vec<_>>();
        assert_eq!(states, [None, None, Some("finished"), Some("finished"), Some("queued")]);
    }
}
