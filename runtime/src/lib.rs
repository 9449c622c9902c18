//! Pinned io_uring executors and task worker pools: the runtime beneath the HTTP server.
//!
//! Data flows through the modules in this order:
//!
//! - [`topology`], [`placement`], [`cpu_list`], [`probe`]: what the machine is, who runs where,
//!   and whether the kernel gives what is needed, before anything starts;
//! - [`executor`]: one pinned thread a CPU with its loop, local tasks, wakers and timers;
//! - [`net`]: that executor's sockets, on an io_uring ring of its own;
//! - [`pool`]: task workers, their bounded queue, and the finish rings that bring results home;
//! - [`bell`]: how another thread wakes an executor, at no cost while it is awake.
//!
//! What all of them use: [`stderr`] for lines to whoever runs the process, [`panics`] around the
//! user's code and values, [`published`] for flags between threads, [`instant`] for times that may be without end, [`signals`] for a thread's
//! mask, [`memory`] for what is allocated.

#![cfg(target_os = "linux")]

pub mod bell;
pub mod cpu_list;
pub mod executor;
pub mod instant;
pub mod memory;
pub mod net;
pub mod panics;
pub mod placement;
pub mod pool;
pub mod probe;
pub mod published;
pub mod signals;
pub mod stderr;
pub mod topology;

mod armed;
mod sync;
