//! The bytes of one connection on their way out.
//!
//! ```text
//! write ──► out ──(nothing in flight)──► flying ──send, a piece at a time──► the kernel
//! ```
//!
//! At most one send is in flight; what is written meanwhile gathers in `out` and leaves with the
//! next. A long answer leaves in pieces, so that its owner sees whether the peer takes any of it:
//! a send of all of it would complete only when the last byte has gone.

use std::io;
use std::mem;
use std::os::fd::RawFd;

use super::buffer_pool::BufferPool;
use crate::ring::{Kind, Ring, Token};

/// A send of up to so many bytes is tried without waiting for room, which it nearly always finds.
const SEND_NOW_MAX_BYTES: usize = 16 * 1024;

/// Bytes of one send: how finely it shows what a slow peer takes, and small beside what a fast one
/// takes in the time that a further turn of the loop costs.
const PIECE_MAX_BYTES: usize = 64 * 1024;

/// The send side of a connection.
#[derive(Default)]
pub(super) struct Outbox {
    /// Written and not in flight.
    out: Vec<u8>,
    /// Being sent: neither touched nor freed while `sending`.
    flying: Vec<u8>,
    /// Bytes of `flying` that the kernel has taken.
    flown: usize,
    sending: bool,
    /// The socket had no room for all of `flying`: the rest is sent as room comes.
    full: bool,
    /// Bytes the kernel has taken in the connection's life.
    taken: u64,
}

impl Outbox {
    /// Where to write what the next send takes.
    pub(super) fn buffer(&mut self, pool: &mut BufferPool) -> &mut Vec<u8> {
        if self.out.capacity() == 0 {
            self.out = pool.take();
        }
        &mut self.out
    }

    /// Bytes written and not yet taken by the kernel.
    pub(super) fn unsent(&self) -> usize {
        self.out.len() + self.flying.len() - self.flown
    }

    /// Bytes taken by the kernel since the connection began.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Whether all that was written has left.
    pub(super) fn is_empty(&self) -> bool {
        self.out.is_empty() && !self.sending
    }

    /// Whether a send is in flight, whose memory must stay where it is.
    pub(super) fn is_sending(&self) -> bool {
        self.sending
    }

    /// Starts the next send, unless one is in flight or there is nothing to send. `token` is made
    /// of its kind.
    pub(super) fn send_next(
        &mut self,
        ring: &mut Ring,
        socket: RawFd,
        token: impl FnOnce(Kind) -> Token,
    ) {
        if self.sending {
            return;
        }
        if self.flying.is_empty() {
            if self.out.is_empty() {
                return;
            }
            mem::swap(&mut self.flying, &mut self.out);
        }
        // A large one may find no room for all of it: then the rest is to follow at once.
        let small = self.flying.len() <= SEND_NOW_MAX_BYTES;
        let kind = if small && !self.full { Kind::SendNow } else { Kind::Send };
        let end = self.flying.len().min(self.flown + PIECE_MAX_BYTES);
        self.sending = true;
        // SAFETY: `flying` is neither touched nor freed while `sending` is set, which nothing but
        // the completion of this token clears (`sent`): `discard` leaves it alone, and a drop before
        // that leaks it. Moving the slot moves the Vec's header, not its bytes.
        unsafe { ring.send(socket, &self.flying[self.flown..end], token(kind)) };
    }

    /// Takes in the end of a send. An error leaves nothing to send.
    pub(super) fn sent(
        &mut self,
        kind: Kind,
        result: i32,
        pool: &mut BufferPool,
    ) -> io::Result<()> {
        self.sending = false;
        let outcome = match usize::try_from(result) {
            Ok(count) if count > 0 => {
                self.flown += count;
                self.taken += count as u64;
                Ok(())
            }
            Err(_) if kind == Kind::SendNow && result == -libc::EAGAIN => Ok(()),
            Ok(_) => Err(io::Error::from_raw_os_error(libc::EPIPE)),
            Err(_) => Err(io::Error::from_raw_os_error(-result)),
        };
        if outcome.is_err() {
            self.out.clear();
            self.flown = self.flying.len();
        }
        self.full = self.flown < self.flying.len();
        if !self.full {
            self.flown = 0;
            self.flying.clear();
            pool.give_back(&mut self.flying);
        }
        outcome
    }

    /// Drops what is not in flight.
    pub(super) fn discard(&mut self, pool: &mut BufferPool) {
        pool.give_back(&mut self.out);
        if !self.sending {
            pool.give_back(&mut self.flying);
            self.flown = 0;
        }
    }
}

impl Drop for Outbox {
    /// An executor that ends waits for its sends, but not for ever, and not after an error of its
    /// ring: a send may be left by then, and the kernel read what it was given.
    fn drop(&mut self) {
        if self.sending {
            mem::forget(mem::take(&mut self.flying));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::ring::RingConfig;

    #[test]
    fn a_send_that_outlives_its_outbox_sends_what_was_written() {
        const BYTES: usize = 8 * 1024;
        let (here, mut there) = UnixStream::pair().expect("sockets");
        let mut ring = Ring::new(RingConfig::default()).expect("a ring");
        let mut outbox = Outbox::default();
        outbox.buffer(&mut BufferPool::new()).resize(BYTES, b'a');
        outbox.send_next(&mut ring, here.as_raw_fd(), |kind| Token::new(kind, 0, 0));
        // The kernel reads them when it is entered, and that is after the drop.
        drop(outbox);
        let others: Vec<_> = (0..64).map(|_| vec![b'b'; BYTES]).collect();
        ring.enter(None).expect("a ring that works");
        drop((others, here));
        let mut sent = Vec::new();
        there.read_to_end(&mut sent).expect("what was sent");
        assert!(sent == [b'a'; BYTES], "{} bytes", sent.len());
    }
}
