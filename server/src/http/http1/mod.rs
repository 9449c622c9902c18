//! HTTP/1.1 (RFC 9112): a codec that knows bytes, a connection that knows time.
//!
//! Bytes in: `head` (with `head_scan`, `head_lines` and `target`), `body_decoder` (with `chunked`
//! and `trailers`), and `request_decoder` over both; bytes out: `encode`, `date`. None of them does
//! I/O. `connection` is the state machine over a socket, `timeouts` its time limits, `exchange` one
//! request of it (`direct` one that is answered at once, `request_head` its head as `http` types,
//! `sending` the body of its response), `upgrade` what a request may turn the connection into
//! (`peer_watch` whether its peer is still there),
//! `http2_preface` how a client of HTTP/2 is known,
//! `serving` what the connections of an executor share, `admission` how many of them there may be.

pub(crate) mod admission;
pub(crate) mod connection;
pub(crate) mod date;
mod direct;
pub(crate) mod encode;
pub(crate) mod exchange;
pub(crate) mod http2_preface;
pub(crate) mod lingering;
pub(crate) mod panicked;
mod peer_watch;
mod request_head;
pub(crate) mod sending;
pub(crate) mod serving;
pub(crate) mod timeouts;
pub(crate) mod upgrade;
