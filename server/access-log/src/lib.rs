//! The access log: a line for each request that was answered.
//!
//! ```
//! use http::{Request, Response};
//! use sidecore_access_log::{AccessLog, Format};
//! use tower::{Layer, service_fn};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let path = std::env::temp_dir().join(format!("access-log-doc-{}", std::process::id()));
//! let log = AccessLog::to_file(&path, Format::combined())?;
//! let service = log.layer(service_fn(async |_: Request<()>| {
//!     Ok::<_, std::convert::Infallible>(Response::new("OK".to_owned()))
//! }));
//! # drop(service);
//! // With the last clone of `log` all that was logged is in the file.
//! drop(log);
//! # std::fs::remove_file(path)?;
//! # Ok(())
//! # }
//! ```
//!
//! It has the formats of mezzio-swoole's access logger, which writes within the request; here the
//! serving threads push finished lines into rings, and a thread writes them. A disk that is slow,
//! full or stuck costs lines, which are counted, and never a request.
//!
//! A line is written when its answer has been handed to the connection whole, or was given up.
//!
//! # With sidecore, and without
//!
//! With the feature `sidecore`, which is on by default, `AccessLog::app` goes around a whole
//! application of a sidecore server. What the connection itself refuses (a request that is malformed,
//! too large or too slow, a connection there is no room for) reaches no application, and is logged
//! there too: with the request line as far as it had arrived, with the answer's status and size, a
//! dash for each field of the request, and 0 for its time. Around a service, as a layer, the log does
//! not hear of them. Of HTTP/2 what is malformed, or has too large a head, is answered beneath
//! sidecore's own code, and no log hears of it.
//!
//! Without the feature the log is a layer for any server: a peer's address is the
//! [`SocketAddr`](std::net::SocketAddr) among a request's extensions, if something puts it there, and
//! a request is secured by TLS where its URI says so.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "sidecore")]
mod app;
mod escape;
mod format;
mod layer;
mod line;
mod log;
mod queue;
mod request;
mod server;
mod time;
mod writer;

#[cfg(feature = "sidecore")]
pub use crate::app::LoggedApp;
pub use crate::format::{Format, FormatError};
pub use crate::layer::{Logged, LoggedBody, LoggedService};
pub use crate::log::{AccessLog, AccessLogError};
