//! The high-water mark: a small file that says how far the database had come, and is its lock.
//!
//! It is written after each commit and before the records' `done`, so at an open the database is
//! never behind it unless something was lost. Two slots are written in turn, each with a check sum:
//! a torn write leaves the other. A kill of the process loses nothing of it. It is synced once a
//! second, not with each commit, which would double the fsyncs: after a power loss a loss that the
//! disk itself caused in the last second may stay unseen.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::{Duration, Instant};

use crate::error::JournalError;
use crate::paths::Paths;

/// How long a written mark may stay unsynced.
pub(crate) const SYNC_AFTER: Duration = Duration::from_secs(1);

const MAGIC: [u8; 8] = *b"SCJMARK2";
const SLOT_BYTES: usize = 40;
/// A sector apart, so that one torn sector leaves the other slot.
const SLOT_STRIDE: u64 = 512;

/// How far a database has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The highest sequence that was durable.
    pub(crate) last: u64,
    /// How many records up to it are no longer pending.
    pub(crate) settled: u64,
}

/// The open and locked file.
#[derive(Debug)]
pub(crate) struct HighWaterMark {
    file: File,
    /// It was made by this open, or never written.
    pub(crate) is_new: bool,
    generation: u64,
    unsynced_since: Option<Instant>,
}

impl HighWaterMark {
    /// Opens or creates it and takes the lock; the progress in it, `None` if it holds none.
    pub(crate) fn open(paths: &Paths) -> Result<(HighWaterMark, Option<Progress>), JournalError> {
        let error = |what| move |cause| JournalError::io(what, &paths.mark, cause);
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&paths.mark)
            .map_err(error("open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(JournalError::locked(&paths.database)),
            Err(TryLockError::Error(cause)) => return Err(error("lock")(cause)),
        }
        let mut bytes = [0; SLOT_STRIDE as usize + SLOT_BYTES];
        let is_new = read_up_to(&file, &mut bytes).map_err(error("read"))? == 0;
        let slots = [&bytes[..SLOT_BYTES], &bytes[SLOT_STRIDE as usize..]];
        let newest = slots.into_iter().filter_map(decode).max_by_key(|(generation, _)| *generation);
        let generation = newest.map_or(0, |(generation, _)| generation);
        let mark = HighWaterMark { file, is_new, generation, unsynced_since: None };
        Ok((mark, newest.map(|(_, progress)| progress)))
    }

    /// Whether somebody has removed the file: then the database, too, is written where nobody will
    /// find it.
    pub(crate) fn is_removed(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
    }

    /// Writes a progress that is durable in the database.
    pub(crate) fn write(&mut self, progress: Progress) -> io::Result<()> {
        let generation = self.generation + 1;
        let offset = (generation % 2) * SLOT_STRIDE;
        self.file.write_all_at(&encode(generation, progress), offset)?;
        self.generation = generation;
        self.unsynced_since.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// When it shall be synced, if it shall.
    pub(crate) fn sync_at(&self) -> Option<Instant> {
        self.unsynced_since.map(|since| since + SYNC_AFTER)
    }

    /// Makes what was written durable.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        self.unsynced_since = None;
        Ok(())
    }

    /// Asks for no more syncs, after one failed.
    pub(crate) fn give_up(&mut self) {
        self.unsynced_since = None;
    }
}

fn encode(generation: u64, progress: Progress) -> [u8; SLOT_BYTES] {
    let mut slot = [0; SLOT_BYTES];
    slot[..8].copy_from_slice(&MAGIC);
    slot[8..16].copy_from_slice(&generation.to_le_bytes());
    slot[16..24].copy_from_slice(&progress.last.to_le_bytes());
    slot[24..32].copy_from_slice(&progress.settled.to_le_bytes());
    let check_sum = crc32fast::hash(&slot[..32]);
    slot[32..36].copy_from_slice(&check_sum.to_le_bytes());
    slot
}

fn decode(slot: &[u8]) -> Option<(u64, Progress)> {
    let word = |at: usize| Some(u64::from_le_bytes(slot.get(at..at + 8)?.try_into().ok()?));
    let check_sum = u32::from_le_bytes(slot.get(32..36)?.try_into().ok()?);
    if slot.get(..8)? != MAGIC || crc32fast::hash(&slot[..32]) != check_sum {
        return None;
    }
    let progress = Progress { last: word(16)?, settled: word(24)? };
    Some((word(8)?, progress))
}

/// Reads what there is, and says how much; the rest of `bytes` stays zero.
fn read_up_to(file: &File, bytes: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_with_any_bit_flipped_is_not_taken() {
        let progress = Progress { last: 7, settled: 3 };
        let slot = encode(5, progress);
        assert_eq!(decode(&slot), Some((5, progress)));
        for bit in 0..36 * 8 {
            let mut flipped = slot;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&flipped), None, "bit {bit}");
        }
    }
}
