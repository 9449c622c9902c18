//! The lanes of a thread: an executor has one of each pool.

use std::any::Any;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::Installed;
use crate::pool::shared::PoolShared;

thread_local! {
    /// The lanes installed on this thread, by the address of their pool's shared part.
    static LANES: RefCell<Vec<(usize, Rc<dyn Any>)>> = const { RefCell::new(Vec::new()) };
}

/// Names a pool among those of this process.
pub(crate) fn key<J, O>(pool: &Arc<PoolShared<J, O>>) -> usize {
    Arc::as_ptr(pool) as usize
}

pub(crate) fn install<J, O>(pool: &Arc<PoolShared<J, O>>, lane: Rc<Installed<J, O>>)
where
    J: Send + 'static,
    O: Send + 'static,
{
    LANES.with_borrow_mut(|lanes| lanes.push((key(pool), lane)));
}

/// Removes a pool's lane from this thread, if it has one.
pub(crate) fn uninstall(pool: usize) {
    LANES.with_borrow_mut(|lanes| lanes.retain(|(installed, _)| *installed != pool));
}

/// Calls `call` with the lane of the pool of this key on this thread, if it has one.
pub(crate) fn with_lane<J, O, R>(key: usize, call: impl FnOnce(&Installed<J, O>) -> R) -> Option<R>
where
    J: Send + 'static,
    O: Send + 'static,
{
    // The thread-local is gone while its thread ends: then there is no lane either.
    LANES
        .try_with(|lanes| {
            let lanes = lanes.borrow();
            let (_, lane) = lanes.iter().find(|(installed, _)| *installed == key)?;
            lane.downcast_ref::<Installed<J, O>>().map(call)
        })
        .ok()
        .flatten()
}
