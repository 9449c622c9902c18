//! HTTP/1.1 (RFC 9112): a codec that knows bytes, a connection that knows time.
//!
//! Bytes in: `head` (with `target` and `unfinished`), `chunked`; bytes out: `encode`, `date`. None of them does
//! I/O. `connection` is the state machine over a socket, `exchange` one request of it, `serving`
//! what the connections of an executor share.

pub(crate) mod chunked;
pub(crate) mod connection;
pub(crate) mod date;
pub(crate) mod encode;
pub(crate) mod exchange;
pub(crate) mod head;
pub(crate) mod reject;
pub(crate) mod serving;
pub(crate) mod target;
mod unfinished;
