//! Moves bytes between an upgraded connection and the line, on the connection's executor.
//!
//! ```text
//!  up     Open ──peer's end──► Ended            down   Open ──application's end──► Ending ──► Ended
//!           └──application's drop──► Ended               └──drain──► Closed (a WebSocket only)
//! ```
//!
//! Each direction ends by itself, so that either side may half-close. All is over when the
//! application has dropped its end and what it wrote is on its way, when both directions have ended,
//! or when the connection is lost, of which the application's reads tell the cause.
//!
//! At the drain a WebSocket is closed as those of `websocket` are: where the application's frames
//! leave room for it, its peer is told 1001. From then on what the application sends is dropped, as
//! nothing may follow a close (RFC 6455 §5.5.1), while the peer's answer still reaches it and ends
//! it. What other protocols say at their end is not known here: they have the drain's time.

use std::future::Future;
use std::io::ErrorKind;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use sidecore_runtime::executor::Deadline;

use crate::http::http1::connection::UNSENT_MAX_BYTES;
use crate::http::http1::upgrade::Upgraded;
use crate::http::hyper_upgrade::close_frame::{CloseFrame, GOING_AWAY};
use crate::http::hyper_upgrade::end::Line;
use crate::http::write_timer::WriteTimer;

/// Rounds of both directions before other connections get their turn.
const ROUNDS_PER_POLL: u32 = 16;
/// How long the peer may take to answer a close of ours, as in `websocket`.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the application may take to read that answer: it may be one that never reads.
const READ_TIMEOUT: Duration = Duration::from_millis(250);

/// The future of an upgraded connection.
pub(crate) struct Pump {
    upgraded: Upgraded,
    line: Line,
    up: Up,
    down: Down,
    /// Where the application speaks WebSocket.
    close_frame: Option<CloseFrame>,
    /// Until when the peer has to answer a close.
    limit: Deadline,
    /// For the peer to take what waits for it.
    write_timer: WriteTimer,
    /// The peer has answered a close of ours.
    is_answered: bool,
}

/// From the peer to the application.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Up {
    Open,
    Ended,
}

/// From the application to the peer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Down {
    Open,
    /// The application writes no more: when all is sent, the connection is half-closed.
    Ending,
    Ended,
    /// A close of ours was sent.
    Closed,
}

/// What a round came to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moved {
    Some,
    /// Nothing, and something will wake the task.
    Nothing,
    /// All is over, for both directions.
    Over,
}

impl Pump {
    /// `first` is what the application has written already.
    pub(crate) fn new(
        mut upgraded: Upgraded,
        line: Line,
        first: &[u8],
        is_websocket: bool,
    ) -> Self {
        if is_websocket {
            upgraded.ends_with_peer();
        }
        let mut close_frame = is_websocket.then(CloseFrame::default);
        if let Some(close_frame) = &mut close_frame {
            close_frame.pass(first);
        }
        upgraded.io_mut().stream.write(|out| out.extend_from_slice(first));
        Pump {
            upgraded,
            line,
            up: Up::Open,
            down: Down::Open,
            close_frame,
            limit: Deadline::unset(),
            write_timer: WriteTimer::new(),
            is_answered: false,
        }
    }

    fn poll_up(&mut self, context: &mut Context<'_>) -> Moved {
        if self.up == Up::Ended {
            return self.poll_lost(context);
        }
        let io = self.upgraded.io_mut();
        if io.rest().is_empty() {
            return match io.fill(context) {
                Poll::Ready(Ok(true)) => Moved::Some,
                Poll::Ready(Ok(false)) => self.peer_ended(context),
                Poll::Ready(Err(error)) => self.lost(error.kind()),
                Poll::Pending => {
                    io.recycle();
                    Moved::Nothing
                }
            };
        }
        match self.line.poll_write(context, io.rest()) {
            Poll::Ready(Some(count)) => {
                if let Some(close_frame) = &mut self.close_frame {
                    close_frame.hear(&io.rest()[..count]);
                }
                io.consumed += count;
                self.upgraded.has_taken();
                Moved::Some
            }
            Poll::Ready(None) => {
                self.up = Up::Ended;
                Moved::Some
            }
            // The application does not read, so neither do we: TCP's window does the rest.
            Poll::Pending if io.stream.poll_failed(context).is_ready() => {
                self.lost(ErrorKind::ConnectionReset)
            }
            Poll::Pending => Moved::Nothing,
        }
    }

    /// When no more is received: whether the connection is lost all the same.
    fn poll_lost(&mut self, context: &mut Context<'_>) -> Moved {
        let stream = &self.upgraded.io_mut().stream;
        match stream.poll_failed(context).is_ready().then(|| stream.poll_sent(context)) {
            Some(Poll::Ready(Err(error))) => self.lost(error.kind()),
            _ => Moved::Nothing,
        }
    }

    fn peer_ended(&mut self, context: &mut Context<'_>) -> Moved {
        // Over TLS an end that the peer did not say may be anybody's.
        if self.upgraded.io_mut().stream.is_cut_off() {
            self.line.blame(ErrorKind::UnexpectedEof);
        }
        self.line.end(context);
        self.up = Up::Ended;
        Moved::Some
    }

