//! Which attempts have begun: a small file beside the database, so that an end of the process in the
//! middle of an attempt is counted, and what only waited then is charged nothing.
//!
//! A record has a place in the file from its first attempt until it is settled. Before an attempt
//! runs, its number is written there: one `pwrite` into the page cache and no sync. A kill of the
//! process cannot undo that; after a power loss attempts of the last seconds may be missing. An open
//! raises the attempts of what is pending to these numbers, in the database, and empties the file.
//! So it does no harm that a place keeps what it held until it is given out again: a number that the
//! database knows already changes nothing.
//!
//! The lock is taken by task workers and the journal's thread, never by an executor. Places are
//! bounded by the pending records.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sidecore_runtime::sys::stderr;

use crate::error::JournalError;
use crate::paths::Paths;
use crate::record::Sequence;

/// The sequence, the attempt's number, a check sum of both.
const PLACE_BYTES: usize = 16;
/// Written at an open, so that as many attempts at once need no room of a disk that is full.
const FIRST_BYTES: usize = 4096;

/// Attempts by the records that they were of.
pub(crate) type Attempts = HashMap<Sequence, u32>;

/// The open file. Who holds the mark's lock is its only user.
#[derive(Debug)]
pub(crate) struct AttemptLog {
    file: File,
    places: Mutex<Places>,
    /// A write failed, and it was said.
    has_failed: AtomicBool,
}

#[derive(Debug, Default)]
struct Places {
    of: HashMap<Sequence, u32>,
    free: Vec<u32>,
    /// The first that was never given out.
    next: u32,
}

impl AttemptLog {
    /// Opens or makes it; what had begun when the process ended that wrote it.
    pub(crate) fn open(paths: &Paths) -> Result<(AttemptLog, Attempts), JournalError> {
        let error = |what| move |cause| JournalError::io(what, &paths.attempts, cause);
        let mut options = OpenOptions::new();
        let file =
            options.read(true).write(true).create(true).truncate(false).open(&paths.attempts);
        let file = file.map_err(error("open"))?;
        let attempts = read(&file).map_err(error("read"))?;
        let log = AttemptLog { file, places: Mutex::default(), has_failed: AtomicBool::new(false) };
        Ok((log, attempts))
    }

    /// Empties it, when the database has what it held.
    pub(crate) fn clear(&self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.write_all_at(&[0; FIRST_BYTES], 0)
    }

    /// Notes that an attempt begins. Where that cannot be written, it is said once and the attempt
    /// goes on: should the process end in it, it will not be counted.
    pub(crate) fn record(&self, sequence: Sequence, attempt: u32) {
        let offset = u64::from(self.place_of(sequence)) * PLACE_BYTES as u64;
        let written = self.file.write_all_at(&encode(sequence, attempt), offset);
        if let Err(cause) = written
            && !self.has_failed.swap(true, Ordering::Relaxed)
        {
            stderr::line(format_args!(
                "a journal cannot note which attempts begin ({cause}): should the process end in \
                 one, it will not be counted. Is its disk full?"
            ));
        }
    }

    /// Frees the places of records that are no longer pending.
    pub(crate) fn free(&self, sequences: impl Iterator<Item = Sequence>) {
        let Places { of, free, .. } = &mut *self.lock();
        free.extend(sequences.filter_map(|sequence| of.remove(&sequence)));
    }

    fn place_of(&self, sequence: Sequence) -> u32 {
        let Places { of, free, next } = &mut *self.lock();
        *of.entry(sequence).or_insert_with(|| {
            free.pop().unwrap_or_else(|| {
                *next += 1;
                *next - 1
            })
        })
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn encode(sequence: Sequence, attempt: u32) -> [u8; PLACE_BYTES] {
    let mut place = [0; PLACE_BYTES];
    place[..8].copy_from_slice(&sequence.to_le_bytes());
    place[8..12].copy_from_slice(&attempt.to_le_bytes());
    let check_sum = crc32fast::hash(&place[..12]);
    place[12..].copy_from_slice(&check_sum.to_le_bytes());
    place
}

/// None: nothing was written there, or it is damaged.
fn decode(place: &[u8]) -> Option<(Sequence, u32)> {
    let sequence = Sequence::from_le_bytes(place.get(..8)?.try_into().ok()?);
    let attempt = u32::from_le_bytes(place.get(8..12)?.try_into().ok()?);
    (place == encode(sequence, attempt)).then_some((sequence, attempt))
}

fn read(mut file: &File) -> io::Result<Attempts> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut file, &mut bytes)?;
    let mut attempts = Attempts::new();
    for (sequence, attempt) in bytes.chunks(PLACE_BYTES).filter_map(decode) {
        let most = attempts.entry(sequence).or_default();
        *most = attempt.max(*most);
    }
    Ok(attempts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::scratch::Scratch;

    #[test]
    fn a_place_with_any_bit_flipped_or_cut_short_is_not_taken() {
        let place = encode(7, 3);
        assert_eq!(decode(&place), Some((7, 3)));
        for bit in 0..PLACE_BYTES * 8 {
            let mut flipped = place;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&flipped), None, "bit {bit}");
        }
        assert_eq!((decode(&place[..15]), decode(&[0; PLACE_BYTES])), (None, None));
    }

    #[test]
    fn places_are_those_of_records_that_are_pending() {
        let scratch = Scratch::new();
        let paths = Paths::new(scratch.path(), "jobs").unwrap();
        let (log, found) = AttemptLog::open(&paths).unwrap();
        assert!(found.is_empty());
        log.clear().unwrap();
        for sequence in 1..=10_000 {
            log.record(sequence, 1);
            log.record(sequence, 2);
            log.free([sequence.saturating_sub(100), 99_999].into_iter());
        }
        let (again, found) = AttemptLog::open(&paths).unwrap();
        assert_eq!(again.file.metadata().unwrap().len(), FIRST_BYTES as u64, "101 places");
        assert_eq!(found.len(), 101);
        assert!((9_901..=10_000).all(|sequence| found[&sequence] == 2), "{found:?}");
        again.clear().unwrap();
        assert!(AttemptLog::open(&paths).unwrap().1.is_empty());
    }
}
