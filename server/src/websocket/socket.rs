//! An open WebSocket: messages both ways, pings, time limits and the close.
//!
//! ```text
//!  open ──close(), drain, drop──► closing ──peer's answer──────► ended
//!    │                               └──── close_timeout ──────►   ▲
//!    └── peer's close (answered), its end, a fault, a limit ───────┘
//! ```
//!
//! The protocol itself is tungstenite's, which reads from what has arrived and writes to what is
//! to be sent, and never waits: all waiting is here.

use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use sidecore_runtime::executor::Deadline;
use tungstenite::error::{CapacityError, ProtocolError};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext};

use crate::http::http1::connection::UNSENT_MAX_BYTES;
use crate::http::http1::upgrade::Upgraded;
use crate::http::write_timer::WriteTimer;
use crate::websocket::error::WebSocketError;
use crate::websocket::message::{Closed, Message, Text, close_code};
use crate::websocket::wire::WebSocketWire;

/// What a connection holds for its input while it is idle.
const READ_BUFFER_BYTES: usize = 4096;
/// Frames read before other connections get their turn.
const FRAMES_PER_POLL: u32 = 64;
/// A control frame carries 125 bytes (RFC 6455 §5.5), a close two of them for its code.
const REASON_MAX_BYTES: usize = 123;

/// A WebSocket. It lives on the executor of its connection.
///
/// Dropping it sends a close (1000; 1011 while a panic unwinds) and waits for no answer.
pub struct WebSocket {
    protocol: WebSocketContext,
    upgraded: Upgraded,
    limits: WebSocketLimits,
    phase: Phase,
    /// Until when the peer may be silent; in the closing, until when it may answer.
    silence: Deadline,
    /// For the peer to take what waits for it.
    write_timer: WriteTimer,
    /// Frames read since this was last waited for.
    frames: u32,
    peer: Option<Closed>,
}

/// How far a WebSocket is, from its first message to its closing handshake (RFC 6455 §7.1).
#[derive(Debug)]
enum Phase {
    /// Messages go both ways.
    Open,
    /// They still do. The peer was silent, and was asked whether it is still there.
    Pinged,
    /// A close was sent, and the peer's answer is awaited.
    Closing,
    /// It is over; receiving says this from now on.
    Ended(Result<(), WebSocketError>),
}

/// See the table of the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct WebSocketLimits {
    pub(super) message_size_max: usize,
    pub(super) frame_size_max: usize,
    pub(super) idle_timeout: Duration,
    pub(super) write_timeout: Duration,
    pub(super) close_timeout: Duration,
    pub(super) close_at_shutdown: bool,
}

impl Default for WebSocketLimits {
    fn default() -> Self {
        WebSocketLimits {
            message_size_max: 1 << 20,
            frame_size_max: 1 << 20,
            idle_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(30),
            close_timeout: Duration::from_secs(5),
            close_at_shutdown: true,
        }
    }
}

impl WebSocket {
    pub(super) fn new(upgraded: Upgraded, limits: WebSocketLimits) -> Self {
        upgraded.ends_with_peer();
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_message_size(Some(limits.message_size_max))
            .max_frame_size(Some(limits.frame_size_max));
        let mut socket = WebSocket {
            protocol: WebSocketContext::new(Role::Server, Some(config)),
            upgraded,
            limits,
            phase: Phase::Open,
            silence: Deadline::unset(),
            write_timer: WriteTimer::new(),
            frames: 0,
            peer: None,
        };
        socket.heard();
        socket
    }

    /// The next message; None when the WebSocket was closed, by a close of the peer's or an answer
    /// to ours, as at shutdown. After that, or an error, it says the same again.
    ///
    /// Dropping the future loses nothing, so that one may wait for a message or something else.
    ///
    /// # Errors
    /// [`WebSocketError`], once, where it ended otherwise than by the peer's close.
    pub async fn recv(&mut self) -> Result<Option<Message>, WebSocketError> {
        poll_fn(|context| self.poll_recv(context)).await
    }

    /// As [`recv`](Self::recv), for futures written by hand.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn poll_recv(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Message>, WebSocketError>> {
        loop {
            if let Phase::Ended(end) = &self.phase {
                return Poll::Ready(end.clone().map(|()| None));
            }
            // A peer that takes nothing is not read from: what it has asked for would pile up.
            ready!(self.poll_room(context));
            if self.has_ended() {
                continue;
            }
            if self.poll_draining(context).is_ready() {
                self.go_away_if_told();
            }
            if self.frames == FRAMES_PER_POLL {
                self.frames = 0;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            match self.protocol.read(&mut WebSocketWire(self.upgraded.io_mut())) {
                Ok(message) => {
                    self.frames += 1;
                    if let Some(message) = self.take(message) {
                        self.upgraded.has_taken();
                        return Poll::Ready(Ok(Some(message)));
                    }
                }
                Err(error) if is_blocked(&error) => ready!(self.poll_more(context)),
                Err(error) => self.fail(error),
            }
        }
    }

