//! What the probes found missing, each as one line of cause and cure.

use std::{fmt, io};

use super::kernel::{self, Release};
use super::{KiB, NO_PINNING};

/// Why the runtime cannot start here.
#[derive(Clone, PartialEq, Eq)]
pub enum ProbeError {
    /// The kernel is older than the features in use.
    KernelTooOld {
        /// The running kernel.
        release: Release,
    },
    /// The kernel does not know io_uring, or a filter says so (`ENOSYS`).
    NotImplemented,
    /// The kernel does not know the flags in use (`EINVAL`), though its release says it does.
    FlagsRefused,
    /// io_uring is not permitted (`EPERM`, `EACCES`).
    Forbidden {
        /// `kernel.io_uring_disabled`, if the kernel has it.
        disabled_sysctl: Option<u8>,
    },
    /// There was no memory for a ring (`ENOMEM`).
    OutOfMemory,
    /// There was no descriptor for a ring (`EMFILE`, `ENFILE`).
    OutOfDescriptors,
    /// A ring was refused for another reason.
    RingRefused {
        /// The errno of io_uring_setup(2).
        errno: i32,
    },
    /// A ring does not let itself be asked, or takes no provided buffers.
    RegisterRefused {
        /// The errno of io_uring_register(2).
        errno: i32,
    },
    /// The kernel's io_uring lacks these.
    MissingOperations(Vec<&'static str>),
    /// The hard limit on locked memory is too low.
    LockedMemory {
        /// Bytes needed.
        needed: u64,
        /// The hard limit, in bytes.
        hard: u64,
        /// For how many executors.
        executors: usize,
    },
    /// The hard limit on descriptors is too low.
    Descriptors {
        /// Descriptors needed.
        needed: u64,
        /// The hard limit.
        hard: u64,
    },
    /// Threads may not be pinned.
    NoPinning(rustix::io::Errno),
    /// The hard limit allows it and yet the soft limit could not be raised.
    LimitNotRaised {
        /// `memlock` or `nofile`, as limits.conf(5) calls it.
        limit: &'static str,
        /// The errno of setrlimit(2).
        errno: rustix::io::Errno,
    },
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProbeError::KernelTooOld { release } => write!(
                f,
                "Linux {release} is too old: provided buffer rings need 5.19, multishot receive \
                 6.0 and DEFER_TASKRUN 6.1; run Linux {} or later",
                kernel::LEAST
            ),
            ProbeError::NotImplemented => f.write_str(
                "io_uring is not there (ENOSYS): the kernel is built without CONFIG_IO_URING, or a \
                 seccomp profile of the container hides it; use another kernel, or a profile that \
                 allows io_uring_setup, io_uring_enter and io_uring_register \
                 (docker --security-opt seccomp=PROFILE)",
            ),
            ProbeError::FlagsRefused => write!(
                f,
                "io_uring does not know DEFER_TASKRUN (EINVAL): the kernel, or what stands in for \
                 it, has an io_uring older than Linux {}; run that or later",
                kernel::LEAST
            ),
            ProbeError::Forbidden { disabled_sysctl } => forbidden(f, *disabled_sysctl),
            ProbeError::OutOfMemory => f.write_str(
                "no memory for an io_uring (ENOMEM): the limit on locked memory is used up by this \
                 user's processes, or the control group's memory is; raise ulimit -l (systemd \
                 LimitMEMLOCK=, docker --ulimit memlock=-1) or the memory limit",
            ),
            ProbeError::OutOfDescriptors => f.write_str(
                "no descriptor for an io_uring (EMFILE or ENFILE): raise ulimit -n (systemd \
                 LimitNOFILE=) or the sysctl fs.file-max",
            ),
            ProbeError::RingRefused { errno } => write!(
                f,
                "io_uring_setup failed: {}; run Linux {} or later with io_uring enabled",
                io::Error::from_raw_os_error(*errno),
                kernel::LEAST
            ),
            ProbeError::RegisterRefused { errno } => write!(
                f,
                "io_uring_register failed: {}; allow it in the seccomp profile, and run Linux {} or \
                 later",
                io::Error::from_raw_os_error(*errno),
                kernel::LEAST
            ),
            ProbeError::MissingOperations(missing) => write!(
                f,
                "this kernel's io_uring lacks {}; run Linux {} or later",
                missing.join(", "),
                kernel::LEAST
            ),
            ProbeError::LockedMemory { needed, hard, executors } => write!(
                f,
                "the hard limit on locked memory is {}, but the rings of {executors} executor{} \
                 need {}; raise it (ulimit -H -l, systemd LimitMEMLOCK=, docker --ulimit \
                 memlock=-1) or lower worker_num",
                KiB(*hard),
                if *executors == 1 { "" } else { "s" },
                KiB(*needed)
            ),
            ProbeError::Descriptors { needed, hard } => write!(
                f,
                "the hard limit on open files is {hard}, but {needed} are needed for connections \
                 and rings; raise it (ulimit -H -n, systemd LimitNOFILE=, docker --ulimit \
                 nofile={needed}) or allow fewer connections"
            ),
            ProbeError::NoPinning(errno) => write!(
                f,
                "threads cannot be pinned to CPUs: {}; {NO_PINNING}",
                io::Error::from(*errno)
            ),
            ProbeError::LimitNotRaised { limit, errno } => write!(
                f,
                "the soft limit on {limit} could not be raised: {}; allow prlimit64 in the seccomp \
                 profile, or raise the limit before the start",
                io::Error::from(*errno)
            ),
        }
    }
}

