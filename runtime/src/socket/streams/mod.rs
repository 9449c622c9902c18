//! The connections of one executor: a slab of sockets, their bytes and their operations.
//!
//! A slot lives from accept until its last operation completed and its descriptor is closed,
//! which is later than the [`TcpStream`](crate::net::TcpStream) that owns it. Its phases:
//!
//! ```text
//! Open ──drop──► Draining ──send and receive over──► Closing ──close done──► free
//! ```
//!
//! Received bytes are copied out of the provided buffer as soon as their completion is read, so
//! no connection ever holds a shared buffer. A connection that does not take its bytes is stopped
//! at `READ_AHEAD_MAX_BYTES`: its receive is cancelled, and TCP's window does the rest. What it
//! sends stands in `outbox.rs`.

mod watch;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::task::Waker;
use std::time::Duration;

use rustix::net::Shutdown;
use rustix::net::sockopt::set_socket_linger;

use slab::Slab;

use super::buffer_pool::BufferPool;
use super::liveness;
use super::outbox::Outbox;
use super::receiving::{Cancelled, Receiving};
use crate::ring::{Completion, GENERATION_MASK, Kind, READ_AHEAD_MAX_BYTES, Ring, Token};

pub use self::watch::Peer;

/// Names a slot and the life it was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamKey {
    index: u32,
    generation: u32,
}

/// What a connection finds when it asks for bytes.
#[derive(Debug)]
pub(crate) enum Inbound {
    Bytes(usize),
    End,
    Pending,
    Failed(io::Error),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    Draining,
    Closing,
}

struct Stream {
    /// None once its close has been submitted.
    socket: Option<OwnedFd>,
    generation: u32,
    phase: Phase,
    receive: Receiving,
    /// Every buffer was taken: arm again once some are back.
    starved: bool,
    /// The owner wants no more bytes than it has been given.
    held: bool,
    error: Option<i32>,
    input: Vec<u8>,
    outbox: Outbox,
    waker: Option<Waker>,
}

/// All connections of an executor.
pub(crate) struct Streams {
    slots: Slab<Stream>,
    next_generation: u32,
    /// Connections whose receive found every buffer taken, in the order in which it did.
    starved: VecDeque<StreamKey>,
    pool: BufferPool,
}

impl Streams {
    pub(crate) fn new() -> Self {
        Streams {
            slots: Slab::new(),
            next_generation: 0,
            starved: VecDeque::new(),
            pool: BufferPool::new(),
        }
    }

    /// Takes over a connected socket and arms its receive.
    pub(crate) fn insert(&mut self, ring: &mut Ring, socket: OwnedFd) -> StreamKey {
        let generation = self.next_generation;
        self.next_generation = (generation + 1) & GENERATION_MASK;
        let descriptor = socket.as_raw_fd();
        let index = self.slots.insert(Stream {
            socket: Some(socket),
            generation,
            phase: Phase::Open,
            receive: Receiving::begun(),
            starved: false,
            held: false,
            error: None,
            input: Vec::new(),
            outbox: Outbox::default(),
            waker: None,
        });
        let key = StreamKey { index: index as u32, generation };
        ring.recv(descriptor, key.receive_token(0));
        key
    }

    /// Slots in use, those still closing included.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Moves what arrived to the end of `into`; with nothing there, keeps `waker` for it.
    pub(crate) fn take_input(
        &mut self,
        ring: &mut Ring,
        key: StreamKey,
        into: &mut Vec<u8>,
        waker: &Waker,
    ) -> Inbound {
        let Some(stream) = get(&mut self.slots, key) else { return Inbound::End };
        if !stream.input.is_empty() {
            let count = stream.input.len();
            if into.is_empty() {
                std::mem::swap(into, &mut stream.input);
            } else {
                into.extend_from_slice(&stream.input);
            }
            self.pool.give_back(&mut stream.input);
            stream.resume(ring, key);
            return Inbound::Bytes(count);
        }
        match stream.error.take() {
            Some(errno) => return Inbound::Failed(io::Error::from_raw_os_error(errno)),
            None if stream.receive.has_ended() => return Inbound::End,
            None => {}
        }
        stream.resume(ring, key);
        keep(&mut stream.waker, waker);
        Inbound::Pending
    }

