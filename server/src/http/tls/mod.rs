//! TLS 1.3 and 1.2 for the listeners that say so, by rustls, on the executors' own threads.
//!
//! ```no_run
//! use sidecore::http::tls::Certificates;
//! use sidecore::{Config, Server};
//! use sidecore::config::Listen;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let certificates = Certificates::from_pem_files("cert.pem", "key.pem")?;
//! let server = Server::new(Config::load()?).tls(certificates); // host and port speak it
//! let server = server.listen(Listen::tcp("0.0.0.0:8443".parse()?).secure()); // and this one
//! # Ok(())
//! # }
//! ```
//!
//! `certificates` makes and renews what handshakes are made with, `by_name` chooses among them, and
//! `warnings` says by what `x509` reads whom clients will refuse; `handshake` takes a connection
//! from its first byte to the end of the handshake; from then on `stream` stands between the socket
//! and HTTP. `session`, with `records`, is the protocol between bytes and bytes, without I/O.
//!
//! A handshake costs its executor a signature: about 0.1 ms with an ECDSA P-256 key, more than 1 ms
//! with RSA of 2,048 bits. Sessions are resumed by tickets, with any executor, over reloads too.
//!
//! HTTP/1.1 is spoken over it, and with the feature `http2` HTTP/2 with clients that ask for it by
//! ALPN (RFC 7301).
//!
//! Replaces Swoole's `SWOOLE_SSL`, `ssl_cert_file` and `ssl_key_file`.

mod by_name;
mod certificates;
mod error;
mod handshake;
mod records;
mod session;
mod stream;
mod warnings;
mod x509;

pub use crate::http::tls::certificates::Certificates;
pub use crate::http::tls::error::CertificateError;

pub(crate) use crate::http::tls::certificates::Acceptor;
pub(crate) use crate::http::tls::handshake::handshake;
pub(crate) use crate::http::tls::stream::TlsStream;
