//! A TLS session between bytes and bytes: what arrives is opened, what is written is sealed.

use std::io::{Read, Write};

use rustls::ServerConnection;

use crate::http::tls::records::Records;

/// The protocol's side of a connection.
pub(crate) struct TlsSession {
    tls: ServerConnection,
    records: Records,
    /// Written, and not sealed yet.
    plain: Vec<u8>,
    /// The peer has said that it sends no more (`close_notify`).
    ended: bool,
}

impl TlsSession {
    pub(crate) fn new(tls: ServerConnection) -> Self {
        TlsSession { tls, records: Records::default(), plain: Vec::new(), ended: false }
    }

    /// Opens what arrived, to the end of `into`. After an error there is an alert to be sent.
    pub(crate) fn open(
        &mut self,
        mut sealed: &[u8],
        into: &mut Vec<u8>,
    ) -> Result<usize, rustls::Error> {
        self.records.pass(sealed);
        let before = into.len();
        // Part by part, as many as the session takes in at once: what is opened goes on before more
        // comes in, so that its own buffers hold one record and no more.
        while !sealed.is_empty() && !self.ended {
            let taken = self.tls.read_tls(&mut sealed).unwrap_or(0);
            let state = self.tls.process_new_packets()?;
            let (at, count) = (into.len(), state.plaintext_bytes_to_read());
            into.resize(at + count, 0);
            if self.tls.reader().read_exact(&mut into[at..]).is_err() {
                into.truncate(at);
            }
            self.ended = state.peer_has_closed();
            if taken == 0 {
                break;
            }
        }
        Ok(into.len() - before)
    }

    /// Where to write what is to be sealed.
    pub(crate) fn plain(&mut self) -> &mut Vec<u8> {
        &mut self.plain
    }

    /// Bytes written that are not sealed.
    pub(crate) fn unsealed(&self) -> usize {
        self.plain.len()
    }

    /// Seals what was written, and adds what the protocol itself has to say.
    pub(crate) fn seal(&mut self, out: &mut Vec<u8>) {
        let mut rest = &self.plain[..];
        loop {
            let taken = self.tls.writer().write(rest).unwrap_or(0);
            rest = &rest[taken..];
            while self.tls.wants_write() {
                if self.tls.write_tls(out).is_err() {
                    break;
                }
            }
            if rest.is_empty() || taken == 0 {
                break;
            }
        }
        self.plain.clear();
    }

    /// Whether [`seal`](Self::seal) has anything to do.
    pub(crate) fn has_output(&self) -> bool {
        !self.plain.is_empty() || self.tls.wants_write()
    }

    /// Says that no more is sent (`close_notify`), after what was written.
    pub(crate) fn end(&mut self, out: &mut Vec<u8>) {
        self.seal(out);
        self.tls.send_close_notify();
        self.seal(out);
    }

    /// Whether HTTP/2 was agreed upon; decided when the handshake is over.
    #[cfg(feature = "http2")]
    pub(crate) fn is_http2(&self) -> bool {
        self.tls.alpn_protocol() == Some(crate::http::tls::certificates::HTTP2)
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    /// Whether the peer has said that it sends no more.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether a part of a record has arrived, whose rest has not.
    pub(crate) fn is_within_record(&self) -> bool {
        !self.records.are_whole()
    }
}