/// As it is displayed, for a `main` that returns it.
impl fmt::Debug for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for ProbeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ProbeError::NoPinning(errno) | ProbeError::LimitNotRaised { errno, .. } => Some(errno),
            _ => None,
        }
    }
}

fn forbidden(f: &mut fmt::Formatter<'_>, disabled_sysctl: Option<u8>) -> fmt::Result {
    f.write_str("io_uring is not permitted: ")?;
    match disabled_sysctl {
        Some(1) => f.write_str(
            "the sysctl kernel.io_uring_disabled is 1, which leaves it to CAP_SYS_ADMIN and the \
             group in kernel.io_uring_group; set it to 0 or put this user into that group (where \
             that is so already, a seccomp profile forbids it)",
        ),
        Some(2) => f.write_str(
            "the sysctl kernel.io_uring_disabled is 2, which forbids it to all; set it to 0",
        ),
        known => {
            if let Some(value) = known {
                write!(f, "kernel.io_uring_disabled is {value}, so ")?;
            }
            f.write_str(
                "a seccomp profile (the default of Docker 25 and later, containerd 2) or a security \
                 module forbids it; use a profile that allows io_uring_setup, io_uring_enter and \
                 io_uring_register (docker --security-opt seccomp=PROFILE)",
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_is_one_line_that_names_its_cure() {
        let check = |error: ProbeError, parts: &[&str]| {
            let text = error.to_string();
            assert!(parts.iter().all(|part| text.contains(part)), "{text}");
            assert!(!text.contains('\n') && !text.contains("  "), "{text}");
        };
        let release = Release { major: 5, minor: 15 };
        check(ProbeError::KernelTooOld { release }, &["Linux 5.15", "6.1 or later"]);
        check(ProbeError::NotImplemented, &["CONFIG_IO_URING", "seccomp"]);
        check(ProbeError::FlagsRefused, &["DEFER_TASKRUN", "6.1"]);
        let forbidden = |disabled_sysctl| ProbeError::Forbidden { disabled_sysctl };
        check(forbidden(None), &["not permitted: a seccomp"]);
        check(forbidden(Some(0)), &["io_uring_disabled is 0", "seccomp"]);
        check(forbidden(Some(1)), &["io_uring_disabled is 1", "CAP_SYS_ADMIN", "io_uring_group"]);
        check(forbidden(Some(2)), &["io_uring_disabled is 2", "set it to 0"]);
        check(ProbeError::OutOfMemory, &["ENOMEM", "ulimit -l", "LimitMEMLOCK="]);
        check(ProbeError::OutOfDescriptors, &["ulimit -n", "fs.file-max"]);
        check(ProbeError::RingRefused { errno: 14 }, &["Bad address"]);
        check(ProbeError::RegisterRefused { errno: 1 }, &["io_uring_register", "not permitted"]);
        check(ProbeError::MissingOperations(vec!["SEND", "RECV"]), &["lacks SEND, RECV"]);
        let locked = ProbeError::LockedMemory { needed: 1 << 20, hard: 1 << 16, executors: 2 };
        check(locked, &["is 64 KiB", "2 executors", "1024 KiB", "ulimit -H -l", "LimitMEMLOCK="]);
        let descriptors = ProbeError::Descriptors { needed: 5000, hard: 1024 };
        check(descriptors, &["is 1024", "5000 are needed", "LimitNOFILE="]);
        let errno = rustix::io::Errno::PERM;
        check(ProbeError::LimitNotRaised { limit: "memlock", errno }, &["memlock", "prlimit64"]);
    }
}
