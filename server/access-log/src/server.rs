//! What only the server knows of a request, by sidecore's own means or, without the feature `sidecore`,
//! by what any server can say.

use std::fmt;
use std::net::SocketAddr;

use http::{Extensions, StatusCode};

/// Who sent a request.
#[cfg(feature = "sidecore")]
pub(crate) fn peer_address(extensions: &Extensions) -> Option<SocketAddr> {
    extensions.get().map(|sidecore::app::PeerAddress(peer)| *peer)
}

#[cfg(not(feature = "sidecore"))]
pub(crate) fn peer_address(extensions: &Extensions) -> Option<SocketAddr> {
    extensions.get().copied()
}

/// Whether a request is known to have come over TLS.
#[cfg(feature = "sidecore")]
pub(crate) fn is_secured(extensions: &Extensions) -> bool {
    extensions.get::<sidecore::app::Secured>().is_some()
}

#[cfg(not(feature = "sidecore"))]
pub(crate) fn is_secured(_: &Extensions) -> bool {
    false
}

/// While a future is dropped that was not ready: what the server has answered in its place.
#[cfg(feature = "sidecore")]
pub(crate) fn answered_instead() -> Option<(StatusCode, u64)> {
    sidecore::app::answered_instead()
}

#[cfg(not(feature = "sidecore"))]
pub(crate) fn answered_instead() -> Option<(StatusCode, u64)> {
    None
}

/// A line for whoever runs the process.
#[cfg(feature = "sidecore")]
pub(crate) fn report(line: fmt::Arguments<'_>) {
    sidecore::lifecycle::stderr::line(line);
}

#[cfg(not(feature = "sidecore"))]
pub(crate) fn report(line: fmt::Arguments<'_>) {
    use std::io::Write;

    // Nobody may read it, and there is nowhere else to say so.
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[cfg(test)]
pub(crate) fn set_peer_address(extensions: &mut Extensions, peer: SocketAddr) {
    #[cfg(feature = "sidecore")]
    let peer = sidecore::app::PeerAddress(peer);
    extensions.insert(peer);
}
