//! What all else stands on: the process, its threads and the words between them.
//!
//! [`doorbell`] wakes an executor (`armed` is its protocol) and [`published`] has flags between
//! threads; `sync` has the atomics of all protocols. [`panics`] stands around the user's code and
//! values, [`stderr`] writes lines to whoever runs the process, [`instant`] has times that may be
//! without end, [`signals`] a thread's mask, [`memory`] what is allocated.

pub(crate) mod armed;
pub mod doorbell;
pub mod instant;
pub mod memory;
pub mod panics;
pub mod published;
pub mod signals;
pub mod stderr;
pub(crate) mod sync;
