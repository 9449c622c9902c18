//! HTTP over connections: what precedes it, its transports, its versions, and what it may turn into.
//!
//! A connection begins in `preface` (a proxy's header, a handshake of `tls`), which gives a
//! `transport`; over that `http1` is spoken, or `http2`; and a request may turn it into another
//! protocol (`hyper_upgrade` has those of hyper go on).

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
