//! Whether the peer of an upgraded connection is still there, for an application that neither
//! reads nor writes: one that waits for a task, or for something to push.
//!
//! A lost connection is found at once while a receive is armed, else by a look every [`LOOK_EVERY`]
//! (the kernel loses one whose peer is silent, and that of a peer that has closed: its host answers
//! the next probe but one with a reset). The application is told, and left
//! `half_close_timeout_ms` to find out by itself what it would clean up; then its future is dropped,
//! as a handler is. Of those whose peer has only ended its side, a WebSocket is treated so too, as
//! it has no such state; what another protocol means by it is the application's to know.

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use sidecore_runtime::executor::Deadline;
use sidecore_runtime::net::{Peer, Watch};

use crate::http::write_timer::WriteTimer;

/// Between two looks at a connection that has no receive armed.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What an upgraded connection and its task know of the peer.
#[derive(Default)]
pub(crate) struct News {
    /// The protocol has no half-closed connections.
    pub(crate) ends_with_peer: Cell<bool>,
    /// The application has had an error: what it does from now on it does knowing.
    pub(crate) is_known: Cell<bool>,
    /// What it has taken so far, in pieces.
    pub(crate) taken: Cell<u64>,
    lost: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// The watch over one connection.
pub(crate) struct PeerWatch {
    watch: Watch,
    look: Deadline,
    is_looking: bool,
    /// For the application, or for a peer that may still read.
    limit: WriteTimer,
    /// What had gone either way when that began.
    moved: Option<(u64, u64)>,
}

impl News {
    pub(crate) fn poll_lost(&self, context: &Context<'_>) -> Poll<()> {
        if self.lost.get() {
            return Poll::Ready(());
        }
        let mut kept = self.waker.borrow_mut();
        if !kept.as_ref().is_some_and(|kept| kept.will_wake(context.waker())) {
            *kept = Some(context.waker().clone());
        }
        Poll::Pending
    }

    fn tell(&self) {
        if !self.lost.replace(true)
            && let Some(waker) = self.waker.take()
        {
            waker.wake();
        }
    }
}

impl PeerWatch {
    pub(crate) fn new(watch: Watch) -> Self {
        let (look, limit) = (Deadline::unset(), WriteTimer::new());
        PeerWatch { watch, look, is_looking: false, limit, moved: None }
    }

    /// Ready when the peer has been gone for `limit`, without the application taking notice.
    pub(crate) fn poll(
        &mut self,
        news: &News,
        limit: Duration,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        let peer = self.peer(context);
        let is_over = peer == Peer::Lost || peer == Peer::Ended && news.ends_with_peer.get();
        if !is_over || news.is_known.get() {
            self.moved = None;
            return Poll::Pending;
        }
        news.tell();
        // Where the peer may still read, what it takes is progress; so is what it has sent before.
        let moved = match peer {
            Peer::Lost => (u64::MAX, 0),
            _ => (self.watch.taken(), news.taken.get()),
        };
        if self.moved != Some(moved) {
            self.moved = Some(moved);
            self.limit.stop();
            // Whoever asks the stream itself, as what moves an upgrade of hyper's, does it anew.
            context.waker().wake_by_ref();
        }
        self.limit.poll_alive(&self.watch, limit, context)
    }

    fn peer(&mut self, context: &mut Context<'_>) -> Peer {
        let mut peer = self.watch.peer();
        if !matches!(peer, Peer::Unknown | Peer::Ended) {
            self.is_looking = false;
            return peer;
        }
        if !std::mem::replace(&mut self.is_looking, true) {
            self.look.set(LOOK_EVERY);
        }
        while peer != Peer::Lost && self.look.poll(context).is_ready() {
            self.watch.ask();
            peer = self.watch.peer();
            self.look.set(LOOK_EVERY);
        }
        peer
    }
}
