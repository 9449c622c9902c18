//! Whether the kernel gives what the runtime needs, asked before anything starts.
//!
//! Each question is a function of its own with an error of one line: cause and cure. What is
//! used, and since when Linux has it:
//!
//! | feature | Linux |
//! |---|---|
//! | `EXT_ARG`: a wait with a timeout in one call | 5.11 |
//! | `SUBMIT_ALL`, registered ring descriptors | 5.18 |
//! | `COOP_TASKRUN`, multishot accept, provided buffer rings | 5.19 |
//! | multishot receive, `SINGLE_ISSUER` | 6.0 |
//! | `DEFER_TASKRUN` | 6.1 |
//! | a limit to a multishot receive; done without before | 6.16 |
//!
//! so the least is 6.1. Multishot receive cannot be asked for by itself: it came before
//! `DEFER_TASKRUN`, which can. A kernel that calls itself older but has `DEFER_TASKRUN`
//! (vendors carry io_uring back) is accepted.

use std::fmt;

mod error;
mod kernel;
mod limits;
mod threads;
mod uring;

pub use error::ProbeError;
pub(crate) use kernel::RECEIVES_ARE_LIMITED;
pub use kernel::Release;
pub(crate) use threads::cure_of;
pub use threads::{NO_PINNING, NO_THREAD};

/// Descriptors an executor holds beside sockets: three rings and an eventfd of its host, its own
/// ring and its doorbell (measured: 6 in all), with room to spare for what handlers open.
pub const DESCRIPTORS_PER_EXECUTOR: u64 = 16;

/// What the runtime is about to ask of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Executors that serve, each with a network ring beside the rings of its host.
    pub executors: usize,
    /// Workers of pools of async jobs, each with the rings of its host only.
    pub async_workers: usize,
    /// Submission entries of a network ring.
    pub ring_entries: u32,
    /// Buffers in a network ring's provided buffer ring.
    pub recv_buffers: u16,
    /// Descriptors open at once: connections, listeners, files of handlers, and
    /// [`DESCRIPTORS_PER_EXECUTOR`] for each executor and async worker.
    pub descriptors: u64,
}

/// Asks for everything, in the order in which an answer explains the next.
///
/// Raises the soft limits on locked memory and descriptors where the hard limits allow it, so
/// the limits come before the ring, which needs both.
///
/// # Errors
/// The first thing that is missing, with its cure.
pub fn check(needs: &Needs) -> Result<(), ProbeError> {
    threads::pinning()?;
    limits::descriptors(needs)?;
    limits::locked_memory(needs)?;
    uring::check()
}

/// A number of bytes in KiB, as `ulimit -l` counts.
struct KiB(u64);

impl fmt::Display for KiB {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} KiB", self.0.div_ceil(1024))
    }
}
