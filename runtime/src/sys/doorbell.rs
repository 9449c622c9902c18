//! The doorbell: how another thread wakes an executor that sleeps in its ring.
//!
//! The executor keeps a poll of the doorbell's eventfd in its ring; to ring is to write to it. That
//! costs a system call, so it is done only where the executor sleeps or is about to.

// The protocol stands in `armed.rs`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};

use crate::sys::armed::Armed;

/// The doorbell of one executor, shared with all that push to its inbound queues.
#[repr(align(128))]
pub struct Doorbell {
    armed: Armed,
    eventfd: OwnedFd,
}

impl Doorbell {
    /// Makes a doorbell; fails where no descriptor is left.
    ///
    /// # Errors
    /// Where there is no descriptor for its eventfd.
    pub fn new() -> io::Result<Self> {
        Ok(Doorbell { armed: Armed::new(), eventfd: eventfd(0, EventfdFlags::CLOEXEC)? })
    }

    /// Wakes the executor if it sleeps. Call it after each push to one of its inbound queues.
    pub fn ring(&self) {
        if self.armed.must_ring() {
            // The count cannot overflow (2^64 - 2 rings unread), and any count wakes.
            let _ = rustix::io::write(&self.eventfd, &1u64.to_ne_bytes());
        }
    }

    /// Before sleeping; every inbound queue is looked at after this.
    pub(crate) fn arm(&self) {
        self.armed.arm();
    }

    /// After waking.
    pub(crate) fn disarm(&self) {
        self.armed.disarm();
    }

    /// The eventfd that the executor's ring polls.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }
}
