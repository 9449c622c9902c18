//! Which connections an executor takes: so many at once, and what becomes of the rest.
//!
//! With `connections_max` open the others wait in the kernel's backlog until one closes. No longer
//! than `accept_timeout_ms`, though: then they are accepted, answered 503 with Retry-After, and
//! closed, until all that wait have been looked at. A client is better told than left waiting.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::pin;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use sidecore_runtime::executor::sleep;

use crate::config::settings::Options;

/// Refused connections that may be open until their peers have read why, beside `connections_max`.
const REFUSED_MAX: usize = 512;

/// The door of one executor.
pub(crate) struct Admission {
    connections_max: usize,
    /// None: those that find no room wait for as long as it takes.
    wait_max: Option<Duration>,
    served: Cell<usize>,
    refused: Cell<usize>,
    /// Since when there are more than there is room for.
    full_since: Cell<Option<Instant>>,
    /// Connections that have left so far.
    departures: Cell<u64>,
    /// Woken at each departure; one task waits at a time, the executor's main one.
    waker: RefCell<Option<Waker>>,
}

/// How a connection was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admitted {
    /// To be served.
    Served,
    /// To be told that there is no room.
    Refused,
}

impl Admission {
    pub(crate) fn new(options: &Options) -> Self {
        let wait_max = Duration::from_millis(options.accept_timeout_ms);
        Admission {
            connections_max: options.connections_max,
            wait_max: (!wait_max.is_zero()).then_some(wait_max),
            served: Cell::new(0),
            refused: Cell::new(0),
            full_since: Cell::new(None),
            departures: Cell::new(0),
            waker: RefCell::new(None),
        }
    }

    /// Waits until a connection may be accepted: to be served, or to be refused.
    pub(crate) async fn opens(&self) {
        while !self.has_room() {
            let since = self.full_since.get().unwrap_or_else(|| {
                let now = Instant::now();
                self.full_since.set(Some(now));
                now
            });
            let left = self.wait_max.map(|wait_max| wait_max.saturating_sub(since.elapsed()));
            match left {
                Some(Duration::ZERO) if self.refused.get() < REFUSED_MAX => return,
                None | Some(Duration::ZERO) => self.departure().await,
                Some(left) => self.departure_within(left).await,
            }
        }
    }

    /// Counts in a connection that was accepted.
    pub(crate) fn enter(&self) -> Admitted {
        let (entry, count) = match self.has_room() || self.full_since.get().is_none() {
            true => (Admitted::Served, &self.served),
            false => (Admitted::Refused, &self.refused),
        };
        count.set(count.get() + 1);
        entry
    }

    /// Counts out a connection that has closed.
    pub(crate) fn leave(&self, entry: Admitted) {
        let count = match entry {
            Admitted::Served => &self.served,
            Admitted::Refused => &self.refused,
        };
        count.set(count.get() - 1);
        self.departures.set(self.departures.get() + 1);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// None waits any more to be accepted: who comes next may wait anew.
    pub(crate) fn caught_up(&self) {
        if self.has_room() {
            self.full_since.set(None);
        }
    }

    /// Connections that are open, refused ones included.
    pub(crate) fn open(&self) -> usize {
        self.served.get() + self.refused.get()
    }

    /// Waits until another connection has closed.
    pub(crate) async fn departure(&self) {
        let before = self.departures.get();
        std::future::poll_fn(|context| {
            if self.departures.get() != before {
                return Poll::Ready(());
            }
            *self.waker.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    async fn departure_within(&self, limit: Duration) {
        let (mut departure, mut limit) = (pin!(self.departure()), pin!(sleep(limit)));
        std::future::poll_fn(|context| {
            if limit.as_mut().poll(context).is_ready()
                || departure.as_mut().poll(context).is_ready()
            {
                return Poll::Ready(());
            }
            Poll::Pending
        })
        .await;
    }

    fn has_room(&self) -> bool {
        self.served.get() < self.connections_max
    }
}