    /// Puts bytes that were taken back before those that wait.
    pub(crate) fn put_back(&mut self, key: StreamKey, bytes: &[u8]) {
        if let Some(stream) = get(&mut self.slots, key) {
            stream.input.splice(..0, bytes.iter().copied());
        }
    }

    /// Stops receiving until asked to go on; what is on its way still arrives.
    pub(crate) fn hold(&mut self, ring: &mut Ring, key: StreamKey) {
        if let Some(stream) = get(&mut self.slots, key) {
            stream.held = true;
            stream.stop_receive(ring, key);
        }
    }

    /// Goes on receiving after [`hold`](Self::hold).
    pub(crate) fn release(&mut self, ring: &mut Ring, key: StreamKey) {
        if let Some(stream) = get(&mut self.slots, key) {
            stream.held = false;
            stream.resume(ring, key);
        }
    }

    /// Whether nothing more can arrive before [`release`](Self::release).
    pub(crate) fn is_quiet(&mut self, key: StreamKey) -> bool {
        get(&mut self.slots, key)
            .is_none_or(|stream| stream.input.is_empty() && stream.receive.is_over())
    }

    /// Lets `write` append to the bytes that the next flush sends.
    pub(crate) fn write<R>(&mut self, key: StreamKey, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        match get(&mut self.slots, key) {
            Some(stream) => write(stream.outbox.buffer(&mut self.pool)),
            None => write(&mut Vec::new()),
        }
    }

    /// Bytes written and not yet accepted by the kernel.
    pub(crate) fn unsent(&mut self, key: StreamKey) -> usize {
        get(&mut self.slots, key).map_or(0, |stream| stream.outbox.unsent())
    }

    /// Bytes that the kernel has accepted so far: whether a slow peer takes any.
    pub(crate) fn taken(&mut self, key: StreamKey) -> u64 {
        get(&mut self.slots, key).map_or(0, |stream| stream.outbox.taken())
    }

    /// Of those, how many the peer has not acknowledged.
    pub(crate) fn unacknowledged(&mut self, key: StreamKey) -> u64 {
        self.socket(key).map_or(0, liveness::unacknowledged)
    }

    /// Whether the connection has failed; keeps `waker` for that otherwise, and takes nothing.
    pub(crate) fn poll_failed(&mut self, ring: &mut Ring, key: StreamKey, waker: &Waker) -> bool {
        let Some(stream) = get(&mut self.slots, key) else { return true };
        if stream.error.is_some() {
            return true;
        }
        if stream.input.is_empty() {
            stream.resume(ring, key);
        }
        keep(&mut stream.waker, waker);
        false
    }

    /// Starts sending what was written, unless a send is in flight, whose end will.
    pub(crate) fn flush(&mut self, ring: &mut Ring, key: StreamKey) {
        if let Some(stream) = get(&mut self.slots, key) {
            stream.send_next(ring, key);
        }
    }

    /// Whether all that was written has left; keeps `waker` for the end of a send otherwise.
    pub(crate) fn poll_sent(
        &mut self,
        ring: &mut Ring,
        key: StreamKey,
        waker: &Waker,
    ) -> io::Result<bool> {
        let Some(stream) = get(&mut self.slots, key) else { return Ok(true) };
        if let Some(errno) = stream.error {
            return Err(io::Error::from_raw_os_error(errno));
        }
        if stream.outbox.is_empty() {
            return Ok(true);
        }
        keep(&mut stream.waker, waker);
        ring.await_sends();
        Ok(false)
    }

    /// Half-closes: the peer reads the end of the stream. Call it when all that was written has
    /// left. A plain system call: the ring would hand it to a thread of the kernel's.
    pub(crate) fn shutdown_write(&mut self, key: StreamKey) {
        if let Some(socket) = self.socket(key) {
            // A peer that is gone already (ENOTCONN) needs no half-close.
            let _ = rustix::net::shutdown(socket, Shutdown::Write);
        }
    }

