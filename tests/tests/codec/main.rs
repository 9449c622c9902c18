//! Bytes in, bytes out: tables of literal requests, hostile framing, recorded clients, mutations.

mod fuzz_targets;
mod real_clients;
mod rfc;
mod smuggling;
