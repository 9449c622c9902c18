//! What all else stands on: the process, its threads and the words between them.
//!
//! [`doorbell`] wakes an executor and [`published`] has flags between threads. [`panics`] stands around
//! the user's code and values, [`stderr`] writes lines to whoever runs the process, [`instant`] has
//! times that may be without end, [`signals`] a thread's mask, [`memory`] what is allocated.

// `armed` is the doorbell's protocol, and `sync` has the atomics of all protocols.

pub(crate) mod armed;
pub mod doorbell;
pub mod instant;
pub mod memory;
pub mod panics;
pub mod published;
pub mod signals;
pub mod stderr;
pub(crate) mod sync;
