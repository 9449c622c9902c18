//! Whether threads can be made and pinned, and what to do where they cannot.

use std::io;

use rustix::thread::{sched_getaffinity, sched_setaffinity};

use super::ProbeError;

/// What to do where the system gives no thread (pthread_create(3), `EAGAIN`): which of these limits
/// it was it does not say.
pub const NO_THREAD: &str = "raise the limit on threads (systemd TasksMax=, docker --pids-limit, \
                             ulimit -u), or lower worker_num and task_worker_num";

/// What to do where the kernel refuses to pin a thread (sched_setaffinity(2), `EPERM`).
pub const NO_PINNING: &str = "allow sched_setaffinity: in a systemd unit it is of the group \
                              @resources of SystemCallFilter=, in a container of the seccomp \
                              profile";

/// Asks whether this thread may be pinned, to the CPUs where it is: that changes nothing.
pub(super) fn pinning() -> Result<(), ProbeError> {
    // More CPUs than a mask has bits: the topology deals with that.
    let Ok(cpus) = sched_getaffinity(None) else { return Ok(()) };
    sched_setaffinity(None, &cpus).map_err(ProbeError::NoPinning)
}

/// The cure of an error that a thread's start, or its pinning, gave; empty where there is none.
pub(crate) fn cure_of(cause: &io::Error) -> &'static str {
    match cause.raw_os_error() {
        Some(libc::EAGAIN) => NO_THREAD,
        Some(libc::EPERM | libc::EACCES | libc::ENOSYS) => NO_PINNING,
        _ => "",
    }
}
