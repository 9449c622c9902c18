//! HTTP/2 (RFC 9113), by hyper's server: over TLS for clients that ask for it in the handshake, on
//! plain listeners for those that begin with it (prior knowledge, §3.3).
//!
//! ```text
//!   socket ─ (TLS) ─ `wire` ── hyper ──► `service`: one call a request ──► the application
//!                       ▲        │                        │
//!                  `connection` ─┘ polls it         `stream` polls what becomes of the call,
//!                  its times, its end               a task of its own: `answer` is its body
//! ```
//!
//! hyper frames and multiplexes; it reads and writes through `wire`, spawns through `stream` and
//! sleeps by `clock`. What is the project's own stands around it: `request` is the rules of a head
//! that hyper leaves to its user, `body` what a client sends, `limits` all bounds in one place.
//! Times, refusals and the drain are those of HTTP/1.1, of which this has no other code path than
//! [`App::call`]: an [`App::direct`] is not asked, as what it answers `call` answers too.
//!
//! A client that waits for `100 Continue` gets it when its handler begins to read the body. hyper has
//! no way for that: `received` has each request know its stream, and `wire` sends it between two
//! frames of hyper's. What h2 answers by itself is seen in `sent`.
//!
//! A stream that its client resets, and all of a connection that is lost, are dropped where they
//! wait, as the handlers of HTTP/1.1 are with their connection. So are they of a client that ends its
//! side: it can send neither windows nor answers to a PING any more, and none is known that reads on.
//! A panic costs its stream.
//!
//! How slow a client may be is in `turns`; what it sends of a body that nobody reads, in `unread`.
//!
//! [`App::call`]: crate::App::call
//! [`App::direct`]: crate::App::direct

mod answer;
mod clock;
mod connection;
mod frames;
mod limits;
mod received;
mod request;
mod sent;
mod service;
mod session;
mod stream;
mod turns;
mod unread;
mod wire;

pub(crate) use crate::http::http2::connection::serve;
pub(crate) use crate::http::http2::limits::StreamLimits;
