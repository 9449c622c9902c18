//! Benches of sidecore: raw controls, a load client, servers and task pools side by side.
//!
//! - [`controls`]: raw io_uring and epoll loops, what the kernel alone costs;
//! - [`load`]: the client, in closed and open loop;
//! - [`subject`] and [`compare`]: servers and peers in alternating rounds, CPU per request;
//! - [`peers`]: the peers' workspace, and task pools side by side, throughput and latency;
//! - [`budgets`]: the criterion benches of `benches/` against `budgets.toml`;
//! - [`statistics`]: medians and ratios of pairs.

#![allow(clippy::missing_errors_doc, reason = "benches tell it and end")]

pub mod budgets;
pub mod compare;
pub mod controls;
pub mod load;
pub mod peers;
pub mod statistics;
pub mod subject;
