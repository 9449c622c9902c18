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

use std::ffi::{c_long, c_uint};
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr;

use io_uring::{CompletionQueue, EnterFlags, IoUring, SubmissionQueue, Submitter};
use rustix::io_uring::{
    IoringEnterFlags, IoringRegisterOp, io_uring_getevents_arg, io_uring_ptr, io_uring_register,
    io_uring_rsrc_update,
};
use rustix::thread::Timespec;

use super::coalesce::Wait;

/// A ring and its thread's way into the kernel.
pub(super) struct Entered {
    uring: IoUring,
    way: Way,
    flags: IoringEnterFlags,
    /// A place is one of its thread's, so that neither is `Send`.
    own_thread: PhantomData<*const ()>,
}

/// How a ring is named to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// By its place among those registered with this thread.
    Place(u32),
    /// By its descriptor: the kernel has not registered it, as it has room for 16.
    Descriptor(RawFd),
}

impl Entered {
    /// Registers the ring with the calling thread.
    pub(super) fn new(uring: IoUring) -> Self {
        let mut flags = IoringEnterFlags::GETEVENTS;
        let way = match register(&uring) {
            Ok(place) => {
                flags |= IoringEnterFlags::REGISTERED_RING;
                Way::Place(place)
            }
            Err(_) => Way::Descriptor(uring.as_raw_fd()),
        };
        if uring.params().is_feature_no_iowait() {
            flags |= IoringEnterFlags::from_bits_retain(EnterFlags::NO_IOWAIT.bits());
        }
        Entered { uring, way, flags, own_thread: PhantomData }
    }

    pub(super) fn submission(&mut self) -> SubmissionQueue<'_> {
        self.uring.submission()
    }

    pub(super) fn completion(&mut self) -> CompletionQueue<'_> {
        self.uring.completion()
    }

    pub(super) fn submitter(&self) -> Submitter<'_> {
        self.uring.submitter()
    }

    /// Submits what is queued and waits.
    pub(super) fn submit_and_wait(&mut self, wait: Wait) -> io::Result<()> {
        let queued = self.uring.submission().len() as c_uint;
        let Some(limit) = wait.limit else {
            // SAFETY: no argument is passed.
            return unsafe { self.enter(queued, wait.completions, self.flags, ptr::null(), 0) };
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
        let (arg, size) = (&raw const arg, size_of_val(&arg));
        // SAFETY: the argument is what EXT_ARG says; it and the time that it names outlive the call.
        unsafe { self.enter(queued, wait.completions, flags, arg, size) }
    }

    /// The call itself and not rustix's, which takes a descriptor for what may be a place.
    ///
    /// # Safety
    /// `arg` is null and `size` 0, or `flags` have EXT_ARG and both are of such an argument.
    unsafe fn enter(
        &self,
        queued: c_uint,
        wanted: c_uint,
        flags: IoringEnterFlags,
        arg: *const io_uring_getevents_arg,
        size: usize,
    ) -> io::Result<()> {
        let ring = match self.way {
            Way::Place(place) => c_long::from(place),
            Way::Descriptor(descriptor) => c_long::from(descriptor),
        };
        let number = libc::SYS_io_uring_enter;
        // SAFETY: the descriptor is that of the ring that is held here. A place is the one that the
        // kernel gave it and keeps until the drop; it is of the thread that made this value, which
        // is this one, as the value is not `Send`. The queued entries were promised to be valid when
        // they were queued (`mod.rs`), and the argument is the caller's promise.
        let result =
            unsafe { libc::syscall(number, ring, queued, wanted, flags.bits(), arg, size) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

impl Drop for Entered {
    /// A place that is kept would keep the ring alive in the kernel.
    fn drop(&mut self) {
        if let Way::Place(place) = self.way {
            let _ = change(&self.uring, IoringRegisterOp::UnregisterRingFds, place, 0);
        }
    }
}

/// Registers a ring with the calling thread; returns its place.
fn register(uring: &IoUring) -> io::Result<u32> {
    // The kernel chooses the place where it is told `u32::MAX`.
    change(uring, IoringRegisterOp::RegisterRingFds, u32::MAX, uring.as_raw_fd())
}

/// Changes the thread's registered rings; returns the place that was changed.
fn change(uring: &IoUring, how: IoringRegisterOp, place: u32, new: RawFd) -> io::Result<u32> {
    let mut update = io_uring_rsrc_update::default();
    update.offset = place;
    update.data = io_uring_ptr::new(ptr::without_provenance_mut(new as usize));
    // SAFETY: the ring is borrowed for longer than its descriptor, and open as long as it lives.
    let ring = unsafe { BorrowedFd::borrow_raw(uring.as_raw_fd()) };
    // SAFETY: both operations read one update, which outlives the call; a registration writes the
    // place it has chosen into it.
    unsafe { io_uring_register(ring, how, (&raw mut update).cast(), 1) }?;
    Ok(update.offset)
}

/// Does not compile where the type is `Send`: `check` would be found twice.
const _: () = {
    trait Check<T> {
        fn check() {}
    }
    impl<T: ?Sized> Check<()> for T {}
    impl<T: ?Sized + Send> Check<u8> for T {}
    let _ = <Entered as Check<_>>::check;
};

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use io_uring::opcode::Nop;

    use super::*;

    /// More than the kernel registers for a thread.
    const RINGS: usize = 20;

    fn ring() -> Entered {
        Entered::new(IoUring::new(8).unwrap())
    }

    #[test]
    fn rings_that_find_no_place_work_too_and_places_are_given_back() {
        for _ in 0..3 {
            let mut rings: Vec<_> = (0..RINGS).map(|_| ring()).collect();
            assert!(matches!(rings[0].way, Way::Place(_)));
            assert!(matches!(rings[RINGS - 1].way, Way::Descriptor(_)));
            for ring in &mut rings {
                // SAFETY: a nop points to nothing.
                unsafe { ring.submission().push(&Nop::new().build().user_data(7)) }.unwrap();
                ring.submit_and_wait(Wait { completions: 1, min_wait_us: 0, limit: None }).unwrap();
                assert_eq!(ring.completion().next().map(|entry| entry.user_data()), Some(7));
            }
        }
    }

    #[test]
    fn a_wait_ends_by_its_limit() {
        let limit = Some(Duration::from_millis(1));
        let wait = Wait { completions: 1, min_wait_us: 0, limit };
        let error = ring().submit_and_wait(wait).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ETIME));
    }
}
