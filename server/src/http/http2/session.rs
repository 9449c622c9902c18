//! What the streams of one connection share with it.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::task::Waker;
use std::time::Duration;

use sidecore_runtime::executor::Deadline;

use crate::http::http1::serving::Serving;
use crate::http::http2::stream::Stream;
use crate::http::http2::turns::Flow;
use crate::http::http2::wire::Http2Wire;

/// Shared by a connection and its streams, on their executor.
pub(crate) struct Http2Session<A> {
    pub(crate) serving: Rc<Serving<A>>,
    wire: Weak<Http2Wire>,
    /// The wire's.
    pub(crate) flow: Rc<Flow>,
    /// The server has no room: every request is told so.
    pub(crate) is_refused: bool,
    /// The peer's address, if the application wants it told.
    pub(crate) peer: Option<SocketAddr>,
    /// It speaks TLS.
    pub(crate) is_secured: bool,
    /// Of the call that was made last, until hyper spawns what will poll it.
    called: RefCell<Option<Rc<Stream>>>,
    /// Requests that were read.
    begun: Cell<u64>,
    /// Streams that are over, and those of them whose client did not wait for an answer.
    over: Cell<u64>,
    abandoned: Cell<u64>,
    /// For the next request, from when the last stream was over.
    pub(crate) idle: RefCell<Deadline>,
    pub(crate) idle_limit: Cell<Duration>,
    /// An answer said that it is the connection's last (`Connection: close`).
    is_last: Cell<bool>,
    /// A stream's end is not taken by the peer, and cannot be taken back.
    is_stuck: Cell<bool>,
    /// The connection's.
    waker: RefCell<Option<Waker>>,
}

impl<A> Http2Session<A> {
    pub(crate) fn new(
        serving: Rc<Serving<A>>,
        wire: &Rc<Http2Wire>,
        peer: Option<SocketAddr>,
        is_refused: bool,
    ) -> Rc<Self> {
        let is_secured = wire.transport().is_secured();
        Rc::new(Http2Session {
            serving,
            wire: Rc::downgrade(wire),
            flow: wire.flow(),
            is_refused,
            peer,
            is_secured,
            called: RefCell::default(),
            begun: Cell::new(0),
            over: Cell::new(0),
            abandoned: Cell::new(0),
            idle: RefCell::new(Deadline::unset()),
            idle_limit: Cell::default(),
            is_last: Cell::new(false),
            is_stuck: Cell::new(false),
            waker: RefCell::default(),
        })
    }

    /// Tells a client to go on with a body that it holds back; false if that cannot be now.
    pub(crate) fn send_continue(&self, stream: u32) -> bool {
        self.wire.upgrade().is_some_and(|wire| wire.send_continue(stream))
    }

    /// A request was read.
    pub(crate) fn begin(&self, stream: Rc<Stream>) {
        self.begun.set(self.begun.get() + 1);
        *self.called.borrow_mut() = Some(stream);
    }

    /// The stream of the call that hyper spawns.
    pub(crate) fn spawned(&self) -> Option<Rc<Stream>> {
        self.called.borrow_mut().take()
    }

    /// A stream is over; with `abandoned` its client had not waited for the answer.
    pub(crate) fn end(&self, abandoned: bool) {
        self.over.set(self.over.get() + 1);
        self.abandoned.set(self.abandoned.get() + u64::from(abandoned));
        self.idle.borrow_mut().set(self.idle_limit.get());
    }

    pub(crate) fn begun(&self) -> u64 {
        self.begun.get()
    }

    /// Whether no stream is open.
    pub(crate) fn is_idle(&self) -> bool {
        self.begun.get() == self.over.get()
    }

    /// Streams that were given up, beyond those that were answered.
    pub(crate) fn abandoned(&self) -> u64 {
        let answered = self.over.get() - self.abandoned.get();
        self.abandoned.get().saturating_sub(answered)
    }

    pub(crate) fn set_last(&self) {
        self.is_last.set(true);
        self.wake();
    }

    pub(crate) fn is_last(&self) -> bool {
        self.is_last.get()
    }

    pub(crate) fn set_stuck(&self) {
        self.is_stuck.set(true);
        self.wake();
    }

    pub(crate) fn is_stuck(&self) -> bool {
        self.is_stuck.get()
    }

    pub(crate) fn keep_waker(&self, waker: &Waker) {
        self.waker.borrow_mut().get_or_insert_with(|| waker.clone());
    }

    fn wake(&self) {
        let waker = self.waker.borrow().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
