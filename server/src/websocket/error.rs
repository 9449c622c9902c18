//! Why a WebSocket ended otherwise than by a close of the peer's.

use std::fmt;
use std::io;
use std::sync::Arc;

/// The WebSocket has ended, or was to be used after its end. It is said again by each later call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WebSocketError {
    /// It was closed, by either side: nothing more can be sent.
    Closed,
    /// The peer broke the protocol; it was told so with 1002.
    Protocol(String),
    /// A message or frame was larger than allowed; the peer was told so with 1009.
    TooLarge {
        /// What it measures, in bytes, as far as that is known.
        size: usize,
        /// What is allowed.
        size_max: usize,
    },
    /// A text or the reason of a close is no UTF-8; the peer was told so with 1007.
    NotUtf8,
    /// The peer ended the connection without a close.
    CutOff,
    /// The peer was silent for `idle_timeout`, and answered no ping.
    Idle,
    /// The peer took nothing of what waits for it for `write_timeout`; the connection was reset.
    TooSlow,
    /// The peer did not answer a close within `close_timeout`.
    Unanswered,
    /// A code that no close may carry (RFC 6455 §7.4): nothing was sent.
    CloseCode(u16),
    /// The connection failed.
    Lost(LostConnection),
}

/// How a connection failed. Equal to another of the same [kind](io::Error::kind).
#[derive(Clone, Debug)]
pub struct LostConnection(Arc<io::Error>);

impl LostConnection {
    /// What the system said.
    pub fn error(&self) -> &io::Error {
        &self.0
    }
}

impl PartialEq for LostConnection {
    fn eq(&self, other: &Self) -> bool {
        self.0.kind() == other.0.kind()
    }
}

impl Eq for LostConnection {}

impl fmt::Display for WebSocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WebSocketError::Closed => f.write_str("the WebSocket is closed"),
            WebSocketError::Protocol(cause) => write!(f, "the peer broke the protocol: {cause}"),
            WebSocketError::TooLarge { size, size_max } => write!(
                f,
                "the peer sent {size} bytes at once and {size_max} are allowed; raise \
                 `message_size_max` or `frame_size_max` of the upgrade if that is too little"
            ),
            WebSocketError::NotUtf8 => f.write_str("the peer sent a text that is no UTF-8"),
            WebSocketError::CutOff => f.write_str("the peer left without a close"),
            WebSocketError::Idle => f.write_str("the peer was silent for too long"),
            WebSocketError::TooSlow => f.write_str("the peer does not take what is sent to it"),
            WebSocketError::Unanswered => f.write_str("the peer does not answer a close"),
            WebSocketError::CloseCode(code) => {
                write!(
                    f,
                    "{code} is no code of a close: take 1000 to 1003, 1007 to 1011, or from \
                           3000 to 4999"
                )
            }
            WebSocketError::Lost(cause) => write!(f, "the connection failed: {}", cause.0),
        }
    }
}

impl WebSocketError {
    pub(super) fn lost(error: io::Error) -> Self {
        WebSocketError::Lost(LostConnection(Arc::new(error)))
    }

    /// What the peer is told of what it did wrong. The [`Display`](fmt::Display) of it is for the
    /// application and its log: the peer has no use for an operator's settings.
    pub(super) fn reason(&self) -> String {
        match self {
            WebSocketError::TooLarge { size, size_max } => {
                format!("at most {size_max} bytes are taken at once, and here are {size}")
            }
            WebSocketError::NotUtf8 => "a text has to be UTF-8".to_owned(),
            WebSocketError::Protocol(cause) => cause.clone(),
            other => other.to_string(),
        }
    }
}

impl std::error::Error for WebSocketError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            WebSocketError::Lost(cause) => Some(cause.error()),
            _ => None,
        }
    }
}
