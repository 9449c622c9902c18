//! Whether io_uring may be used and has what the network ring uses.

use std::io;

use io_uring::{IoUring, Probe, opcode};

use super::{ProbeError, kernel};

/// The operations in use, by the names of io_uring_enter(2).
const OPERATIONS: &[(&str, u8)] = &[
    ("ACCEPT", opcode::Accept::CODE),
    ("RECV", opcode::Recv::CODE),
    ("SEND", opcode::Send::CODE),
    ("ASYNC_CANCEL", opcode::AsyncCancel::CODE),
    ("CLOSE", opcode::Close::CODE),
    ("READ", opcode::Read::CODE),
    ("SHUTDOWN", opcode::Shutdown::CODE),
    ("POLL_ADD", opcode::PollAdd::CODE),
    ("TIMEOUT", opcode::Timeout::CODE),
    ("MSG_RING", opcode::MsgRingData::CODE),
];

/// Asks on a thread of its own. The end of a ring is told to the thread that made it, by an
/// interruption without a signal: a read with a time limit, or a wait of epoll, that the caller is in
/// by then would fail with `EINTR` (seen on Linux 6.18, 199 of 200 times).
pub(super) fn check() -> Result<(), ProbeError> {
    match std::thread::Builder::new().name("probe".into()).spawn(ask) {
        Ok(asking) => asking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        // Without room for one thread the start fails soon, and says why.
        Err(_) => ask(),
    }
}

fn ask() -> Result<(), ProbeError> {
    let mut ring = set_up()?;
    has_operations(&ring)?;
    takes_buffer_rings(&mut ring)
}

/// Sets a small ring up with the flags of the network ring.
fn set_up() -> Result<IoUring, ProbeError> {
    let ring: io::Result<IoUring> = IoUring::builder()
        .setup_submit_all()
        .setup_clamp()
        .setup_cqsize(32)
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_coop_taskrun()
        .setup_taskrun_flag()
        .dontfork()
        .build(8);
    let ring = ring.map_err(|error| {
        refused(error.raw_os_error().unwrap_or(0), kernel::Release::running(), disabled_sysctl)
    })?;
    let params = ring.params();
    if params.is_feature_ext_arg() && params.is_feature_nodrop() {
        Ok(ring)
    } else {
        Err(ProbeError::MissingOperations(vec!["EXT_ARG or NODROP"]))
    }
}

/// What a refused io_uring_setup(2) means.
fn refused(
    errno: i32,
    release: Option<kernel::Release>,
    disabled_sysctl: impl FnOnce() -> Option<u8>,
) -> ProbeError {
    match (errno, release) {
        // A policy refuses with EPERM whatever the kernel; what an old one lacks, it does not know.
        (libc::ENOSYS | libc::EINVAL, Some(release)) if release < kernel::LEAST => {
            ProbeError::KernelTooOld { release }
        }
        (libc::ENOSYS, _) => ProbeError::NotImplemented,
        (libc::EINVAL, _) => ProbeError::FlagsRefused,
        (libc::EPERM | libc::EACCES, _) => {
            ProbeError::Forbidden { disabled_sysctl: disabled_sysctl() }
        }
        (libc::ENOMEM, _) => ProbeError::OutOfMemory,
        (libc::EMFILE | libc::ENFILE, _) => ProbeError::OutOfDescriptors,
        _ => ProbeError::RingRefused { errno },
    }
}

/// `kernel.io_uring_disabled`, which Linux has since 6.6.
fn disabled_sysctl() -> Option<u8> {
    let text = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?;
    text.trim().parse().ok()
}

fn has_operations(ring: &IoUring) -> Result<(), ProbeError> {
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).map_err(register_refused)?;
    let missing: Vec<&str> = OPERATIONS
        .iter()
        .filter(|(_, code)| !probe.is_supported(*code))
        .map(|(name, _)| *name)
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(ProbeError::MissingOperations(missing)) }
}

/// One page of entries for a provided buffer ring, which has to begin at a page: of 64 KiB at
/// most, on the machines with the largest.
#[repr(C, align(65536))]
struct Entries([u8; 4096]);

fn takes_buffer_rings(ring: &mut IoUring) -> Result<(), ProbeError> {
    let entries = Box::new(Entries([0; 4096]));
    let address = entries.0.as_ptr() as u64;
    // SAFETY: the ring's 8 entries of 16 B lie in `entries`, which begin at a page and outlive
    // the registration: it ends below, or with the ring if that fails, and no operation that
    // could take a buffer is ever submitted, so the kernel never touches them.
    unsafe { ring.submitter().register_buf_ring_with_flags(address, 8, 0, 0) }
        .and_then(|()| ring.submitter().unregister_buf_ring(0))
        .map_err(register_refused)
}

fn register_refused(error: io::Error) -> ProbeError {
    match error.raw_os_error() {
        Some(libc::ENOMEM) => ProbeError::OutOfMemory,
        errno => ProbeError::RegisterRefused { errno: errno.unwrap_or(0) },
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::kernel::Release;
    use super::*;

    #[test]
    fn who_asks_is_not_interrupted_afterwards() {
        let (mut here, _there) = UnixStream::pair().unwrap();
        here.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        for _ in 0..20 {
            check().unwrap();
            let error = here.read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
        }
    }

    #[test]
    fn each_errno_has_its_cause() {
        let check = |errno, release: Option<(u32, u32)>, sysctl, expected: ProbeError| {
            let release = release.map(|(major, minor)| Release { major, minor });
            assert_eq!(refused(errno, release, || sysctl), expected, "{errno}");
        };
        let new = Some((6, 1));
        let old = Release { major: 5, minor: 15 };
        let too_old = || ProbeError::KernelTooOld { release: old };
        check(libc::ENOSYS, Some((5, 15)), None, too_old());
        check(libc::EINVAL, Some((5, 15)), None, too_old());
        check(libc::ENOSYS, new, None, ProbeError::NotImplemented);
        check(libc::ENOSYS, None, None, ProbeError::NotImplemented);
        check(libc::EINVAL, new, None, ProbeError::FlagsRefused);
        for errno in [libc::EPERM, libc::EACCES] {
            for disabled_sysctl in [None, Some(0), Some(1), Some(2)] {
                check(errno, new, disabled_sysctl, ProbeError::Forbidden { disabled_sysctl });
            }
        }
        check(libc::EPERM, Some((5, 15)), None, ProbeError::Forbidden { disabled_sysctl: None });
        check(libc::ENOMEM, new, None, ProbeError::OutOfMemory);
        check(libc::EMFILE, new, None, ProbeError::OutOfDescriptors);
        check(libc::ENFILE, new, None, ProbeError::OutOfDescriptors);
        check(libc::EFAULT, new, None, ProbeError::RingRefused { errno: libc::EFAULT });
    }
}
