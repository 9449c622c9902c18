//! Rules of the sources that no compiler knows: which room of a crate may know which, how long files
//! and functions are, and what may stand in a few named files only.
//!
//! `cargo run -p sidecore-tidy` draws the rooms (`docs/rooms.md`); the tests hold the rules.

pub mod drawing;
pub mod lengths;
pub mod places;
pub mod rooms;
pub mod source;
