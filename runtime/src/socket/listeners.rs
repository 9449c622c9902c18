//! Listening sockets: an accept each, and the queue of what it accepted.
//!
//! A socket that is this executor's alone has a multishot accept. One that several executors listen
//! on is accepted from one by one: an accept waits in the kernel exclusively, and the first that
//! waits is woken. A multishot one would stay the first for good and take nearly all; one that is
//! armed anew waits behind those of the others, so that connections go round, and past an executor
//! that is too busy to arm its own.
//!
//! An accept that fails ends the multishot. Where the system has no room (no descriptors left, for
//! instance) the error goes to whoever accepts, and the next call arms it again: so the owner
//! decides how long to pause. Where only that one connection failed, accepting goes on.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::task::Waker;

use rustix::net::SocketFlags;
use slab::Slab;

use super::liveness;
use crate::ring::{Completion, GENERATION_MASK, Kind, Ring, Token};

/// Accepted sockets that may wait for their owner before accepting stops.
const ACCEPTED_MAX: usize = 256;

/// Names a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListenerKey {
    index: u32,
    generation: u32,
}

struct Listener {
    socket: OwnedFd,
    /// Other executors accept from it as well.
    shared: bool,
    generation: u32,
    accept: Accept,
    error: Option<i32>,
    accepted: VecDeque<OwnedFd>,
    waker: Option<Waker>,
}

/// How far a listener's accept has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accept {
    /// None is armed: the descriptor may be used directly.
    Idle,
    Armed,
    /// Its cancellation is on its way; connections may still come.
    Stopping,
    /// The same, and the listener goes when it is over.
    Closing,
}

/// The listeners of an executor.
pub(crate) struct Listeners {
    slots: Slab<Listener>,
    next_generation: u32,
}

impl Listeners {
    pub(crate) fn new() -> Self {
        Listeners { slots: Slab::new(), next_generation: 0 }
    }

    /// Takes over a socket that listens already, for other executors too if it is `shared`.
    pub(crate) fn insert(&mut self, socket: OwnedFd, shared: bool) -> ListenerKey {
        liveness::inherited_from(&socket);
        let generation = self.next_generation;
        self.next_generation = (generation + 1) & GENERATION_MASK;
        let index = self.slots.insert(Listener {
            socket,
            shared,
            generation,
            accept: Accept::Idle,
            error: None,
            accepted: VecDeque::new(),
            waker: None,
        });
        ListenerKey { index: index as u32, generation }
    }

    /// The next connection; with none there, arms the accept and keeps `waker`.
    pub(crate) fn next(
        &mut self,
        ring: &mut Ring,
        key: ListenerKey,
        waker: &Waker,
    ) -> Option<io::Result<OwnedFd>> {
        let listener = self.get(key)?;
        if let Some(socket) = listener.accepted.pop_front() {
            return Some(Ok(socket));
        }
        if let Some(errno) = listener.error.take() {
            return Some(Err(io::Error::from_raw_os_error(errno)));
        }
        if listener.accept == Accept::Idle {
            listener.accept = Accept::Armed;
            match listener.shared {
                true => ring.accept_one(listener.socket.as_raw_fd(), key.token()),
                false => ring.accept(listener.socket.as_raw_fd(), key.token()),
            }
        }
        listener.waker = Some(waker.clone());
        None
    }

    /// Stops accepting; what was accepted still waits in the queue.
    pub(crate) fn pause(&mut self, ring: &mut Ring, key: ListenerKey) {
        if let Some(listener) = self.get(key) {
            listener.cancel(ring, key);
        }
    }

    /// Whether no accept is armed, so that the descriptor may be used directly.
    pub(crate) fn is_paused(&mut self, key: ListenerKey, waker: &Waker) -> bool {
        self.get(key).is_none_or(|listener| {
            let is_idle = listener.accept == Accept::Idle;
            if !is_idle {
                listener.waker = Some(waker.clone());
            }
            is_idle
        })
    }

    /// Takes what was accepted and what the kernel's backlog still holds. Call it when paused.
    pub(crate) fn take_all(&mut self, key: ListenerKey) -> Vec<OwnedFd> {
        let Some(listener) = self.get(key) else { return Vec::new() };
        let mut sockets: Vec<_> = listener.accepted.drain(..).collect();
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        while let Ok(socket) = rustix::net::accept_with(&listener.socket, flags) {
            sockets.push(socket);
        }
        sockets
    }

