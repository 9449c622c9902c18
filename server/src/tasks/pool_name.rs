//! Which pool a thread works for, for whoever names it in a log or a span.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use sidecore_runtime::pool::TaskWorkerInfo;

thread_local! {
    static POOL: RefCell<Option<Rc<str>>> = const { RefCell::new(None) };
}

/// The name of the pool whose task worker this thread is; `None` on other threads.
///
/// A task does not carry it: each thread of a pool knows it.
pub fn pool_name() -> Option<Rc<str>> {
    POOL.with_borrow(Clone::clone)
}

/// Has each thread of a pool know the pool's name, from before it makes what it runs jobs with.
pub(crate) fn named<R>(
    pool: Arc<str>,
    make: impl Fn(&TaskWorkerInfo) -> R + Send + Sync + 'static,
) -> impl Fn(&TaskWorkerInfo) -> R + Send + Sync + 'static {
    move |worker| {
        POOL.set(Some((&*pool).into()));
        make(worker)
    }
}
