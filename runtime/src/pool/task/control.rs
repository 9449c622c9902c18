//! A task's state, shared by the task worker that runs it, the lane it came from and its handles.
//!
//! ```text
//!   Queued ──begin, by the task worker──► Running ──end, by the task worker──► Ended
//!     │ ▲                                    └──end, where it may be retried──► Between
//!     │ └──requeue, by the lane, for another attempt───────────────────────────┤  │  │
//!     │                                  give_up, by the lane: Ended ◄─────────┘  │
//!     └──cancel or expire────────────────► Withdrawn ◄──────────────cancel or expire
//! ```
//!
//! One word has the state and, above it, why the task is to stop: `CANCELLED` by a handle, `LATE`
//! by its deadline. Whoever changes it does so by a compare-exchange of the whole word, so that each
//! change is decided against all others:
//!
//! - a withdrawn task never runs, and one that runs is not withdrawn, only asked to stop;
//! - an attempt that was asked to stop while it ran goes to `Ended`, never to `Between`: no retry
//!   follows, and whoever asked was told so;
//! - between two attempts a task is not over. Either it is withdrawn there, or requeued, never both.
//!
//! Whoever changes the word releases by it what it did before, and whoever learns of a change acquires
//! that, whether it makes the next one, is refused, or only looks: the lane that requeues a task, and
//! the next attempt, see the last one; who is told that a task is over sees its run; and a run that
//! finds that it is to stop sees what was done before it was asked. So all is AcqRel, and Acquire
//! where nothing is written.

use crate::sys::sync::{AtomicU32, Ordering};

const QUEUED: u32 = 0;
const RUNNING: u32 = 1;
const BETWEEN: u32 = 2;
const ENDED: u32 = 3;
const WITHDRAWN: u32 = 4;
/// The state's bits of the word.
const STATE: u32 = 7;
/// A handle has cancelled it.
const CANCELLED: u32 = 8;
/// Its deadline has passed.
const LATE: u32 = 16;

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

/// What came of a wish that the task should stop.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// It will not run any more, by this call and no other. `attempted`: it had an attempt, whose
    /// end is on its way home or has come there.
    Withdrawn { attempted: bool },
    /// It runs, and is asked to stop.
    Asked,
    /// It was withdrawn before, because it was cancelled.
    CancelledBefore,
    /// It is over.
    Over,
}

/// The state of one task.
pub(crate) struct Control {
    /// One of the five states, with `CANCELLED` and `LATE`.
    word: AtomicU32,
}

impl Control {
    pub(crate) fn new() -> Self {
        Control { word: AtomicU32::new(QUEUED) }
    }

    /// The task worker takes it up; false: it was withdrawn.
    #[must_use]
    pub(crate) fn begin(&self) -> bool {
        self.exchange(QUEUED, RUNNING).is_ok()
    }

    /// It has been run. `may_be_retried`: it failed, and the lane may try it again.
    pub(crate) fn end(&self, may_be_retried: bool) {
        self.change(|word| match word & !STATE {
            0 if may_be_retried => Some(BETWEEN),
            reasons => Some(ENDED | reasons),
        });
    }

    /// Another attempt will be made; false: there is none to be made, it was withdrawn or asked to
    /// stop.
    #[must_use]
    pub(crate) fn requeue(&self) -> bool {
        self.exchange(BETWEEN, QUEUED).is_ok()
    }

    /// No other attempt will be made; false: it was withdrawn before.
    #[must_use]
    pub(crate) fn give_up(&self) -> bool {
        self.exchange(BETWEEN, ENDED).is_ok() || self.state() != TaskState::Withdrawn
    }

    /// Cancels it.
    pub(crate) fn cancel(&self) -> Stopped {
        self.stop(CANCELLED)
    }

    /// Its deadline has passed.
    pub(crate) fn expire(&self) -> Stopped {
        self.stop(LATE)
    }

    fn stop(&self, reason: u32) -> Stopped {
        let before = self.change(|word| match word & STATE {
            QUEUED | BETWEEN => Some(WITHDRAWN | word & !STATE | reason),
            RUNNING => Some(word | reason),
            _ => None,
        });
        match before & STATE {
            QUEUED => Stopped::Withdrawn { attempted: false },
            BETWEEN => Stopped::Withdrawn { attempted: true },
            RUNNING => Stopped::Asked,
            WITHDRAWN if before & CANCELLED != 0 => Stopped::CancelledBefore,
            _ => Stopped::Over,
        }
    }

    /// Whether a handle has cancelled it.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.word.load(Ordering::Acquire) & CANCELLED != 0
    }

    /// Whether its lane saw its deadline pass.
    pub(crate) fn is_late(&self) -> bool {
        self.word.load(Ordering::Acquire) & LATE != 0
    }

    pub(crate) fn state(&self) -> TaskState {
        match self.word.load(Ordering::Acquire) & STATE {
            QUEUED | BETWEEN => TaskState::Queued,
            RUNNING => TaskState::Running,
            ENDED => TaskState::Ended,
            _ => TaskState::Withdrawn,
        }
    }

    /// Changes the word by `next`, whose None leaves it; returns what it was.
    fn change(&self, next: impl Fn(u32) -> Option<u32>) -> u32 {
        let mut word = self.word.load(Ordering::Acquire);
        while let Some(next) = next(word) {
            match self.exchange(word, next) {
                Ok(_) => break,
                Err(current) => word = current,
            }
        }
        word
    }

    fn exchange(&self, from: u32, to: u32) -> Result<u32, u32> {
        self.word.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
    }
}
