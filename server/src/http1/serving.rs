//! What the connections of one executor share: the application, limits, times and the drain.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use slab::Slab;

use super::date::DateCache;
use super::head::HeadLimits;
use crate::config::Options;

/// Time limits of a connection. Zero means none for `request`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    pub(crate) head: Duration,
    pub(crate) body: Duration,
    pub(crate) keep_alive: Duration,
    pub(crate) write: Duration,
    pub(crate) request: Duration,
    pub(crate) linger: Duration,
}

/// Shared by the connections of one executor, on its thread.
pub(crate) struct Serving<A> {
    pub(crate) app: A,
    pub(crate) head_limits: HeadLimits,
    pub(crate) body_size_max: u64,
    pub(crate) requests_max: u64,
    pub(crate) timeouts: Timeouts,
    pub(crate) date: DateCache,
    draining: Cell<bool>,
    /// A waker for each open connection, to tell it of the drain.
    connections: RefCell<Slab<Option<Waker>>>,
    /// Woken when the last connection has closed.
    empty: RefCell<Option<Waker>>,
}

/// A connection's place in its [`Serving`]; dropped with it.
pub(crate) struct Place<A> {
    serving: Rc<Serving<A>>,
    index: usize,
}

impl<A> Serving<A> {
    pub(crate) fn new(app: A, options: &Options) -> Rc<Self> {
        let ms = Duration::from_millis;
        Rc::new(Serving {
            app,
            head_limits: HeadLimits {
                size_max_bytes: options.head_size_max_bytes,
                header_count_max: options.header_count_max,
                target_length_max_bytes: options.target_length_max_bytes,
            },
            body_size_max: options.body_size_max_bytes,
            requests_max: match options.requests_per_connection_max {
                0 => u64::MAX,
                requests => requests,
            },
            timeouts: Timeouts {
                head: ms(options.head_timeout_ms),
                body: ms(options.body_timeout_ms),
                keep_alive: ms(options.keep_alive_timeout_ms),
                write: ms(options.write_timeout_ms),
                request: ms(options.request_timeout_ms),
                linger: ms(options.linger_timeout_ms),
            },
            date: DateCache::new(),
            draining: Cell::new(false),
            connections: RefCell::new(Slab::new()),
            empty: RefCell::new(None),
        })
    }

    /// Whether the server is shutting down: each connection closes after its current request.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Begins the drain and wakes every connection.
    pub(crate) fn drain(&self) {
        self.draining.set(true);
        let wakers: Vec<Waker> =
            self.connections.borrow().iter().filter_map(|(_, waker)| waker.clone()).collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Open connections.
    pub(crate) fn connections(&self) -> usize {
        self.connections.borrow().len()
    }

    /// Ready when no connection is open.
    pub(crate) async fn closed(&self) {
        std::future::poll_fn(|context| match self.connections() {
            0 => std::task::Poll::Ready(()),
            _ => {
                *self.empty.borrow_mut() = Some(context.waker().clone());
                std::task::Poll::Pending
            }
        })
        .await;
    }

    pub(crate) fn enter(self: &Rc<Self>) -> Place<A> {
        let index = self.connections.borrow_mut().insert(None);
        Place { serving: self.clone(), index }
    }
}

impl<A> Place<A> {
    pub(crate) fn serving(&self) -> &Serving<A> {
        &self.serving
    }

    /// Keeps the task's waker, once: it is the same for the connection's whole life.
    pub(crate) fn keep_waker(&self, waker: &Waker) {
        if let Some(place) = self.serving.connections.borrow_mut().get_mut(self.index) {
            place.get_or_insert_with(|| waker.clone());
        }
    }
}

impl<A> Drop for Place<A> {
    fn drop(&mut self) {
        let mut connections = self.serving.connections.borrow_mut();
        connections.remove(self.index);
        if connections.is_empty()
            && let Some(waker) = self.serving.empty.take()
        {
            waker.wake();
        }
    }
}
