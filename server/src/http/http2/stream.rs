//! One stream: how far its answer is, how long it may take, and the task that polls it.
//!
//! ```text
//!   Unanswered ──head──► Begun ──end of the body──► Answered ──last piece taken──► over
//!       │ time: 408, 503   │ time: RST_STREAM           │ time: the connection ends
//!       └ reset by the client, in any of them: what the application does is dropped
//! ```
//!
//! A piece of an answer is out from when it is given to hyper until hyper has written it, and there
//! is one at a time: the rest stays with the application. So a peer that opens no window for a
//! stream is seen by its piece, and has to take 64 KiB of the answer, or all there is of it, within
//! the write time (`turns` says what of that is the stream's own fault); and while a piece is out,
//! hyper waits for the next one rather than for the window, so that an error from the body reaches
//! it and resets the stream.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::StatusCode;
use hyper::rt::Executor;
use pin_project_lite::pin_project;
use sidecore_runtime::executor::{Deadline, spawn_local};

use crate::app::http2_body::Watch;
use crate::http::http1::timeouts::{Timeouts, WaitTimer, Waiting};
use crate::http::http2::session::Http2Session;
use crate::http::http2::turns::{Flow, Turn, parts};
use crate::http::http2::unread::{Answered, Unread};

/// What the parts of a stream know of each other.
pub(crate) struct Stream {
    stage: Cell<Stage>,
    /// A piece is out.
    is_out: Cell<bool>,
    /// Bytes of pieces that were written.
    taken: Cell<u64>,
    /// While a piece is waited for.
    turn: Cell<Option<Turn>>,
    /// The connection's.
    flow: Rc<Flow>,
    /// The time for the answer has passed: its body is to end in an error.
    is_overdue: Cell<bool>,
    /// Of the request's body, if there is one.
    watch: Option<Watch>,
    /// Of that, what nobody reads.
    unread: RefCell<Option<Unread>>,
    answered: Cell<Answered>,
    /// Its number, while its client waits for `100 Continue`.
    expects: Cell<Option<u32>>,
    wait_timer: RefCell<WaitTimer>,
    /// When the request has taken too long, where that is limited.
    deadline: RefCell<Option<Deadline>>,
    /// Who waits for the piece that is out.
    waker: RefCell<Option<Waker>>,
}

/// How far an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// None of it is given to hyper: the request may still be refused.
    Unanswered,
    /// Its head is.
    Begun,
    /// All of it is, or it has failed.
    Answered,
}

/// A part of an answer.
pub(crate) struct Piece {
    bytes: Bytes,
    stream: Rc<Stream>,
}

impl Stream {
    /// A stream whose request was read; `limit` is the time for all of it, zero for none.
    pub(crate) fn new(watch: Option<Watch>, limit: Duration, flow: Rc<Flow>) -> Rc<Self> {
        let deadline = (!limit.is_zero()).then(|| {
            let mut deadline = Deadline::unset();
            deadline.set(limit);
            deadline
        });
        Rc::new(Stream {
            stage: Cell::new(Stage::Unanswered),
            is_out: Cell::new(false),
            taken: Cell::new(0),
            turn: Cell::new(None),
            flow,
            is_overdue: Cell::new(false),
            watch,
            unread: RefCell::default(),
            answered: Cell::new(Answered::Not),
            expects: Cell::new(None),
            wait_timer: RefCell::new(WaitTimer::new()),
            deadline: RefCell::new(deadline),
            waker: RefCell::new(None),
        })
    }

    pub(crate) fn watch(&self) -> Option<&Watch> {
        self.watch.as_ref()
    }

    /// Its client holds the body back until it is told to go on.
    pub(crate) fn expect(&self, number: Option<u32>) {
        self.expects.set(number);
    }

    /// Has the client told so, by `tell`, if the handler reads and nothing has come.
    pub(crate) fn go_on(&self, waker: &Waker, tell: impl FnOnce(u32) -> bool) {
        if let Some(number) = self.expects.get()
            && let Some(received) = self.watch.as_ref().and_then(|watch| watch.awaited(waker))
            && (received > 0 || tell(number))
        {
            self.expects.set(None);
        }
    }

    /// It is answered, whatever becomes of that.
    pub(crate) fn answer(&self, status: StatusCode) {
        self.answered.set(match status.is_success() {
            true => Answered::WithSuccess,
            false => Answered::Otherwise,
        });
    }

    pub(crate) fn advance(&self, stage: Stage) {
        self.stage.set(stage);
    }

    pub(crate) fn is_overdue(&self) -> bool {
        self.is_overdue.get()
    }

    /// Gives out a piece.
    pub(crate) fn give(self: &Rc<Self>, bytes: Bytes) -> Piece {
        self.is_out.set(true);
        self.flow.give();
        Piece { bytes, stream: self.clone() }
    }

    /// Ready when no piece is out.
    pub(crate) fn poll_taken(&self, context: &Context<'_>) -> Poll<()> {
        if !self.is_out.get() {
            return Poll::Ready(());
        }
        *self.waker.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    }

