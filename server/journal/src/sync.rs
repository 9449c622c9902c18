//! The atomics of the protocol in `told.rs`: std's, or a model checker's where that is compiled
//! into a model.

pub(crate) use std::sync::atomic::{AtomicBool, Ordering};
