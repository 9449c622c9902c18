//! A journal of jobs: a record is on the disk before its append is answered, and pending until it is
//! settled.
//!
//! ```
//! use std::sync::mpsc::channel;
//! use std::time::Duration;
//!
//! use sidecore_journal::{Journal, JournalLimits, Meta};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = std::env::temp_dir().join(format!("journal-doc-{}", std::process::id()));
//! let (journal, recovery) = Journal::open(&directory, "mails", JournalLimits::default())?;
//! for record in &recovery.pending {
//!     println!("{} was not dealt with before the last end", record.sequence);
//! }
//! let (sent, received) = channel();
//! journal.append(b"to ada".to_vec(), Meta::default(), move |result| {
//!     let _ = sent.send(result); // on the journal's thread
//! })?;
//! let sequence = received.recv()??; // on the disk
//! journal.begin(sequence, 1);
//! // … the work …
//! journal.ack(sequence);
//! journal.close(Duration::from_secs(5))?;
//! # let (_, recovery) = Journal::open(&directory, "mails", JournalLimits::default())?;
//! # assert!(recovery.pending.is_empty() && recovery.is_whole());
//! # std::fs::remove_dir_all(&directory)?;
//! # Ok(())
//! # }
//! ```
//!
//! ```text
//! any thread ── append ──► bounded channel ─────► thread journal-<name> ── commit, fsync ──► <name>.sqlite
//!            ── ack, retry, dead ──► settlements ──►    │                 └─ then ──► <name>.mark
//!                                                       └─ done(sequence)
//! ```
//!
//! One thread owns the database (SQLite, WAL, `synchronous = FULL`). It takes all that has arrived
//! and commits it at once, so that one fsync serves a group; `done` is called after
//! it. An ack deletes its record with the next commit, or after
//! [`settle_delay`](JournalLimits::settle_delay), so a crash may bring an acked record again:
//! delivery is at least once.
//!
//! **Attempts.** A record's attempts so far are its [retries](Journal::retry) and the attempt, if
//! there was one, that an end of the process cut off: [`begin`](Journal::begin) notes each in a small
//! file before it runs, so that a job which kills its process is counted, and what
//! only waited at that time is not.
//!
//! **What is missing is counted.** SQLite drops the rest of a WAL in which a bit flipped without a
//! word. So rows are numbered and carry a check sum; one row holds the last number and how many
//! records were settled, so that the difference is what must be there; and a second file, the mark,
//! holds both beside it. [`Journal::open`] compares them, reads what is readable of a broken file
//! into a new one, sets the broken one aside, and says how many records are missing or damaged, in [`Recovery`] and in one line on standard
//! error.
//!
//! **A commit that fails poisons the journal**: it takes no more records, since the kernel may have
//! dropped what it could not write. An error says that a record is not known to be durable; it may
//! be there at the next open all the same. So does a commit after somebody has removed the files: it
//! would be made, and be gone at the end of the process.
//!
//! Bounds: [`JournalLimits`]. Settlements wait in a queue that the pending records bound, as each
//! is settled once. The WAL is copied back about each 1,000 pages.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod attempts;
mod command;
mod error;
mod high_water_mark;
mod journal;
mod limits;
mod notified;
mod paths;
mod record;
mod recovery;
mod rows;
mod salvage;
mod shared;
mod store;
mod sync;
mod totals;
mod writer;

#[cfg(test)]
mod tests;

pub use crate::error::{AppendError, JournalError};
pub use crate::journal::Journal;
pub use crate::limits::JournalLimits;
pub use crate::record::{DeadLetter, Meta, Record, Sequence};
pub use crate::recovery::Recovery;
pub use crate::shared::JournalStats;
