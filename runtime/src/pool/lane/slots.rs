//! The tasks that a lane keeps something of until they are over: who waits for the outcome, the
//! job while it is delayed, how often it may still be tried.
//!
//! A slot is freed when the task's outcome is delivered. Where that is decided before the task's
//! finish has come home from its task worker, that finish finds no slot and is thrown away.

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use slab::Slab;

use crate::pool::task::control::Control;
use crate::pool::task::options::Options;
use crate::pool::task::{Finish, SlotKey, TaskId};

/// Where a task's outcome goes.
pub(crate) enum Sink<O> {
    /// To the pool's `on_finish`.
    OnFinish,
    /// To a callback of its own.
    Callback(Box<dyn FnOnce(Finish<O>)>),
    /// To a future, which is polled with this waker.
    Waiting(Option<Waker>),
    /// It is there for the future to take.
    Done(Finish<O>),
}

/// Where a job is, and what it holds of its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whereabouts {
    /// In a queue or with a task worker: it holds a credit, which its finish brings back.
    Away,
    /// In its slot until it is due. It holds a place among the sleepers and no credit.
    Asleep,
    /// In its slot, due, and in line for a credit. It holds its place among the sleepers.
    InLine,
    /// In its slot until its pause is over. It holds its credit, for want of a place among the
    /// sleepers.
    Paused,
}

/// One task.
pub(crate) struct Slot<J, O> {
    pub(crate) generation: u32,
    pub(crate) id: TaskId,
    pub(crate) sink: Sink<O>,
    pub(crate) control: Option<Arc<Control>>,
    pub(crate) options: Options,
    /// While it is delayed, and between two attempts.
    pub(crate) job: Option<J>,
    pub(crate) attempt: u32,
    pub(crate) deadline: Option<Instant>,
    pub(crate) again: Option<fn(&J) -> J>,
    pub(crate) whereabouts: Whereabouts,
}

/// The slots of a lane.
pub(crate) struct Slots<J, O> {
    slots: Slab<Slot<J, O>>,
    next_generation: u32,
}

impl<J, O> Slot<J, O> {
    /// A task that nothing more is known of than where its outcome goes.
    pub(crate) fn plain(sink: Sink<O>) -> Self {
        Slot {
            generation: 0,
            id: 0,
            sink,
            control: None,
            options: Options::default(),
            job: None,
            attempt: 1,
            deadline: None,
            again: None,
            whereabouts: Whereabouts::Away,
        }
    }
}

impl<J, O> Slots<J, O> {
    pub(crate) fn new() -> Self {
        Slots { slots: Slab::new(), next_generation: 0 }
    }

    pub(crate) fn insert(&mut self, slot: Slot<J, O>) -> SlotKey {
        let generation = self.next_generation;
        self.next_generation = generation.wrapping_add(1);
        let index = self.slots.insert(Slot { generation, ..slot }) as u32;
        SlotKey { index, generation }
    }

    pub(crate) fn get(&mut self, key: SlotKey) -> Option<&mut Slot<J, O>> {
        let slot = self.slots.get_mut(key.index as usize)?;
        (slot.generation == key.generation).then_some(slot)
    }

    pub(crate) fn contains(&self, key: SlotKey) -> bool {
        self.slots.get(key.index as usize).is_some_and(|slot| slot.generation == key.generation)
    }

    /// Whether its job waits in line for a credit.
    pub(crate) fn is_in_line(&self, key: SlotKey) -> bool {
        let slot = self.slots.get(key.index as usize);
        slot.is_some_and(|slot| {
            slot.generation == key.generation && slot.whereabouts == Whereabouts::InLine
        })
    }

    pub(crate) fn remove(&mut self, key: SlotKey) -> Option<Slot<J, O>> {
        self.contains(key).then(|| self.slots.remove(key.index as usize))
    }

    /// Takes all, to be dropped outside any borrow.
    pub(crate) fn drain(&mut self) -> Vec<Slot<J, O>> {
        self.slots.drain().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }
}
