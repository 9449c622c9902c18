//! Messages, and why a peer closes.

use std::fmt;
use std::ops::Deref;

use bytes::Bytes;
use tungstenite::Utf8Bytes;
use tungstenite::protocol::CloseFrame;

/// A message, whole: its fragments have been put together. Pings, pongs and closes are no messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Text.
    Text(Text),
    /// Bytes.
    Binary(Bytes),
}

/// A text that shares its memory when it is cloned.
#[derive(Clone, PartialEq, Eq)]
pub struct Text(pub(super) Utf8Bytes);

/// Why the peer closed, as it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// One of [`close_code`], or of the application's own; None if it gave none.
    pub code: Option<u16>,
    /// For people to read; may be empty.
    pub reason: String,
}

/// Codes of a close (RFC 6455 §7.4.1). From 3000 they are registered, from 4000 the application's.
pub mod close_code {
    /// Its purpose is fulfilled.
    pub const NORMAL: u16 = 1000;
    /// The server shuts down, or the page was left.
    pub const GOING_AWAY: u16 = 1001;
    /// The peer broke the protocol.
    pub const PROTOCOL: u16 = 1002;
    /// A kind of data that is not taken.
    pub const UNSUPPORTED: u16 = 1003;
    /// Data that is not what its type says, such as text that is no UTF-8.
    pub const INVALID: u16 = 1007;
    /// A rule of the application's was broken.
    pub const POLICY: u16 = 1008;
    /// A message or frame that is larger than allowed.
    pub const TOO_LARGE: u16 = 1009;
    /// The server failed.
    pub const ERROR: u16 = 1011;
}

impl Message {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Message::Text(Text::from(text.into()))
    }

    /// Bytes.
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        Message::Binary(bytes.into())
    }
}

impl From<Message> for tungstenite::Message {
    fn from(message: Message) -> Self {
        match message {
            Message::Text(text) => tungstenite::Message::Text(text.0),
            Message::Binary(bytes) => tungstenite::Message::Binary(bytes),
        }
    }
}

impl Closed {
    pub(super) fn new(frame: Option<CloseFrame>) -> Self {
        match frame {
            Some(frame) => {
                Closed { code: Some(frame.code.into()), reason: frame.reason.as_str().to_owned() }
            }
            None => Closed { code: None, reason: String::new() },
        }
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Text(text.into())
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Text(text.into())
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}
