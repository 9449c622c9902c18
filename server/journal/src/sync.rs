//! The atomics of the protocol in `notified.rs`: std's, or a model checker's where that is compiled
//! into a model.

pub(crate) use std::sync::atomic::{AtomicBool, Ordering};
