//! The protocol's bytes: from what has arrived, to what is to be sent. Never blocks.

use std::io::{self, Read, Write};

use crate::http::http1::connection::Io;

/// The bytes of a connection, for one call of the protocol.
pub(super) struct WebSocketWire<'a>(pub(super) &'a mut Io);

impl Read for WebSocketWire<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let rest = self.0.rest();
        if rest.is_empty() {
            return if self.0.ended { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        self.0.consumed += count;
        Ok(count)
    }
}

/// It takes all: who writes waits for room first.
impl Write for WebSocketWire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.stream.write(|out| out.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.stream.flush();
        Ok(())
    }
}
