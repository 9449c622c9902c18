//! The executor's own io_uring: operations in, completions out.
//!
//! All that is unsafe about it stands in this room: what comes before and behind a system call
//! (`enter`), the buffers that the kernel fills (`buffers`), how it is asked for bytes (`receive`) and
//! what a wait is for (`coalesce`). The rooms above name operations by a [`Token`] and read [`Completion`]s. Set-up flags and why (io_uring_setup(2)):
//!
//! - `DEFER_TASKRUN` with `SINGLE_ISSUER` (6.1): completions are made only when this thread
//!   enters the kernel to wait, in one batch; the largest single gain there is here.
//! - `COOP_TASKRUN | TASKRUN_FLAG` (5.19): no interrupt to run completions, a flag instead.
//! - `SUBMIT_ALL` (5.18): one bad entry does not stop the batch behind it.
//! - `CLAMP`, a completion queue of four times the submissions: multishot operations complete
//!   often; what overflows nevertheless is kept by the kernel (`FEAT_NODROP`) and read later.

mod buffers;
mod coalesce;
mod enter;
mod receive;
mod token;

use std::collections::VecDeque;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::RawFd;
use std::time::Duration;

use io_uring::squeue::Entry;
use io_uring::types::{Fd, Timespec};
use io_uring::{IoUring, cqueue, opcode};

use self::buffers::{BUFFER_GROUP, Buffer, BufferRing};
use self::coalesce::{Coalesce, TICK};
use self::enter::Entered;
use self::receive::Receives;

pub use self::receive::READ_AHEAD_MAX_BYTES;
pub(crate) use self::token::{GENERATION_MASK, Kind, Token};

/// The poll of the doorbell: there is one a ring.
const DOORBELL: Token = Token { kind: Kind::Doorbell, index: 0, generation: 0, number: 0 };
/// There is one of it, too.
const TICKING: Token = Token { kind: Kind::Tick, ..DOORBELL };
/// A static, for the kernel reads it when the operation is submitted.
static TICK_TIME: Timespec = Timespec::new().nsec(TICK.subsec_nanos());

/// One completion, decoded.
#[derive(Debug)]
pub(crate) struct Completion {
    pub(crate) token: Token,
    /// The result, or minus the errno.
    pub(crate) result: i32,
    /// The provided buffer that holds the bytes, to be given back.
    pub(crate) buffer: Option<Buffer>,
    /// The operation stays armed (`IORING_CQE_F_MORE`).
    pub(crate) more: bool,
}

/// Sizes of a ring; each is a power of two.
#[derive(Clone, Copy, Debug)]
pub struct RingConfig {
    /// Submission queue entries; the completion queue has four times as many.
    pub entries: u32,
    /// Receive buffers shared by all connections of the executor.
    pub recv_buffers: u16,
    /// Size of each receive buffer, in bytes.
    pub recv_buffer_bytes: u32,
    /// How long a busy executor may wait for further requests to serve together with one that is
    /// there; zero for not at all. Without effect before Linux 6.12.
    pub coalesce: Duration,
}

impl Default for RingConfig {
    fn default() -> Self {
        RingConfig {
            entries: 1024,
            recv_buffers: 1024,
            recv_buffer_bytes: 4096,
            coalesce: Duration::from_micros(10),
        }
    }
}

/// The ring, its receive buffers and the operations in flight.
pub(crate) struct Ring {
    uring: Entered,
    buffers: ManuallyDrop<BufferRing>,
    receives: Receives,
    /// Entries that found the submission queue full. Bounded by the operations a slot may have
    /// in flight at once (receive, send, their cancellations, close) times the slots.
    backlog: VecDeque<Entry>,
    /// Operations submitted or queued whose last completion has not been read.
    in_flight: usize,
    /// Of these, receives that were given up: their cancellation has succeeded, or found nothing.
    /// Their last completion may come late, or never.
    given_up: usize,
    /// One of them was not found by its cancellation, and may be running.
    may_run: bool,
    enters: u64,
    coalesce: Coalesce,
    /// [`Kind::SendNow`] whose completion was not read: it is there, or will be once they are
    /// submitted.
    sends_now: u32,
    /// A task waits for one of them: its completion ends a wait like any other.
    sends_awaited: bool,
    /// The last completion of a receive is thrown away, as the kernel was seen to do.
    #[cfg(test)]
    pub(super) loses_receives: bool,
}

impl Ring {
    /// Creates the ring on the calling thread, which alone may submit to it.
    pub(crate) fn new(config: RingConfig) -> io::Result<Self> {
        let uring: IoUring = IoUring::builder()
            .setup_submit_all()
            .setup_clamp()
            .setup_cqsize(config.entries.saturating_mul(4))
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            .setup_taskrun_flag()
            .dontfork()
            .build(config.entries)?;
        let buffers = BufferRing::register(
            &uring.submitter(),
            config.recv_buffers,
            config.recv_buffer_bytes,
        )?;
        let can_gather = uring.params().is_feature_min_timeout();
        let coalesce = Coalesce::new(if can_gather { config.coalesce } else { Duration::ZERO });
        Ok(Ring {
            coalesce,
            sends_now: 0,
            sends_awaited: false,
            uring: Entered::new(uring),
            buffers: ManuallyDrop::new(buffers),
            receives: Receives::of_this_kernel(),
            backlog: VecDeque::new(),
            in_flight: 0,
            given_up: 0,
            may_run: false,
            enters: 0,
            #[cfg(test)]
            loses_receives: false,
        })
    }