    /// Closes the listener, once its accept is cancelled.
    pub(crate) fn close(&mut self, ring: &mut Ring, key: ListenerKey) {
        let Some(listener) = self.get(key) else { return };
        listener.accepted.clear();
        listener.cancel(ring, key);
        match listener.accept {
            Accept::Idle => drop(self.slots.remove(key.index as usize)),
            _ => listener.accept = Accept::Closing,
        }
    }

    /// Closes all listeners.
    pub(crate) fn close_all(&mut self, ring: &mut Ring) {
        let keys: Vec<_> = self
            .slots
            .iter()
            .map(|(index, l)| ListenerKey { index: index as u32, generation: l.generation })
            .collect();
        for key in keys {
            self.close(ring, key);
        }
    }

    /// Takes in one completion and returns the task to wake.
    pub(crate) fn complete(&mut self, ring: &mut Ring, completion: Completion) -> Option<&Waker> {
        let Completion { token, result, more, .. } = completion;
        if token.kind == Kind::CancelAccept {
            self.cancelled(ring, token, result);
            return None;
        }
        // SAFETY: a successful accept hands a new descriptor to this process, which nobody else
        // knows of; it is owned from here on, also where its listener is gone.
        let socket = (result >= 0).then(|| unsafe { OwnedFd::from_raw_fd(result) });
        let key = ListenerKey { index: token.index, generation: token.generation };
        let listener = self.get(key)?;
        let is_closing = listener.accept == Accept::Closing;
        match socket {
            Some(socket) if !is_closing => listener.accepted.push_back(socket),
            Some(_) => {}
            None if result == -libc::ECANCELED || is_of_one_connection(-result) => {}
            None => listener.error = Some(-result),
        }
        if !more {
            if is_closing {
                self.slots.remove(key.index as usize);
                return None;
            }
            listener.accept = Accept::Idle;
        }
        if listener.accepted.len() >= ACCEPTED_MAX {
            listener.cancel(ring, key);
        }
        self.get(key)?.waker.as_ref()
    }

    /// A cancellation that missed its accept is repeated.
    fn cancelled(&mut self, ring: &mut Ring, token: Token, result: i32) {
        let key = ListenerKey { index: token.index, generation: token.generation };
        let Some(listener) = self.get(key).filter(|_| result < 0) else { return };
        match listener.accept {
            Accept::Idle => {}
            Accept::Armed => listener.cancel(ring, key),
            Accept::Stopping | Accept::Closing => ring.cancel(key.token(), Kind::CancelAccept),
        }
    }

    fn get(&mut self, key: ListenerKey) -> Option<&mut Listener> {
        self.slots.get_mut(key.index as usize).filter(|l| l.generation == key.generation)
    }
}

impl Listener {
    fn cancel(&mut self, ring: &mut Ring, key: ListenerKey) {
        if self.accept == Accept::Armed {
            self.accept = Accept::Stopping;
            ring.cancel(key.token(), Kind::CancelAccept);
        }
    }
}

/// Errors of the connection that was to be accepted, not of the listener: the peer went before, or
/// the network failed it, or a firewall forbids it (accept(2), "Error handling").
fn is_of_one_connection(errno: i32) -> bool {
    const OF_ONE_CONNECTION: [i32; 14] = [
        libc::EAGAIN,
        libc::ECONNABORTED,
        libc::ECONNRESET,
        libc::EHOSTDOWN,
        libc::EHOSTUNREACH,
        libc::EINTR,
        libc::ENETDOWN,
        libc::ENETUNREACH,
        libc::ENONET,
        libc::ENOPROTOOPT,
        libc::EOPNOTSUPP,
        libc::EPERM,
        libc::EPROTO,
        libc::ETIMEDOUT,
    ];
    OF_ONE_CONNECTION.contains(&errno)
}

impl ListenerKey {
    fn token(self) -> Token {
        Token::new(Kind::Accept, self.index, self.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first kind must not be told the owner, who would pause for it; the second must, or the
    /// accept would fail again and again without a pause.
    #[test]
    fn a_failed_connection_is_told_from_a_system_without_room() {
        for errno in [libc::ECONNABORTED, libc::EPROTO, libc::EPERM, libc::ENETUNREACH] {
            assert!(is_of_one_connection(errno), "{errno}");
        }
        for errno in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::EINVAL] {
            assert!(!is_of_one_connection(errno), "{errno}");
        }
    }
}
