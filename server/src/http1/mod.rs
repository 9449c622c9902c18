//! HTTP/1.1 (RFC 9112): a codec that knows bytes, a connection that knows time.
//!
//! Bytes in: `head` (with `target`), `chunked`; bytes out: `encode`, `date`. None of them does
//! I/O. `connection` is the state machine over a socket, `patience` its time limits, `exchange` one
//! request of it, `serving` what the connections of an executor share, `admission` how many of them
//! there may be.

pub(crate) mod admission;
pub(crate) mod chunked;
pub(crate) mod connection;
pub(crate) mod date;
pub(crate) mod encode;
pub(crate) mod exchange;
pub(crate) mod head;
pub(crate) mod patience;
pub(crate) mod reject;
pub(crate) mod serving;
pub(crate) mod target;