    /// Has the close reset the connection and free what the kernel has queued for the peer.
    pub(crate) fn reset_on_close(&mut self, key: StreamKey) {
        if let Some(socket) = self.socket(key) {
            let _ = set_socket_linger(socket, Some(Duration::ZERO));
        }
    }

    /// The socket, for calls that read its addresses.
    pub(crate) fn socket(&mut self, key: StreamKey) -> Option<BorrowedFd<'_>> {
        get(&mut self.slots, key)?.socket.as_ref().map(AsFd::as_fd)
    }

    /// Gives a buffer that the owner has emptied back to the pool.
    pub(crate) fn recycle(&mut self, buffer: &mut Vec<u8>) {
        self.pool.give_back(buffer);
    }

    /// Closes at once: what has not been sent is dropped, the operations in flight are cancelled,
    /// then the descriptor goes. Who wants the bytes delivered waits for `poll_sent` first.
    pub(crate) fn close(&mut self, ring: &mut Ring, key: StreamKey) {
        let Some(stream) = get(&mut self.slots, key) else { return };
        if stream.phase != Phase::Open {
            return;
        }
        stream.phase = Phase::Draining;
        stream.waker = None;
        stream.outbox.discard(&mut self.pool);
        if stream.outbox.is_sending() {
            ring.cancel(key.token(Kind::Send), Kind::CancelSend);
        }
        stream.stop_receive(ring, key);
        self.settle(ring, key);
    }

    /// Closes every connection, at the end of the executor.
    pub(crate) fn close_all(&mut self, ring: &mut Ring) {
        let keys: Vec<_> = self.slots.iter().map(|(index, s)| s.key(index)).collect();
        for key in keys {
            self.close(ring, key);
        }
    }

    /// Takes in one completion and returns the task to wake, if it is for one.
    pub(crate) fn complete(&mut self, ring: &mut Ring, completion: Completion) -> Option<&Waker> {
        let Completion { token, result, buffer, more } = completion;
        let key = StreamKey { index: token.index, generation: token.generation };
        if let (Some(buffer), Ok(len)) = (&buffer, usize::try_from(result))
            && let Some(stream) = get(&mut self.slots, key)
        {
            stream.receive_bytes(ring.received(buffer, len), &mut self.pool);
        }
        if let Some(buffer) = buffer {
            ring.give_back(buffer);
        }
        let Some(stream) = get(&mut self.slots, key) else {
            if token.kind == Kind::Recv && !more {
                // A slot that is gone had given up what was not over.
                ring.receive_ended(true);
            }
            return None;
        };
        match token.kind {
            Kind::Recv => {
                stream.received(ring, key, token.number, result, more);
                if stream.starved {
                    self.starved.push_back(key);
                }
            }
            Kind::Send | Kind::SendNow => {
                if let Err(error) = stream.outbox.sent(token.kind, result, &mut self.pool) {
                    stream.error = stream.error.or(error.raw_os_error());
                }
                stream.send_next(ring, key);
            }
            Kind::Close => {
                self.slots.remove(key.index as usize);
                return None;
            }
            Kind::CancelRecv => stream.receive_cancelled(ring, key, token.number, result),
            // A send reads memory of the slot: its own completion is waited for.
            Kind::CancelSend if result < 0 && stream.outbox.is_sending() => {
                ring.cancel(key.token(Kind::Send), Kind::CancelSend);
                return None;
            }
            _ => return None,
        }
        self.settle(ring, key);
        get(&mut self.slots, key)?.waker.as_ref()
    }

    /// Arms again the receives that found every buffer taken; called when buffers are back. First
    /// come, first served: else few that send much would starve the others for good.
    pub(crate) fn feed_starved(&mut self, ring: &mut Ring) {
        while let Some(key) = self.starved.pop_front() {
            if let Some(stream) = get(&mut self.slots, key) {
                stream.starved = false;
                stream.resume(ring, key);
            }
        }
    }

    /// Closes the descriptor of a draining slot once nothing uses it.
    fn settle(&mut self, ring: &mut Ring, key: StreamKey) {
        let Some(stream) = get(&mut self.slots, key) else { return };
        let is_over = stream.receive.is_over() && !stream.outbox.is_sending();
        if stream.phase == Phase::Draining && is_over {
            stream.phase = Phase::Closing;
            self.pool.give_back(&mut stream.input);
            stream.outbox.discard(&mut self.pool);
            if let Some(socket) = stream.socket.take() {
                ring.close(socket.into_raw_fd(), key.token(Kind::Close));
            }
        }
    }
}

