//! HTTP over connections: what precedes it, its transports, its versions, and what it may turn into.
//!
//! A connection may begin with a proxy's header and a handshake of TLS; over that HTTP/1.1 is spoken,
//! or HTTP/2; and a request may turn it into another protocol.

pub(crate) mod http1;
#[cfg(feature = "http2")]
pub(crate) mod http2;
#[cfg(feature = "hyper-upgrade")]
pub(crate) mod hyper_upgrade;
#[cfg(not(feature = "hyper-upgrade"))]
#[path = "hyper_upgrade/without.rs"]
pub(crate) mod hyper_upgrade;
pub(crate) mod preface;
#[cfg(feature = "tls")]
pub mod tls;
pub(crate) mod transport;
pub(crate) mod write_timer;

pub use self::http1::upgrade::{Upgrade, Upgraded};
