//! A handle to one task: its state, and the way to cancel it, from any thread.

use std::fmt;
use std::sync::Arc;

use super::control::{Control, TaskState};
use super::slots::SlotKey;
use super::{Command, LaneShared, TaskId};

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
    /// It had not begun and never will; its outcome is [`TaskError::Cancelled`].
    ///
    /// [`TaskError::Cancelled`]: super::TaskError::Cancelled
    Withdrawn,
    /// It runs: its job was asked to stop ([`TaskContext::is_cancelled`]). Its outcome is what the
    /// job makes of that; a future that an async worker runs is dropped where it awaits, and
    /// cancelled.
    ///
    /// [`TaskContext::is_cancelled`]: super::TaskContext::is_cancelled
    Asked,
    /// It was over already.
    TooLate,
}

impl TaskHandle {
    pub(super) fn on_lane(
        id: TaskId,
        control: Arc<Control>,
        lane: Arc<LaneShared>,
        slot: SlotKey,
    ) -> Self {
        TaskHandle { id, control, home: Some((lane, slot)) }
    }

    pub(super) fn foreign(id: TaskId, control: Arc<Control>) -> Self {
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

    /// Whether it has been run, or never will be.
    pub fn is_over(&self) -> bool {
        matches!(self.state(), TaskState::Ended | TaskState::Withdrawn)
    }

    /// Cancels it. Swoole and OpenSwoole have nothing like it.
    pub fn cancel(&self) -> Cancelled {
        let first = self.control.ask_to_stop();
        if self.control.withdraw() {
            if let Some((lane, slot)) = &self.home {
                // At most once a task: only one withdrawal succeeds. So the queue is bounded.
                lane.commands.push(Command::Withdrawn(*slot));
                lane.bell.ring();
            }
            return Cancelled::Withdrawn;
        }
        match self.control.state() {
            TaskState::Running => Cancelled::Asked,
            // Withdrawn by somebody else: as good as by this call, unless its deadline did it.
            TaskState::Withdrawn if !first => Cancelled::Withdrawn,
            _ => Cancelled::TooLate,
        }
    }
}

impl fmt::Debug for TaskHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskHandle").field("id", &self.id).field("state", &self.state()).finish()
    }
}