impl Stream {
    fn key(&self, index: usize) -> StreamKey {
        StreamKey { index: index as u32, generation: self.generation }
    }

    fn receive_bytes(&mut self, bytes: &[u8], pool: &mut BufferPool) {
        if self.phase == Phase::Open {
            if self.input.capacity() == 0 {
                self.input = pool.take();
            }
            self.input.extend_from_slice(bytes);
        }
    }

    fn received(&mut self, ring: &mut Ring, key: StreamKey, number: u8, result: i32, more: bool) {
        let is_latest = self.receive.is_latest(number);
        if !more {
            ring.receive_ended(!self.receive.ended(number, result));
        }
        match -result {
            0 | libc::ECANCELED => {}
            libc::ENOBUFS => self.starved |= is_latest,
            // The kernel tells an error once, be it to a receive that was to end anyway.
            errno if errno > 0 => self.error = Some(errno),
            _ => {}
        }
        if self.input.len() >= READ_AHEAD_MAX_BYTES {
            self.stop_receive(ring, key);
        } else if result > 0 && !more && is_latest {
            self.resume(ring, key);
        }
    }

    fn send_next(&mut self, ring: &mut Ring, key: StreamKey) {
        let Some(socket) = self.socket.as_ref().map(AsRawFd::as_raw_fd) else { return };
        if self.phase == Phase::Open {
            self.outbox.send_next(ring, socket, |kind| key.token(kind));
        }
    }

    fn stop_receive(&mut self, ring: &mut Ring, key: StreamKey) {
        if let Some(number) = self.receive.stop() {
            ring.cancel(key.receive_token(number), Kind::CancelRecv);
        }
    }

    /// A cancellation is over, and with it, as a rule, the receive (`receiving.rs`).
    fn receive_cancelled(&mut self, ring: &mut Ring, key: StreamKey, number: u8, result: i32) {
        let wanted = self.phase == Phase::Open && !self.held;
        match self.receive.cancelled(number, result, wanted) {
            Cancelled::Nothing => {}
            Cancelled::Again => ring.cancel(key.receive_token(number), Kind::CancelRecv),
            Cancelled::GivenUp => ring.give_up_receive(),
            Cancelled::Missed => {
                ring.give_up_running_receive();
                if self.phase == Phase::Draining
                    && let Some(socket) = &self.socket
                {
                    // It would keep the socket open behind its closed descriptor, for a peer that
                    // sends without end.
                    let _ = rustix::net::shutdown(socket, Shutdown::Both);
                }
            }
        }
    }

    fn resume(&mut self, ring: &mut Ring, key: StreamKey) {
        let Some(socket) = self.socket.as_ref().map(AsRawFd::as_raw_fd) else { return };
        let wanted = self.phase == Phase::Open && !self.held && !self.starved;
        if wanted
            && self.input.len() < READ_AHEAD_MAX_BYTES
            && let Some(number) = self.receive.arm()
        {
            ring.recv(socket, key.receive_token(number));
        }
    }
}

impl StreamKey {
    fn token(self, kind: Kind) -> Token {
        Token::new(kind, self.index, self.generation)
    }

    fn receive_token(self, number: u8) -> Token {
        self.token(Kind::Recv).numbered(number)
    }
}

fn get(slots: &mut Slab<Stream>, key: StreamKey) -> Option<&mut Stream> {
    slots.get_mut(key.index as usize).filter(|stream| stream.generation == key.generation)
}

/// Keeps `waker` for later, without a clone where the same one is kept already.
fn keep(slot: &mut Option<Waker>, waker: &Waker) {
    match slot {
        Some(kept) => kept.clone_from(waker),
        None => *slot = Some(waker.clone()),
    }
}

#[cfg(test)]
mod tests;
