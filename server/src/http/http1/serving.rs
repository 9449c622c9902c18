//! What the connections of one executor share: the application, limits, times and the drain.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;

use sidecore_runtime::sys::panics::Quiet;
use slab::Slab;

use crate::codec::head::HeadLimits;
use crate::config::settings::Options;
use crate::http::http1::admission::{Admission, Admitted};
use crate::http::http1::date::DateCache;
use crate::http::http1::timeouts::Timeouts;

/// Shared by the connections of one executor, on its thread.
pub(crate) struct Serving<A> {
    pub(crate) app: Quiet<A>,
    head_limits: HeadLimits,
    #[cfg(feature = "http2")]
    pub(crate) http2: crate::http::http2::StreamLimits,
    /// The same for secured connections.
    secured_head_limits: HeadLimits,
    pub(crate) body_size_max: u64,
    pub(crate) requests_max: u64,
    pub(crate) timeouts: Timeouts,
    pub(crate) date: DateCache,
    draining: Cell<bool>,
    /// A waker for each open connection, to tell it of the drain.
    connections: RefCell<Slab<Option<Waker>>>,
    admission: Admission,
}

/// A connection's place in its [`Serving`]; dropped with it.
pub(crate) struct Place<A> {
    serving: Rc<Serving<A>>,
    index: usize,
    entry: Admitted,
}

impl<A> Serving<A> {
    pub(crate) fn new(app: A, options: &Options) -> Rc<Self> {
        let head_limits = HeadLimits {
            size_max_bytes: options.head_size_max_bytes,
            header_count_max: options.header_count_max,
            target_length_max_bytes: options.target_length_max_bytes,
            takes_raw_utf8: options.raw_utf8.unwrap_or(false),
            is_secured: false,
        };
        Rc::new(Serving {
            app: Quiet::new(app),
            head_limits,
            #[cfg(feature = "http2")]
            http2: crate::http::http2::StreamLimits::new(options),
            secured_head_limits: HeadLimits { is_secured: true, ..head_limits },
            body_size_max: options.body_size_max_bytes,
            requests_max: match options.requests_per_connection_max {
                0 => u64::MAX,
                requests => requests,
            },
            timeouts: Timeouts::new(options),
            date: DateCache::new(),
            draining: Cell::new(false),
            connections: RefCell::new(Slab::new()),
            admission: Admission::new(options),
        })
    }

    /// What the heads of a connection may measure and ask for.
    pub(crate) fn head_limits(&self, is_secured: bool) -> &HeadLimits {
        if is_secured { &self.secured_head_limits } else { &self.head_limits }
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

    /// Waits until a connection may be accepted.
    pub(crate) async fn opens(&self) {
        self.admission.opens().await;
    }

    /// No further connection waits to be accepted.
    pub(crate) fn caught_up(&self) {
        self.admission.caught_up();
    }

    /// Ready when no connection is open.
    pub(crate) async fn closed(&self) {
        while self.admission.open() > 0 {
            self.admission.departure().await;
        }
    }

    pub(crate) fn enter(self: &Rc<Self>) -> Place<A> {
        let index = self.connections.borrow_mut().insert(None);
        Place { serving: self.clone(), index, entry: self.admission.enter() }
    }
}

impl<A> Place<A> {
    pub(crate) fn serving(&self) -> &Serving<A> {
        &self.serving
    }

    /// What all connections of the executor share.
    #[cfg(feature = "http2")]
    pub(crate) fn shared(&self) -> &Rc<Serving<A>> {
        &self.serving
    }

    /// Whether there was no room: the connection is to be told so and closed.
    pub(crate) fn is_refused(&self) -> bool {
        self.entry == Admitted::Refused
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
        self.serving.connections.borrow_mut().remove(self.index);
        self.serving.admission.leave(self.entry);
    }
}
