//! A handle to one task: its state, and the way to cancel it, from any thread.

use std::fmt;
use std::sync::Arc;

use crate::pool::shared::{Command, LaneShared};
use crate::pool::task::control::{Control, Stopped, TaskState};
use crate::pool::task::{SlotKey, TaskId};

/// One task, as whoever dispatched it holds it. Dropping it changes nothing: the task runs.
#[derive(Clone)]
pub struct TaskHandle {
    id: TaskId,
    control: Arc<Control>,
    home: Option<(Arc<LaneShared>, SlotKey)>,
}

/// What a cancellation came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// It will not run, or not again where an attempt has failed; its outcome is
    /// [`TaskError::Cancelled`].
    ///
    /// [`TaskError::Cancelled`]: crate::pool::TaskError::Cancelled
    Withdrawn,
    /// It runs: its job was asked to stop ([`TaskContext::is_cancelled`]), and is not tried again.
    /// Its outcome is what the job makes of that; a future that an async worker runs is dropped where
    /// it awaits, and cancelled.
    ///
    /// [`TaskContext::is_cancelled`]: crate::pool::TaskContext::is_cancelled
    Asked,
    /// It was over already.
    TooLate,
}

impl TaskHandle {
    pub(crate) fn on_lane(
        id: TaskId,
        control: Arc<Control>,
        lane: Arc<LaneShared>,
        slot: SlotKey,
    ) -> Self {
        TaskHandle { id, control, home: Some((lane, slot)) }
    }

    pub(crate) fn external(id: TaskId, control: Arc<Control>) -> Self {
        TaskHandle { id, control, home: None }
    }

    /// The task's id.
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// Where it is.
    pub fn state(&self) -> TaskState {
        self.control.state()
    }

    /// Whether it has been run for the last time, or never will be.
    pub fn is_over(&self) -> bool {
        matches!(self.state(), TaskState::Ended | TaskState::Withdrawn)
    }

    /// The deadline of a task that no lane looks after has passed.
    pub(crate) fn expire(&self) -> Stopped {
        self.control.expire()
    }

    /// Cancels it. Swoole and OpenSwoole have nothing like it.
    pub fn cancel(&self) -> Cancelled {
        match self.control.cancel() {
            Stopped::Withdrawn { attempted } => {
                if let Some((lane, slot)) = &self.home {
                    // At most once a task: only one withdrawal succeeds. So the queue is bounded.
                    lane.commands.push(Command::Withdrawn { slot: *slot, attempted });
                    lane.doorbell.ring();
                }
                Cancelled::Withdrawn
            }
            Stopped::CancelledBefore => Cancelled::Withdrawn,
            Stopped::Asked => Cancelled::Asked,
            Stopped::Over => Cancelled::TooLate,
        }
    }
}

impl fmt::Debug for TaskHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskHandle").field("id", &self.id).field("state", &self.state()).finish()
    }
}
