//! HTTP/1.1 (RFC 9112): a codec that knows bytes, a connection that knows time.
//!
//! Bytes in: `head` (with `head_scan`, `head_lines` and `target`), `body_decoder` (with `chunked`
//! and `trailers`), and `request_decoder` over both; bytes out: `encode`, `date`. None of them does
//! I/O. `connection` is the state machine over a socket, `patience` its time limits, `exchange` one
//! request of it (`direct` one that is answered at once, `started` its head as `http` types,
//! `sending` the body of its response), `upgrade` what a request may turn the connection into
//! (`vigil` whether its peer is still there),
//! `preface` how a client of HTTP/2 is known,
//! `serving` what the connections of an executor share, `admission` how many of them there may be.

pub(crate) mod admission;
pub(crate) mod body_decoder;
pub(crate) mod chunked;
pub(crate) mod connection;
pub(crate) mod date;
mod direct;
pub(crate) mod encode;
pub(crate) mod exchange;
pub(crate) mod head;
mod head_lines;
pub(crate) mod head_scan;
pub(crate) mod lingering;
pub(crate) mod panicked;
pub(crate) mod patience;
pub(crate) mod preface;
pub(crate) mod reject;
pub(crate) mod request_decoder;
pub(crate) mod sending;
pub(crate) mod serving;
mod started;
pub(crate) mod target;
pub(crate) mod trailers;
pub(crate) mod upgrade;
mod vigil;
