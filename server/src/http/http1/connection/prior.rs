//! A client that speaks HTTP/2 from the first byte on, where HTTP/1.1 was awaited.

use http::HeaderMap;

use super::*;
use crate::http::http1::http2_preface;

impl<A: App> Connection<A> {
    /// How a connection begins whose first bytes are no request.
    pub(crate) fn begins(&self) -> Begins {
        let is_first = self.io.received == self.io.rest().len() as u64;
        if is_first { http2_preface::begins(self.io.rest()) } else { Begins::Otherwise }
    }

    /// A client that speaks HTTP/2 is served so where a listener is plain: over TLS it is to say it
    /// in the handshake (RFC 9113 §3.2), and there it has had its answer.
    pub(super) fn http2(&mut self, reject: Reject) -> Step {
        #[cfg(feature = "http2")]
        if !self.io.stream.is_secured() && self.place.serving().http2.is_on() {
            self.state = ConnectionState::Http2;
            return Step::Close;
        }
        self.io.stream.write(|out| out.extend_from_slice(http2_preface::GO_AWAY));
        self.state = ConnectionState::Flush;
        self.tell_refused(reject.status(), 0, &HeaderMap::new());
        Step::Again
    }

    /// When its future has ended: whether its client speaks HTTP/2.
    #[cfg(feature = "http2")]
    pub(crate) fn speaks_http2(&self) -> bool {
        matches!(self.state, ConnectionState::Http2)
    }

    #[cfg(feature = "http2")]
    pub(crate) fn into_parts(self) -> (Io, Place<A>) {
        (self.io, self.place)
    }
}