    /// Sends a message; waits first while more than 256 KiB wait for the peer to take them. `Ok`
    /// says that it is on its way, not that it has arrived.
    ///
    /// Dropping the future before it is ready sends nothing.
    ///
    /// # Errors
    /// [`WebSocketError`], where it has ended; the message is lost.
    pub async fn send(&mut self, message: Message) -> Result<(), WebSocketError> {
        poll_fn(|context| match self.poll_lost_connection(context) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => self.poll_room(context),
        })
        .await;
        if self.is_draining() {
            self.go_away_if_told();
        }
        match &self.phase {
            Phase::Ended(end) => return Err(end.clone().err().unwrap_or(WebSocketError::Closed)),
            _ if !self.protocol.can_write() => return Err(WebSocketError::Closed),
            _ => {}
        }
        let mut wire = WebSocketWire(self.upgraded.io_mut());
        let sent = self.protocol.write(&mut wire, message.into());
        sent.and_then(|()| self.protocol.flush(&mut wire)).map_err(|error| {
            self.fail(error);
            WebSocketError::Closed
        })
    }

    /// Closes: sends a code of [`close_code`] (or one of the application's, 4000 to 4999) with a
    /// reason of at most 123 bytes (what is longer is cut), and waits for the peer's answer.
    ///
    /// Dropping the future leaves the close sent and waits no longer.
    ///
    /// # Errors
    /// [`WebSocketError`], where the code is none, or the peer does not answer the close.
    pub async fn close(mut self, code: u16, reason: &str) -> Result<(), WebSocketError> {
        if !CloseCode::from(code).is_allowed() {
            return Err(WebSocketError::CloseCode(code));
        }
        self.begin_close(code, reason);
        while self.recv().await?.is_some() {}
        Ok(())
    }

    /// Whether the server shuts down; see [`WebSocketUpgrade::close_at_shutdown`].
    ///
    /// [`WebSocketUpgrade::close_at_shutdown`]: crate::websocket::WebSocketUpgrade::close_at_shutdown
    pub fn is_draining(&self) -> bool {
        self.upgraded.is_draining()
    }

    /// Ready once the server shuts down. A pending [`poll_recv`](Self::poll_recv) is woken then.
    pub fn poll_draining(&self, context: &Context<'_>) -> Poll<()> {
        self.upgraded.poll_draining(context)
    }

    /// Ready once the connection is lost or the peer has ended it, be it without a close: for who
    /// waits for something else than messages. What had arrived before can still be received.
    pub fn poll_lost(&self, context: &Context<'_>) -> Poll<()> {
        self.upgraded.poll_lost(context)
    }

    /// What the peer said when it closed, or answered a close; None before that.
    pub fn closed(&self) -> Option<&Closed> {
        self.peer.as_ref()
    }

    /// Handles what the protocol read; gives out a message.
    fn take(&mut self, message: tungstenite::Message) -> Option<Message> {
        let message = match message {
            tungstenite::Message::Text(text) => Message::Text(Text(text)),
            tungstenite::Message::Binary(bytes) => Message::Binary(bytes),
            tungstenite::Message::Close(frame) => {
                self.peer = Some(Closed::new(frame));
                return None;
            }
            // A ping was answered as it was read.
            _ => return None,
        };
        // §1.4: after a close was sent, what still comes is of no interest.
        matches!(self.phase, Phase::Open | Phase::Pinged).then_some(message)
    }

    /// Waits for bytes of the peer's, or its end, within the time that it may be silent.
    fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let io = self.upgraded.io_mut();
        match io.fill(context) {
            Poll::Ready(Ok(_)) => self.heard(),
            Poll::Ready(Err(error)) => self.finish(Err(WebSocketError::lost(error))),
            Poll::Pending => {
                io.recycle();
                self.frames = 0;
                ready!(self.silence.poll(context));
                self.silent();
            }
        }
        Poll::Ready(())
    }

    /// The peer has sent something.
    fn heard(&mut self) {
        if let Phase::Open | Phase::Pinged = self.phase
            && !self.limits.idle_timeout.is_zero()
        {
            self.phase = Phase::Open;
            self.silence.set(self.limits.idle_timeout / 2);
        }
    }

    /// The peer has sent nothing for as long as it may.
    fn silent(&mut self) {
        match self.phase {
            Phase::Open => {}
            Phase::Pinged => {
                self.begin_close(close_code::GOING_AWAY, "silent for too long");
                return self.finish(Err(WebSocketError::Idle));
            }
            Phase::Closing | Phase::Ended(_) => {
                return self.finish(Err(WebSocketError::Unanswered));
            }
        }
        self.phase = Phase::Pinged;
        self.silence.set(self.limits.idle_timeout / 2);
        let mut wire = WebSocketWire(self.upgraded.io_mut());
        let ping = tungstenite::Message::Ping(Bytes::new());
        let sent = self.protocol.write(&mut wire, ping);
        if let Err(error) = sent.and_then(|()| self.protocol.flush(&mut wire)) {
            self.fail(error);
        }
    }

    /// Ready when nothing can be sent any more. Who only sends would not learn of it otherwise: the
    /// kernel refuses what it is given, and so it leaves.
    fn poll_lost_connection(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let stream = &self.upgraded.io_mut().stream;
        ready!(stream.poll_failed(context));
        if let Poll::Ready(Err(error)) = stream.poll_sent(context) {
            self.finish(Err(WebSocketError::lost(error)));
        }
        Poll::Ready(())
    }

    /// Ready when there is room for what is to be sent, or the WebSocket has ended.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let stream = &self.upgraded.io_mut().stream;
        if stream.unsent() <= UNSENT_MAX_BYTES {
            self.write_timer.stop();
            return Poll::Ready(());
        }
        stream.flush();
        match stream.poll_sent(context) {
            Poll::Ready(Ok(())) => self.write_timer.stop(),
            Poll::Ready(Err(error)) => self.finish(Err(WebSocketError::lost(error))),
            Poll::Pending => {
                ready!(self.write_timer.poll(stream, self.limits.write_timeout, context));
                self.upgraded.reset();
                self.finish(Err(WebSocketError::TooSlow));
            }
        }
        Poll::Ready(())
    }

    fn go_away_if_told(&mut self) {
        if self.limits.close_at_shutdown {
            self.go_away();
        }
    }

    fn go_away(&mut self) {
        self.begin_close(close_code::GOING_AWAY, "the server shuts down");
    }

    /// Sends a close, once.
    fn begin_close(&mut self, code: u16, reason: &str) {
        if let Phase::Closing | Phase::Ended(_) = self.phase {
            return;
        }
        self.phase = Phase::Closing;
        self.silence.set(self.limits.close_timeout);
        let reason = &reason[..reason.floor_char_boundary(REASON_MAX_BYTES)];
        let frame = CloseFrame { code: code.into(), reason: reason.into() };
        // An error says that the peer has closed before; reading says so too.
        let _ = self.protocol.close(&mut WebSocketWire(self.upgraded.io_mut()), Some(frame));
    }

    /// Ends with what the protocol found, and tells the peer what it did wrong.
    fn fail(&mut self, error: tungstenite::Error) {
        use tungstenite::Error;
        let (end, code) = match error {
            Error::ConnectionClosed | Error::AlreadyClosed => return self.finish(Ok(())),
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                return self.finish(Err(WebSocketError::CutOff));
            }
            Error::Io(error) => return self.finish(Err(WebSocketError::lost(error))),
            Error::Capacity(CapacityError::MessageTooLong { size, max_size }) => {
                let size_max = max_size;
                (WebSocketError::TooLarge { size, size_max }, close_code::TOO_LARGE)
            }
            Error::Utf8(_) => (WebSocketError::NotUtf8, close_code::INVALID),
            error => (WebSocketError::Protocol(error.to_string()), close_code::PROTOCOL),
        };
        self.begin_close(code, &end.reason());
        self.finish(Err(end));
    }

    fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended(_))
    }

    fn finish(&mut self, end: Result<(), WebSocketError>) {
        self.upgraded.is_known_to_end();
        if !self.has_ended() {
            self.phase = Phase::Ended(end);
        }
        self.upgraded.io_mut().stream.flush();
    }
}

impl Drop for WebSocket {
    fn drop(&mut self) {
        match (std::thread::panicking(), self.upgraded.is_draining()) {
            (true, _) => self.begin_close(close_code::ERROR, "the server failed"),
            (false, true) => self.go_away(),
            (false, false) => self.begin_close(close_code::NORMAL, ""),
        }
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WebSocket { limits, phase, peer, .. } = self;
        f.debug_struct("WebSocket")
            .field("limits", limits)
            .field("phase", phase)
            .field("peer", peer)
            .finish_non_exhaustive()
    }
}

fn is_blocked(error: &tungstenite::Error) -> bool {
    matches!(error, tungstenite::Error::Io(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}
