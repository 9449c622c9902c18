//! How long a connection waits, and for what.
//!
//! One deadline a connection: it is set when a wait begins and stands until the wait is over, so a
//! peer gains nothing by sending a head byte by byte. A long transfer has no limit in all, but has
//! to make progress: the deadline of a wait for a body is set anew once enough of it came; what is
//! progress of a peer that reads, `write_timer` says. A body is not waited for while its handler does
//! something else: what it has left of its time it has afterwards.
//! The limit of a whole request is its exchange's own deadline beside this one.

use std::task::{Context, Poll};
use std::time::Duration;

use sidecore_runtime::executor::Deadline;

use crate::config::settings::Options;
use crate::http::write_timer::{Sent, WriteTimer};

/// Time limits of a connection. Zero means none for `request`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    head: Duration,
    body: Duration,
    keep_alive: Duration,
    write: Duration,
    half_close: Duration,
    linger: Duration,
    pub(crate) request: Duration,
    /// Bytes of a body that set its deadline anew.
    body_least_bytes: u64,
}

/// What a connection waits for: each has its time limit, which runs from when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// The first byte of a request, on a connection that has served one.
    NextRequest,
    /// The rest of a head, or the first request of a connection.
    Head,
    /// More of a body.
    Body,
    /// The peer to take what was written.
    Write,
    /// The peer's end.
    Linger,
    /// The handler, for which only the limit of the whole request holds.
    Handler,
    /// The same, of a peer that has ended its side: until something is sent to it, one that still
    /// reads cannot be told from one that is gone.
    HandlerForEnded,
}

/// The current wait of a connection.
pub(crate) struct WaitTimer {
    waiting: Option<Waiting>,
    /// The limit of a head has passed, and no other wait has begun.
    head_overdue: bool,
    /// What the peer had done when the deadline was set.
    mark: u64,
    deadline: Deadline,
    /// The same of a body, and what it had left of its time, while something else is waited for.
    body: Option<(u64, Duration)>,
    /// In place of mark and deadline, where the peer is to take what it is sent.
    write: WriteTimer,
}

impl Timeouts {
    pub(crate) fn new(options: &Options) -> Self {
        let ms = Duration::from_millis;
        // The rate, averaged over the time limit; one byte at least, or nothing would do.
        let least = u128::from(options.body_rate_min_bytes_per_s)
            * u128::from(options.body_timeout_ms)
            / 1000;
        Timeouts {
            head: ms(options.head_timeout_ms),
            body: ms(options.body_timeout_ms),
            keep_alive: ms(options.keep_alive_timeout_ms),
            write: ms(options.write_timeout_ms),
            half_close: ms(options.half_close_timeout_ms),
            linger: ms(options.linger_timeout_ms),
            request: ms(options.request_timeout_ms),
            body_least_bytes: u64::try_from(least).unwrap_or(u64::MAX).max(1),
        }
    }

    /// For what comes before a connection's first head as well, such as a handshake.
    pub(crate) fn head(&self) -> Duration {
        self.head
    }

    /// For who writes once HTTP is over.
    pub(crate) fn write(&self) -> Duration {
        self.write
    }

    /// For who is not told yet that its peer is gone.
    pub(crate) fn half_close(&self) -> Duration {
        self.half_close
    }

    pub(crate) fn limit(&self, waiting: Waiting) -> Option<Duration> {
        match waiting {
            Waiting::NextRequest => Some(self.keep_alive),
            Waiting::Head => Some(self.head),
            Waiting::Body => Some(self.body),
            Waiting::Write => Some(self.write),
            Waiting::Linger => Some(self.linger),
            Waiting::Handler => None,
            Waiting::HandlerForEnded => Some(self.half_close),
        }
    }

    /// How many bytes are progress.
    fn is_progress(&self, waiting: Waiting, bytes: u64) -> bool {
        match waiting {
            Waiting::Body => bytes >= self.body_least_bytes,
            Waiting::Write | Waiting::Linger => bytes > 0,
            _ => false,
        }
    }
}

impl WaitTimer {
    pub(crate) fn new() -> Self {
        let (deadline, write) = (Deadline::unset(), WriteTimer::new());
        WaitTimer { waiting: None, head_overdue: false, mark: 0, deadline, body: None, write }
    }

    /// How long a head has been awaited, or was when its time limit passed; zero where it came whole.
    pub(crate) fn head_awaited(&self, timeouts: &Timeouts) -> Duration {
        match self.waiting {
            Some(Waiting::Head) => {
                timeouts.head.saturating_sub(self.deadline.left().unwrap_or_default())
            }
            None if self.head_overdue => timeouts.head,
            _ => Duration::ZERO,
        }
    }

    /// What was waited for has come: a wait of the same kind begins anew.
    pub(crate) fn renew(&mut self) {
        self.waiting = None;
        self.body = None;
    }

    /// Ready when the time limit of what is waited for has passed. `done` is what the peer has done
    /// so far, in bytes: sent, or taken.
    pub(crate) fn poll(
        &mut self,
        waiting: Waiting,
        done: u64,
        timeouts: &Timeouts,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        if self.waiting != Some(waiting) {
            let limit = self.begin(waiting, done, timeouts);
            self.set(limit);
        }
        if timeouts.is_progress(waiting, done.saturating_sub(self.mark)) {
            self.mark = done;
            self.set(timeouts.limit(waiting));
        }
        self.deadline.poll(context).map(|()| {
            self.head_overdue = waiting == Waiting::Head;
            self.renew();
        })
    }

    /// The same where the peer is to take what it was sent; with [`Waiting::HandlerForEnded`], any of
    /// it.
    pub(crate) fn poll_sent(
        &mut self,
        waiting: Waiting,
        sent: &impl Sent,
        timeouts: &Timeouts,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        if self.waiting != Some(waiting) {
            self.begin(waiting, 0, timeouts);
            self.deadline.clear();
            self.write.stop();
        }
        let polled = match waiting {
            Waiting::HandlerForEnded => self.write.poll_alive(sent, timeouts.half_close, context),
            _ => self.write.poll(sent, timeouts.write, context),
        };
        polled.map(|()| self.renew())
    }

    /// The time for what is waited for from now on.
    fn begin(&mut self, waiting: Waiting, done: u64, timeouts: &Timeouts) -> Option<Duration> {
        if self.waiting == Some(Waiting::Body) {
            self.body = self.deadline.left().map(|left| (self.mark, left));
        }
        (self.waiting, self.mark, self.head_overdue) = (Some(waiting), done, false);
        if waiting == Waiting::Body
            && let Some((mark, left)) = self.body.take()
        {
            self.mark = mark;
            return Some(left);
        }
        timeouts.limit(waiting)
    }

    fn set(&mut self, limit: Option<Duration>) {
        match limit {
            Some(limit) => self.deadline.set(limit),
            None => self.deadline.clear(),
        }
    }
}
