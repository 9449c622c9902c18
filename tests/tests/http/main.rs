//! HTTP/1.1 over real sockets, against clients of all kinds.

mod exchanges;
mod limits;
mod listeners;
mod proxy_protocol;
mod streaming;
mod survival;
mod timeouts;
