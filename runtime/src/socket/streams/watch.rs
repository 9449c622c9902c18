//! What is known of a connection's peer, beside the connection's owner.
//!
//! An armed receive brings the peer's end and a failure by itself, and wakes the owner's task. None
//! is armed once the end was read, or while the owner takes nothing of what has arrived: then the
//! socket itself is asked, which a reset shows on whatever waits before it.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::socket_error;

use super::{Stream, StreamKey, Streams, get};

/// What is known of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A receive is armed: what becomes of the peer wakes the task.
    There,
    /// None is armed.
    Unknown,
    /// It sends no more; whether it still reads shows when something is sent.
    Ended,
    /// The connection is lost.
    Lost,
}

impl Streams {
    /// What is known without a system call.
    pub(crate) fn peer(&mut self, key: StreamKey) -> Peer {
        let Some(stream) = get(&mut self.slots, key) else { return Peer::Lost };
        match (stream.receive.has_ended(), stream.receive.is_over()) {
            _ if stream.error.is_some() => Peer::Lost,
            (true, _) => Peer::Ended,
            (false, true) => Peer::Unknown,
            (false, false) => Peer::There,
        }
    }

    /// Asks the socket whether the connection has failed, which [`peer`](Self::peer) then tells, and
    /// the owner's next receive when it has taken what arrived before.
    pub(crate) fn ask(&mut self, key: StreamKey) {
        if let Some(stream) = get(&mut self.slots, key) {
            stream.error = stream.error.or_else(|| stream.failure());
        }
    }
}

impl Stream {
    fn failure(&self) -> Option<i32> {
        let socket = self.socket.as_ref()?;
        let mut asked = [PollFd::new(socket, PollFlags::empty())];
        poll(&mut asked, Some(&Timespec::default())).ok()?;
        let seen = asked[0].revents();
        // A Unix socket's peer that has closed, which may have left bytes to be received.
        let is_gone = seen.contains(PollFlags::HUP) && self.receive.has_ended();
        if !is_gone && !seen.contains(PollFlags::ERR) {
            return None;
        }
        match socket_error(socket) {
            Ok(Err(error)) => Some(error.raw_os_error()),
            _ => Some(libc::ECONNRESET),
        }
    }
}