    /// Arms a multishot accept: one completion a connection until one comes without `more`.
    pub(crate) fn accept(&mut self, listener: RawFd, token: Token) {
        let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        self.push(opcode::AcceptMulti::new(Fd(listener)).flags(flags).build(), token);
    }

    /// Arms one accept: one completion.
    pub(crate) fn accept_one(&mut self, listener: RawFd, token: Token) {
        let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        let (no_address, no_length) = (std::ptr::null_mut(), std::ptr::null_mut());
        self.push(
            opcode::Accept::new(Fd(listener), no_address, no_length).flags(flags).build(),
            token,
        );
    }

    /// Arms a receive into the provided buffers (`receive.rs`).
    pub(crate) fn recv(&mut self, socket: RawFd, token: Token) {
        self.push(self.receives.entry(socket), token);
    }

    /// Sends `bytes`. As [`Kind::Send`] all of them: the kernel waits for room and retries a short
    /// send itself (`MSG_WAITALL`). As [`Kind::SendNow`] as many as there is room for
    /// (`MSG_DONTWAIT`), so that it completes while it is submitted and a wait need not be for it
    /// (`coalesce.rs`).
    ///
    /// # Safety
    /// `bytes` must stay where they are, unchanged, until the completion of `token` is read.
    pub(crate) unsafe fn send(&mut self, socket: RawFd, bytes: &[u8], token: Token) {
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let now = token.kind == Kind::SendNow;
        self.sends_now += u32::from(now);
        let how = if now { libc::MSG_DONTWAIT } else { libc::MSG_WAITALL };
        let entry = opcode::Send::new(Fd(socket), bytes.as_ptr(), len)
            .flags(how | libc::MSG_NOSIGNAL)
            .build();
        self.push(entry, token);
    }

    /// Closes the descriptor, which no other operation may use any more.
    pub(crate) fn close(&mut self, socket: RawFd, token: Token) {
        self.push(opcode::Close::new(Fd(socket)).build(), token);
    }

    /// Cancels the operation of `target`, which then completes with `ECANCELED`.
    ///
    /// The kernel may miss an operation that is between two of its states (`ENOENT`,
    /// `EALREADY`): the completion of `by` tells, and the owner decides whether to repeat it.
    pub(crate) fn cancel(&mut self, target: Token, by: Kind) {
        let token = Token { kind: by, ..target };
        self.push(opcode::AsyncCancel::new(target.encode()).build(), token);
    }

    /// Arms the poll of the doorbell's eventfd that wakes this ring from elsewhere: one completion a
    /// ring until one comes without `more`. The count is never read: each write wakes a poll,
    /// whatever the count, and a read would be one more thing to do between the doorbell and the wake
    /// (3 % of a sleeping executor's wake).
    pub(crate) fn listen_to_doorbell(&mut self, eventfd: RawFd) {
        let entry = opcode::PollAdd::new(Fd(eventfd), libc::POLLIN as u32).multi(true).build();
        self.push(entry, DOORBELL);
    }

    /// Ends that.
    pub(crate) fn ignore_doorbell(&mut self) {
        self.cancel(DOORBELL, Kind::CancelDoorbell);
    }

    /// Submits what is queued; waits for a completion if `wait` says how long at most.
    ///
    /// `Some(None)` waits without limit. A wait that ends by its limit or a signal is no error.
    pub(crate) fn enter(&mut self, wait: Option<Option<Duration>>) -> io::Result<()> {
        if wait.is_some() && self.coalesce.begins_tick(self.unseen_sends()) {
            self.push(opcode::Timeout::new(&raw const TICK_TIME).build(), TICKING);
        }
        self.refill();
        self.buffers.publish();
        let result = match wait {
            // What found no room in the queue must follow, not wait.
            Some(limit) if self.backlog.is_empty() => self.submit_and_wait(limit),
            _ => self.submit(),
        };
        match result {
            Ok(()) => Ok(()),
            // ETIME: the limit; EINTR: a signal; EBUSY, EAGAIN: completions first.
            Err(error) => match error.raw_os_error() {
                Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
                _ => Err(error),
            },
        }
    }

    fn submit(&mut self) -> io::Result<()> {
        // Without work for the kernel there is no need to enter it at all.
        let mut queue = self.uring.submission();
        queue.sync();
        if queue.is_empty() && !queue.taskrun() && !queue.cq_overflow() {
            return Ok(());
        }
        drop(queue);
        self.enters += 1;
        self.uring.submitter().submit().map(|_submitted| ())
    }

    fn submit_and_wait(&mut self, limit: Option<Duration>) -> io::Result<()> {
        self.enters += 1;
        let sends = self.unseen_sends();
        self.uring.submit_and_wait(self.coalesce.next_wait(sends, limit))
    }

