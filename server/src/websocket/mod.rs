//! WebSocket (RFC 6455) on the executor that serves the connection. Replaces Swoole's
//! `WebSocket\Server` with its `on('Open')`, `on('Message')`, `push` and `disconnect`.
//!
//! ```
//! use sidecore::websocket::{Message, WebSocketUpgrade};
//! use sidecore::{Incoming, Request, Response};
//!
//! async fn echo(mut request: Request<Incoming>) -> Result<Response<String>, std::convert::Infallible> {
//!     let upgrade = match WebSocketUpgrade::from_request(&mut request) {
//!         Ok(upgrade) => upgrade,
//!         Err(rejection) => return Ok(rejection.into_response()),
//!     };
//!     Ok(upgrade.on_upgrade(|mut socket| async move {
//!         while let Ok(Some(message)) = socket.recv().await {
//!             if socket.send(message).await.is_err() {
//!                 return;
//!             }
//!         }
//!     }))
//! }
//! ```
//!
//! With the feature `axum`, [`WebSocketUpgrade`] is an extractor too. (axum's own works with the
//! feature `hyper-upgrade` and the companion, at twice the time an echo.) The function given to
//! `on_upgrade` is `Send`, so that handlers are; its future need not be and stays on its executor,
//! as a part of the connection's task.
//!
//! What happens while [`recv`](WebSocket::recv), [`send`](WebSocket::send) or
//! [`close`](WebSocket::close) is awaited, and at no other time:
//!
//! - pings are answered, and sent to a peer that is silent for half of `idle_timeout`;
//! - a peer that breaks the protocol is told so (1002; 1007 for text that is none, 1009 for what is
//!   larger than allowed) and the error is returned;
//! - a close of the peer's is answered, and `recv` gives `None`;
//! - at shutdown the peer is told 1001 and may answer, within `close_timeout` and the drain's time,
//!   or the application closes in its own time ([`WebSocketUpgrade::close_at_shutdown`]).
//!
//! Where the peer is gone while the application waits for something else, which
//! [`poll_lost`](WebSocket::poll_lost) tells, it has `half_close_timeout_ms` to find that out, by an
//! error of `recv` or `send`. Then its future is dropped, as a handler's is: what must happen in any
//! case belongs into a `Drop`.
//!
//! | limit | default | set by |
//! |---|---|---|
//! | a message, its fragments together | 1 MiB | [`WebSocketUpgrade::message_size_max`] |
//! | a frame | 1 MiB | [`WebSocketUpgrade::frame_size_max`] |
//! | a peer's silence | 60 s | [`WebSocketUpgrade::idle_timeout`] |
//! | the peer to take 64 KiB of what waits for it | 30 s | [`WebSocketUpgrade::write_timeout`] |
//! | the peer's answer to a close | 5 s | [`WebSocketUpgrade::close_timeout`] |
//! | unsent bytes before `send` waits and nothing more is read | 256 KiB | |
//!
//! So a connection holds at most one message and one frame that come in, what `connections_max`
//! counts as well (see ARCHITECTURE.md), and the message that was sent last. There is no
//! compression (RFC 7692), and none is agreed to.
//!
//! Browsers send their cookies from pages of any origin: check `Origin` where they count.

#[cfg(feature = "axum")]
mod axum;
mod error;
mod handshake;
mod message;
mod socket;
mod wire;

pub use crate::websocket::error::{LostConnection, WebSocketError};
pub use crate::websocket::handshake::WebSocketRejection;
pub use crate::websocket::handshake::WebSocketUpgrade;
pub use crate::websocket::message::Closed;
pub use crate::websocket::message::Message;
pub use crate::websocket::message::Text;
pub use crate::websocket::message::close_code;
pub use crate::websocket::socket::WebSocket;

/// The traits of an extractor, whose crate is not at 1.0 yet.
#[cfg(feature = "axum")]
pub use axum_core;
