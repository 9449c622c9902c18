//! How a connection's bytes are asked for: as many at once as may wait untaken, and no more.
//!
//! A multishot receive cannot be relied on to stop when it is cancelled. Armed while its socket has
//! bytes, it takes 32 buffers and then waits for its next turn in a list of deferred work, where a
//! cancellation does not find it (`ENOENT`); with a fast sender it is there at every turn, and its
//! connection would take in all that the sender has. So it is told to end by itself after
//! [`READ_AHEAD_MAX_BYTES`], and armed again once those are taken. A kernel that cannot be told so
//! is asked for one buffer at a time.

use std::os::fd::RawFd;
use std::ptr;

use io_uring::opcode;
use io_uring::squeue::{Entry, Flags};
use io_uring::types::Fd;

use super::buffers::BUFFER_GROUP;
use crate::machine::probe::{RECEIVES_ARE_LIMITED, Release};

/// Received bytes a connection may leave untaken before its receive is stopped. A receive that is
/// armed below it brings as many at most, and a part of a buffer (`receive.rs`).
pub const READ_AHEAD_MAX_BYTES: usize = 64 * 1024;

/// The kind of receive that the running kernel can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receives {
    /// Multishot, ended by a limit: the least work.
    Limited,
    /// One buffer each.
    Single,
}

/// Where `io_uring_sqe` has `optlen` (include/uapi/linux/io_uring.h), which the crate does not
/// set for a receive: the limit of a multishot one.
const OPTLEN_AT: usize = 44;

const _: () = assert!(size_of::<Entry>() == 64 && align_of::<Entry>() >= align_of::<u32>());

impl Receives {
    pub(super) fn of_this_kernel() -> Self {
        match Release::running() {
            Some(release) if release >= RECEIVES_ARE_LIMITED => Receives::Limited,
            _ => Receives::Single,
        }
    }

    /// A receive into the provided buffers.
    pub(super) fn entry(self, socket: RawFd) -> Entry {
        match self {
            Receives::Single => opcode::Recv::new(Fd(socket), ptr::null_mut(), 0)
                .buf_group(BUFFER_GROUP)
                .build()
                .flags(Flags::BUFFER_SELECT),
            Receives::Limited => {
                let mut entry = opcode::RecvMulti::new(Fd(socket), BUFFER_GROUP).build();
                let limit = READ_AHEAD_MAX_BYTES as u32;
                // SAFETY: `Entry` is `repr(C)` and holds nothing but the kernel's `io_uring_sqe`,
                // 64 bytes as asserted, of which these four are the plain integer `optlen`.
                unsafe { (&raw mut entry).byte_add(OPTLEN_AT).cast::<u32>().write(limit) };
                entry
            }
        }
    }
}
