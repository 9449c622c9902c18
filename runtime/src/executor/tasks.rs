//! The local tasks of an executor: a slab of futures, polled on its thread only.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use slab::Slab;

use super::waker::{Remote, TaskHeader};
use crate::sys::panics::catch;

/// Names a task and the life of its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskKey {
    index: u32,
    generation: u32,
}

type LocalFuture = Pin<Box<dyn Future<Output = ()>>>;

struct LocalTask {
    generation: u32,
    header: Arc<TaskHeader>,
    /// None while it is being polled, so that the poll may reach the slab.
    body: Option<(LocalFuture, Waker)>,
}

/// The tasks that have not ended.
pub(crate) struct LocalTasks {
    slots: Slab<LocalTask>,
    next_generation: u32,
    remote: Arc<Remote>,
}

/// A task taken out of the slab for one poll.
pub(crate) struct Polling {
    key: TaskKey,
    future: LocalFuture,
    waker: Waker,
}

impl LocalTasks {
    pub(crate) fn new(remote: Arc<Remote>) -> Self {
        LocalTasks { slots: Slab::new(), next_generation: 0, remote }
    }

    /// Adds a task; the caller queues its key.
    pub(crate) fn insert(&mut self, future: LocalFuture) -> TaskKey {
        let generation = self.next_generation;
        self.next_generation = generation.wrapping_add(1);
        let entry = self.slots.vacant_entry();
        let key = TaskKey { index: entry.key() as u32, generation };
        let header = Arc::new(TaskHeader::new(key, self.remote.clone()));
        let waker = Waker::from(header.clone());
        entry.insert(LocalTask { generation, header, body: Some((future, waker)) });
        key
    }

    /// Takes a task out to be polled; None if its key is of an earlier life.
    pub(crate) fn begin_poll(&mut self, key: TaskKey) -> Option<Polling> {
        let task = self.slots.get_mut(key.index as usize)?;
        if task.generation != key.generation {
            return None;
        }
        task.header.schedule.begin_poll();
        let (future, waker) = task.body.take()?;
        Some(Polling { key, future, waker })
    }

    /// Puts a task back that is not done.
    pub(crate) fn put_back(&mut self, polling: Polling) {
        if let Some(task) = self.slots.get_mut(polling.key.index as usize) {
            task.body = Some((polling.future, polling.waker));
        }
    }

    /// Removes a task that is done and hands its future out, to be dropped outside any borrow.
    pub(crate) fn remove(&mut self, polling: Polling) -> LocalFuture {
        let task = self.slots.remove(polling.key.index as usize);
        task.header.schedule.retire();
        polling.future
    }

    /// Removes all tasks, to be dropped outside any borrow.
    pub(crate) fn remove_all(&mut self) -> Vec<LocalFuture> {
        self.slots
            .drain()
            .filter_map(|task| {
                task.header.schedule.retire();
                Some(task.body?.0)
            })
            .collect()
    }
}

/// Polls a task. The report of a blocked executor's stack ends here (`stack/unwind.rs`): see
/// `__sidecore_job`.
#[cfg_attr(feature = "stacks", inline(never))]
fn __sidecore_poll(
    future: Pin<&mut (dyn Future<Output = ()> + 'static)>,
    context: &mut Context<'_>,
) -> Poll<()> {
    let polled = future.poll(context);
    #[cfg(feature = "stacks")]
    std::hint::black_box(());
    polled
}

impl Polling {
    /// Polls once. A panic ends the task, not the executor.
    pub(crate) fn poll(&mut self, panics: &Cell<u64>) -> Poll<()> {
        let mut context = Context::from_waker(&self.waker);
        let future = &mut self.future;
        catch(|| __sidecore_poll(future.as_mut(), &mut context)).unwrap_or_else(|| {
            panics.set(panics.get() + 1);
            Poll::Ready(())
        })
    }
}