    fn poll_down(&mut self, context: &mut Context<'_>) -> Moved {
        match self.down {
            Down::Open => self.poll_open(context),
            Down::Ending => match self.poll_taken(context) {
                Poll::Ready(None) => {
                    self.upgraded.io_mut().stream.shutdown_write();
                    self.down = Down::Ended;
                    Moved::Some
                }
                Poll::Ready(Some(end)) => end,
                Poll::Pending => self.poll_gone(context),
            },
            Down::Ended if self.up == Up::Ended => Moved::Over,
            Down::Ended => self.poll_gone(context),
            Down::Closed => self.poll_closed(context),
        }
    }

    /// Sends a piece of what the application has written.
    fn poll_open(&mut self, context: &mut Context<'_>) -> Moved {
        match self.poll_room(context) {
            Poll::Ready(None) => {}
            Poll::Ready(Some(end)) => return end,
            Poll::Pending => return Moved::Nothing,
        }
        let Pump { upgraded, line, close_frame, .. } = self;
        let is_draining = close_frame.is_some() && upgraded.poll_draining(context).is_ready();
        let stream = &upgraded.io_mut().stream;
        let mut is_whole = true;
        let read = line.poll_read(context, |piece| {
            let admitted = match close_frame {
                Some(close_frame) if is_draining => close_frame.admit(piece),
                Some(close_frame) => close_frame.pass(piece),
                None => piece.len(),
            };
            is_whole = admitted == piece.len();
            stream.write(|out| out.extend_from_slice(&piece[..admitted]));
        });
        let may_close = || close_frame.as_ref().is_some_and(CloseFrame::may_close);
        match read {
            Poll::Ready(0) if self.line.poll_gone(context).is_ready() => Moved::Over,
            Poll::Ready(0) => {
                stream.end();
                stream.flush();
                self.down = Down::Ending;
                Moved::Some
            }
            Poll::Ready(_) if is_whole => Moved::Some,
            Poll::Pending if !(is_draining && may_close()) => Moved::Nothing,
            Poll::Ready(_) | Poll::Pending => {
                stream.write(|out| out.extend_from_slice(GOING_AWAY));
                self.limit.set(CLOSE_TIMEOUT);
                self.down = Down::Closed;
                Moved::Some
            }
        }
    }

    /// Ready when there is room for what is to be sent, or with how all ends.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<Option<Moved>> {
        let stream = &self.upgraded.io_mut().stream;
        if stream.unsent() <= UNSENT_MAX_BYTES {
            self.write_timer.stop();
            return Poll::Ready(None);
        }
        stream.flush();
        self.poll_taken(context)
    }

    /// Ready when the peer has taken all that was written, or with how all ends: it has to take some
    /// of it within its time.
    fn poll_taken(&mut self, context: &mut Context<'_>) -> Poll<Option<Moved>> {
        let write_timeout = self.upgraded.write_timeout();
        let stream = &self.upgraded.io_mut().stream;
        match stream.poll_sent(context) {
            Poll::Ready(Ok(())) => {
                self.write_timer.stop();
                Poll::Ready(None)
            }
            Poll::Ready(Err(error)) => Poll::Ready(Some(self.lost(error.kind()))),
            Poll::Pending => {
                std::task::ready!(self.write_timer.poll(stream, write_timeout, context));
                self.upgraded.reset();
                Poll::Ready(Some(self.lost(ErrorKind::TimedOut)))
            }
        }
    }

    /// After a close of ours: what the application sends is dropped, until it, the peer or the time
    /// to answer ends.
    fn poll_closed(&mut self, context: &mut Context<'_>) -> Moved {
        if self.up == Up::Ended {
            return Moved::Over;
        }
        let has_answered = self.close_frame.as_ref().is_some_and(CloseFrame::has_peer_closed);
        if has_answered && !std::mem::replace(&mut self.is_answered, true) {
            self.limit.set(READ_TIMEOUT);
        }
        // First: an application that never pauses gains no time by it.
        if self.limit.poll(context).is_ready() {
            return self.lost(ErrorKind::TimedOut);
        }
        match self.line.poll_read(context, |_| {}) {
            Poll::Ready(0) => Moved::Over,
            Poll::Ready(_) => Moved::Some,
            Poll::Pending => Moved::Nothing,
        }
    }

    fn poll_gone(&mut self, context: &mut Context<'_>) -> Moved {
        if self.line.poll_gone(context).is_ready() { Moved::Over } else { Moved::Nothing }
    }

    /// The application is told why, by its next read.
    fn lost(&self, cause: ErrorKind) -> Moved {
        self.line.blame(cause);
        Moved::Over
    }
}

impl Future for Pump {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        for _ in 0..ROUNDS_PER_POLL {
            let up = self.poll_up(context);
            let down = if up == Moved::Over { up } else { self.poll_down(context) };
            match (up, down) {
                (_, Moved::Over) => return Poll::Ready(()),
                (Moved::Nothing, Moved::Nothing) => {
                    self.upgraded.io_mut().stream.flush();
                    return Poll::Pending;
                }
                _ => {}
            }
        }
        self.upgraded.io_mut().stream.flush();
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
