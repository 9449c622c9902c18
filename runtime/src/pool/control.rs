//! A task's state, shared by the task worker that runs it, the lane it came from and its handles.
//!
//! ```text
//!   Queued ──begin, by the task worker──► Running ──end, by the task worker──► Ended
//!     │ ▲                                                                       │
//!     │ └───────────────────requeue, by the lane, for another attempt───────────┘
//!     └──withdraw, by whoever cancels it or sees its deadline pass──► Withdrawn
//! ```
//!
//! `begin` and `withdraw` are compare-exchanges on the same word, so exactly one of them wins: a
//! withdrawn task never runs, and one that runs cannot be withdrawn, only asked to stop. AcqRel on
//! both: who withdraws sees all that the dispatch wrote, and a worker that begins sees all that
//! was written before it was queued.

use crate::sync::{AtomicBool, AtomicU32, Ordering};

const QUEUED: u32 = 0;
const RUNNING: u32 = 1;
const ENDED: u32 = 2;
const WITHDRAWN: u32 = 3;

/// Where a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// It waits: for its time, for a task worker, or for another attempt.
    Queued,
    /// A task worker runs it.
    Running,
    /// It was run; its outcome is on its way or delivered.
    Ended,
    /// It was cancelled, or its deadline passed, before it ran: it never will.
    Withdrawn,
}

/// The state of one task.
pub(crate) struct Control {
    /// One of the four states above.
    state: AtomicU32,
    /// Set once, by whoever wants the task to stop; read by the job.
    stop: AtomicBool,
}

impl Control {
    pub(crate) fn new() -> Self {
        Control { state: AtomicU32::new(QUEUED), stop: AtomicBool::new(false) }
    }

    /// The task worker takes it up; false: it was withdrawn.
    #[must_use]
    pub(crate) fn begin(&self) -> bool {
        self.exchange(QUEUED, RUNNING)
    }

    /// It has been run.
    pub(crate) fn end(&self) {
        self.state.store(ENDED, Ordering::Release);
    }

    /// Takes it back before it runs; false: it runs, or has run.
    #[must_use]
    pub(crate) fn withdraw(&self) -> bool {
        self.exchange(QUEUED, WITHDRAWN)
    }

    /// Another attempt will be made.
    pub(crate) fn requeue(&self) {
        self.state.store(QUEUED, Ordering::Release);
    }

    /// Asks the job to stop. True the first time.
    pub(crate) fn ask_to_stop(&self) -> bool {
        !self.stop.swap(true, Ordering::AcqRel)
    }

    /// Whether the job was asked to stop.
    pub(crate) fn is_asked_to_stop(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    pub(crate) fn state(&self) -> TaskState {
        match self.state.load(Ordering::Acquire) {
            QUEUED => TaskState::Queued,
            RUNNING => TaskState::Running,
            ENDED => TaskState::Ended,
            _ => TaskState::Withdrawn,
        }
    }

    fn exchange(&self, from: u32, to: u32) -> bool {
        self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}
