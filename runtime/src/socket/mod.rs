//! The state of each socket of an executor, driven by the completions of its ring.
//!
//! `listeners` accept; `streams` receive and send, each with how far its receive has come
//! (`receiving`) and the bytes on their way out (`outbox`); `buffer_pool` lends them memory;
//! `liveness` has the kernel find out which peers are gone.

mod buffer_pool;
pub(crate) mod listeners;
mod liveness;
mod outbox;
mod receiving;
pub(crate) mod streams;