    /// Throws away what comes of the request's body that nobody reads. Ready when there is no more.
    fn poll_unread(&self, timeouts: &Timeouts, context: &mut Context<'_>) -> Poll<()> {
        let unread = &mut *self.unread.borrow_mut();
        if let Some(body) = self.watch.as_ref().and_then(Watch::take_unread) {
            *unread = Some(Unread::new(body));
        }
        let answered = self.answered.get();
        let polled = unread.as_mut().map(|unread| unread.poll(answered, timeouts, context));
        let polled = polled.unwrap_or(Poll::Ready(()));
        if polled.is_ready() {
            *unread = None;
        }
        polled
    }

    /// Ready, with what was waited for, when the time for that has passed, or for the request.
    pub(crate) fn poll_overdue(
        &self,
        timeouts: &Timeouts,
        context: &mut Context<'_>,
    ) -> Poll<Waiting> {
        let (waiting, done) = self.waiting(context.waker());
        let wait_timer = &mut *self.wait_timer.borrow_mut();
        let mut passed = wait_timer.poll(waiting, done, timeouts, context).is_ready();
        self.turn.set(match waiting {
            Waiting::Write => Some(Turn::of(done, self.turn.get(), &self.flow)),
            _ => None,
        });
        if passed && let Some(again) = self.turn.get().and_then(|turn| turn.again(&self.flow)) {
            self.turn.set(Some(again));
            passed = wait_timer.poll(waiting, done, timeouts, context).is_ready();
        }
        if let Some(deadline) = &mut *self.deadline.borrow_mut() {
            passed |= deadline.poll(context).is_ready();
        }
        if passed { Poll::Ready(waiting) } else { Poll::Pending }
    }

    /// What is waited for, and what the peer has done of it: bytes of a body, parts of an answer.
    fn waiting(&self, waker: &Waker) -> (Waiting, u64) {
        // Asked in any case, as it keeps the waker.
        let awaited = self.watch.as_ref().and_then(|watch| watch.awaited(waker));
        match (self.is_out.get(), awaited) {
            (true, _) => (Waiting::Write, parts(self.taken.get())),
            // With the handler and the peer both to wait for, the peer's limit counts.
            (false, Some(received)) => (Waiting::Body, received),
            (false, None) => (Waiting::Handler, 0),
        }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.stream.taken.set(self.stream.taken.get() + count as u64);
        self.stream.flow.wrote_of_answer(count);
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.stream.is_out.set(false);
        self.stream.flow.take_back();
        if let Some(waker) = self.stream.waker.take() {
            waker.wake();
        }
    }
}

/// What hyper spawns a connection's streams with.
pub(crate) struct Spawner<A>(pub(crate) Rc<Http2Session<A>>);

impl<A> Clone for Spawner<A> {
    fn clone(&self) -> Self {
        Spawner(self.0.clone())
    }
}

impl<A: 'static, F: Future<Output = ()> + 'static> Executor<F> for Spawner<A> {
    /// hyper spawns what polls a call right after it has made it. It has nothing else to spawn, as
    /// no CONNECT is answered with success.
    fn execute(&self, future: F) {
        match self.0.spawned() {
            Some(stream) => {
                let open = Open { stream, session: self.0.clone() };
                spawn_local(StreamTask { exchange: Some(future), open });
            }
            None => spawn_local(future),
        }
    }
}

/// A stream that is not over.
struct Open<A> {
    stream: Rc<Stream>,
    session: Rc<Http2Session<A>>,
}

impl<A> Drop for Open<A> {
    fn drop(&mut self) {
        self.session.end(self.stream.stage.get() != Stage::Answered);
    }
}

pin_project! {
    /// The task of a stream.
    struct StreamTask<F, A> {
        // Dropped first: what the application does ends before the stream counts as over.
        #[pin]
        exchange: Option<F>,
        open: Open<A>,
    }
}

impl<F: Future<Output = ()>, A> Future for StreamTask<F, A> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let Open { stream, session } = &*this.open;
        let timeouts = &session.serving.timeouts;
        if let Some(exchange) = this.exchange.as_mut().as_pin_mut() {
            if exchange.poll(context).is_pending() {
                let _ = stream.poll_unread(timeouts, context);
                // What is not answered yet looks after its time itself.
                let is_answering = stream.stage.get() != Stage::Unanswered;
                if is_answering && stream.poll_overdue(timeouts, context).is_ready() {
                    stream.is_overdue.set(true);
                    if let Some(exchange) = this.exchange.as_mut().as_pin_mut() {
                        let _ = exchange.poll(context);
                    }
                    return Poll::Ready(());
                }
                return Poll::Pending;
            }
            this.exchange.set(None);
            // The request's time is up to here: the kernel nearly always takes what is left at once.
            *stream.deadline.borrow_mut() = None;
        }
        let is_unread = stream.poll_unread(timeouts, context).is_pending();
        if stream.poll_taken(context).is_ready() {
            return if is_unread { Poll::Pending } else { Poll::Ready(()) };
        }
        if stream.poll_overdue(timeouts, context).is_ready() {
            // hyper has let go of the stream: it can no longer be reset alone.
            session.set_stuck();
            return Poll::Ready(());
        }
        Poll::Pending
    }
}
