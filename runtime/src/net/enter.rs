//! The system call of a turn, which submits and waits: `io_uring_enter(2)`.
//!
//! The io-uring crate has one, too. This one costs less where each request needs one of its own
//! (2.5 % of the CPU of a request to axum at one connection), and says what an executor's wait is:
//!
//! - The ring is registered with its thread (`IORING_REGISTER_RING_FDS`, Linux 5.18), so that the
//!   kernel need not look up and hold its file each time. The crate forgets a registration together
//!   with the `Submitter` that made it, which borrows the ring.
//! - A wait without a limit takes no argument that the kernel would have to copy.
//! - A wait is not accounted as one for a disk (`IORING_ENTER_NO_IOWAIT`, Linux 6.15): before that
//!   the CPU of an executor without requests counts as 100 % iowait.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr;

use io_uring::{EnterFlags, IoUring};
use rustix::io_uring::{
    IoringEnterFlags, IoringRegisterOp, io_uring_enter, io_uring_enter_arg, io_uring_getevents_arg,
    io_uring_ptr, io_uring_register, io_uring_rsrc_update,
};
use rustix::thread::Timespec;

use super::gather::Wait;

/// How a ring's thread enters the kernel.
pub(super) struct Enter {
    ring: RawFd,
    /// The ring's place among those registered with this thread. None where the kernel has not
    /// registered it, as it has room for 16: its descriptor serves instead.
    place: Option<u32>,
    flags: IoringEnterFlags,
}

impl Enter {
    /// Registers `uring` with the calling thread, which alone may enter by what is returned, and
    /// not after the ring has ended.
    pub(super) fn new(uring: &IoUring) -> Self {
        let ring = uring.as_raw_fd();
        let place = register(ring).ok();
        let mut flags = IoringEnterFlags::GETEVENTS;
        if place.is_some() {
            flags |= IoringEnterFlags::REGISTERED_RING;
        }
        if uring.params().is_feature_no_iowait() {
            flags |= IoringEnterFlags::from_bits_retain(EnterFlags::NO_IOWAIT.bits());
        }
        Enter { ring, place, flags }
    }

    /// Submits what is queued and waits.
    pub(super) fn submit_and_wait(&self, uring: &mut IoUring, wait: Wait) -> io::Result<()> {
        let queued = uring.submission().len() as u32;
        let wanted = wait.completions;
        let place = self.place.map_or(self.ring, |place| place as RawFd);
        // SAFETY: the ring is open, or its place, which the flag tells from a descriptor, is the
        // one that the kernel gave it and keeps until `Drop`.
        let ring = unsafe { BorrowedFd::borrow_raw(place) };
        let Some(limit) = wait.limit else {
            // SAFETY: the entries were promised to be valid when they were queued (`ring.rs`).
            unsafe { io_uring_enter(ring, queued, wanted, self.flags) }?;
            return Ok(());
        };
        let mut limit = Timespec {
            tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: limit.subsec_nanos().into(),
        };
        let arg = io_uring_getevents_arg {
            min_wait_usec: wait.min_wait_us,
            ts: io_uring_ptr::new((&raw mut limit).cast()),
            ..Default::default()
        };
        let flags = self.flags | IoringEnterFlags::EXT_ARG;
        // SAFETY: as above, and `limit`, the kernel's timespec, outlives the call.
        unsafe { io_uring_enter_arg(ring, queued, wanted, flags, Some(&arg)) }?;
        Ok(())
    }
}

impl Drop for Enter {
    /// A place that is kept would keep the ring alive in the kernel.
    fn drop(&mut self) {
        if let Some(place) = self.place {
            let _ = change(self.ring, IoringRegisterOp::UnregisterRingFds, place, 0);
        }
    }
}

/// Registers a ring with the calling thread; returns its place.
fn register(ring: RawFd) -> io::Result<u32> {
    // The kernel chooses the place where it is told `u32::MAX`.
    change(ring, IoringRegisterOp::RegisterRingFds, u32::MAX, ring)
}

/// Changes the thread's registered rings; returns the place that was changed.
fn change(ring: RawFd, how: IoringRegisterOp, place: u32, new: RawFd) -> io::Result<u32> {
    let mut update = io_uring_rsrc_update::default();
    update.offset = place;
    update.data = io_uring_ptr::new(ptr::without_provenance_mut(new as usize));
    // SAFETY: `Ring` keeps its io_uring open for longer than its `Enter`.
    let ring = unsafe { BorrowedFd::borrow_raw(ring) };
    // SAFETY: both operations read one update, which outlives the call; a registration writes the
    // place it has chosen into it.
    unsafe { io_uring_register(ring, how, (&raw mut update).cast(), 1) }?;
    Ok(update.offset)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use io_uring::opcode::Nop;

    use super::*;

    /// More than the kernel registers for a thread.
    const RINGS: usize = 20;

    fn ring() -> (Enter, IoUring) {
        let uring = IoUring::new(8).unwrap();
        (Enter::new(&uring), uring)
    }

    #[test]
    fn rings_that_find_no_place_work_too_and_places_are_given_back() {
        for _ in 0..3 {
            let mut rings: Vec<_> = (0..RINGS).map(|_| ring()).collect();
            assert!(rings[0].0.place.is_some());
            assert!(rings[RINGS - 1].0.place.is_none());
            for (enter, uring) in &mut rings {
                // SAFETY: a nop points to nothing.
                unsafe { uring.submission().push(&Nop::new().build().user_data(7)) }.unwrap();
                let wait = Wait { completions: 1, min_wait_us: 0, limit: None };
                enter.submit_and_wait(uring, wait).unwrap();
                assert_eq!(uring.completion().next().map(|entry| entry.user_data()), Some(7));
            }
        }
    }

    #[test]
    fn a_wait_ends_by_its_limit() {
        let (enter, mut uring) = ring();
        let limit = Some(Duration::from_millis(1));
        let wait = Wait { completions: 1, min_wait_us: 0, limit };
        let error = enter.submit_and_wait(&mut uring, wait).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ETIME));
    }
}
