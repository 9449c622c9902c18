//! Pinned io_uring executors and task worker pools: the runtime beneath the HTTP server.
//!
//! Each module knows only those before it:
//!
//! - [`sys`]: the process, its threads and the words between them; doorbells;
//! - [`stack`]: where a thread is that blocks or is stuck;
//! - [`machine`]: topology and placement, and probes of what the kernel permits;
//! - [`executor`]: one pinned thread a CPU with its loop, local tasks, wakers and timers;
//! - [`net`]: that executor's sockets, as its tasks use them;
//! - [`pool`]: task workers, their bounded queues, and the finish rings that bring results home.

// Below `executor` lie two more: `ring`, the io_uring ring of an executor and all that is `unsafe` about
// it, and `socket`, the state of each socket, driven by the ring's completions.

#![cfg(target_os = "linux")]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod executor;
pub mod machine;
pub mod net;
pub mod pool;
pub mod stack;
pub mod sys;

mod ring;
mod socket;