    /// Sends whose completion is no reason to end a wait.
    fn unseen_sends(&self) -> u32 {
        if self.sends_awaited { 0 } else { self.sends_now }
    }

    /// Whether completions are there, or would be after an enter that does not wait.
    pub(crate) fn has_completions(&mut self) -> bool {
        !self.uring.completion().is_empty() || self.uring.submission().taskrun()
    }

    /// Moves every completion that is there to `into`.
    pub(crate) fn completions(&mut self, into: &mut Vec<Completion>) {
        let mut receives = 0;
        let buffers = &self.buffers;
        for entry in self.uring.completion() {
            let flags = entry.flags();
            let more = cqueue::more(flags);
            let token = Token::decode(entry.user_data());
            let is_receive = token.is_some_and(|token| token.kind == Kind::Recv);
            #[cfg(test)]
            if self.loses_receives && is_receive && !more {
                continue;
            }
            // Of a receive's end `receive_ended` is told.
            if !more && !is_receive {
                self.in_flight -= 1;
            }
            let Some(token) = token else { continue };
            if token.kind == Kind::Tick {
                self.coalesce.end_tick();
                continue;
            }
            let buffer = cqueue::buffer_select(flags).map(|id| buffers.taken(id));
            receives += u32::from(is_receive);
            self.sends_now -= u32::from(token.kind == Kind::SendNow);
            into.push(Completion { token, result: entry.result(), buffer, more });
        }
        self.coalesce.found(receives);
        // While one is out, a wait must not pass over its end: what is awaited may be this one.
        self.sends_awaited &= self.sends_now > 0;
    }

    /// A task waits for the end of a send, and is not to wait for anything else.
    pub(crate) fn await_sends(&mut self) {
        self.sends_awaited = true;
    }

    /// The bytes of a receive's completion.
    pub(crate) fn received(&self, buffer: &Buffer, len: usize) -> &[u8] {
        self.buffers.bytes(buffer, len)
    }

    /// Gives a buffer back to the kernel, from the next enter on.
    pub(crate) fn give_back(&mut self, buffer: Buffer) {
        self.buffers.give_back(buffer);
    }

    /// Whether the executor is near the end of its CPU: waits then gather several requests.
    pub(crate) fn set_busy(&mut self, busy: bool) {
        self.coalesce.set_busy(busy);
    }

    /// A receive was cancelled with success: it is over, and its last completion may never come.
    pub(crate) fn give_up_receive(&mut self) {
        self.given_up += 1;
    }

    /// A receive that no cancellation has found is taken for over.
    pub(crate) fn give_up_running_receive(&mut self) {
        self.given_up += 1;
        self.may_run = true;
    }

    /// The last completion of a receive was read; `late`: of one that was given up.
    pub(crate) fn receive_ended(&mut self, late: bool) {
        self.in_flight -= 1;
        self.given_up -= usize::from(late);
        self.may_run &= self.given_up > 0;
    }

    /// Operations that the kernel may still serve, or whose last completion will come.
    pub(crate) fn in_flight(&self) -> usize {
        match self.may_run {
            true => self.in_flight,
            false => self.in_flight - self.given_up,
        }
    }

    /// Times the kernel was entered.
    pub(crate) fn enters(&self) -> u64 {
        self.enters
    }

    fn push(&mut self, entry: Entry, token: Token) {
        let entry = entry.user_data(token.encode());
        self.in_flight += 1;
        if self.backlog.is_empty() && self.try_push(&entry) {
            return;
        }
        let _ = self.uring.submitter().submit();
        self.backlog.push_back(entry);
        self.refill();
    }

    fn refill(&mut self) {
        while let Some(entry) = self.backlog.pop_front() {
            if !self.try_push(&entry) {
                self.backlog.push_front(entry);
                return;
            }
        }
    }

    fn try_push(&mut self, entry: &Entry) -> bool {
        // SAFETY: the entry's pointers are valid until its completion: `send`'s caller promises
        // it, the tick's time is a static, and the provided buffers are leaked where an operation
        // may be left (`Drop`).
        unsafe { self.uring.submission().push(entry).is_ok() }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // Closing a ring is no end of its operations, which the kernel cancels in its own time. This
        // call is one of its buffers: a receive that runs after it finds none.
        let unregistered = self.uring.submitter().unregister_buf_ring(BUFFER_GROUP);
        // Where an operation may be served still, its memory is leaked rather than freed under it.
        if self.in_flight() == 0 && unregistered.is_ok() {
            // SAFETY: dropped once, here. Nobody writes to the buffers any more, which only receives
            // do: all of them have completed, but for those that were given up, and each of these
            // was cancelled with 0. By that the kernel has either taken it from the queue of its
            // threads before one began it, or marked its poll: whatever wakes that poll then ends
            // the receive in place of running it, and would find no buffer. And nobody reads the
            // entries: they are read for such receives only, of a group that is registered.
            unsafe { ManuallyDrop::drop(&mut self.buffers) };
        }
    }
}
