//! The contents of small files, kept in memory: so many bytes at most.
//!
//! An entry is good for the file that it was read from, told by its [`Identity`]; who asks has
//! looked at the file, unless the entry may be trusted for a while. Where room is needed the
//! entries are gone through as by the hand of a clock: one that was used since the last time round is
//! passed over once, another goes.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::tree::Identity;

/// What an entry costs beside its bytes and its name, at a rough guess: so that many empty files
/// are bounded as well.
const ENTRY_BYTES: usize = 256;

/// A file's content, as it was read.
#[derive(Clone)]
pub(crate) struct CachedFile {
    pub(crate) bytes: Bytes,
    pub(crate) identity: Identity,
}

pub(crate) struct Cache {
    entries: HashMap<Arc<[u8]>, Entry>,
    clock: VecDeque<Arc<[u8]>>,
    size_bytes: usize,
    size_max_bytes: usize,
    trust: Duration,
}

struct Entry {
    file: CachedFile,
    used: bool,
    looked_at: Instant,
}

impl Cache {
    pub(crate) fn new(size_max_bytes: usize, trust: Duration) -> Self {
        let (entries, clock) = Default::default();
        Cache { entries, clock, size_bytes: 0, size_max_bytes, trust }
    }

    /// An entry that needs no look at its file yet.
    pub(crate) fn trusted(&mut self, name: &[u8]) -> Option<CachedFile> {
        if self.trust.is_zero() {
            return None;
        }
        let entry = self.entries.get_mut(name)?;
        entry.used = true;
        (entry.looked_at.elapsed() < self.trust).then(|| entry.file.clone())
    }

    /// An entry, if the file is still the one that it was read from.
    pub(crate) fn of_file(&mut self, name: &[u8], identity: &Identity) -> Option<CachedFile> {
        let entry = self.entries.get_mut(name).filter(|entry| entry.file.identity == *identity)?;
        entry.used = true;
        if !self.trust.is_zero() {
            entry.looked_at = Instant::now();
        }
        Some(entry.file.clone())
    }

    /// Keeps a content, in the place of an older one.
    pub(crate) fn keep(&mut self, name: &[u8], file: CachedFile) {
        let size = size_of(name, &file);
        if size > self.size_max_bytes {
            return;
        }
        let entry = Entry { file, used: false, looked_at: Instant::now() };
        match self.entries.get_mut(name) {
            Some(old) => {
                self.size_bytes -= size_of(name, &old.file);
                *old = entry;
            }
            None => {
                let name: Arc<[u8]> = name.into();
                self.clock.push_back(name.clone());
                self.entries.insert(name, entry);
            }
        }
        self.size_bytes += size;
        self.make_room();
    }

    fn make_room(&mut self) {
        while self.size_bytes > self.size_max_bytes {
            let Some(name) = self.clock.pop_front() else { return };
            let Some(entry) = self.entries.get_mut(&name) else { continue };
            if std::mem::take(&mut entry.used) {
                self.clock.push_back(name);
            } else {
                self.size_bytes -= size_of(&name, &entry.file);
                self.entries.remove(&name);
            }
        }
    }
}

fn size_of(name: &[u8], file: &CachedFile) -> usize {
    ENTRY_BYTES + name.len() + file.bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(inode: u64, size: usize) -> CachedFile {
        let (modified, changed) = ((0, 0), (0, 0));
        let identity = Identity { device: 1, inode, size: size as u64, modified, changed };
        CachedFile { bytes: vec![b'x'; size].into(), identity }
    }

    #[test]
    fn it_never_holds_more_than_it_may_and_keeps_what_is_used() {
        let mut cache = Cache::new(10_000, Duration::ZERO);
        let popular = file(0, 1000);
        cache.keep(b"popular", popular.clone());
        for number in 1..100_u64 {
            let name = number.to_string();
            cache.keep(name.as_bytes(), file(number, 1500));
            let counted: usize =
                cache.entries.iter().map(|(name, entry)| size_of(name, &entry.file)).sum();
            assert_eq!(counted, cache.size_bytes);
            assert!(cache.size_bytes <= 10_000 && cache.clock.len() == cache.entries.len());
            assert!(cache.of_file(b"popular", &popular.identity).is_some(), "after {number}");
        }
        assert!(cache.of_file(b"1", &file(1, 1500).identity).is_none());
        cache.keep(b"huge", file(200, 20_000));
        assert!(cache.of_file(b"huge", &file(200, 20_000).identity).is_none());
    }

    #[test]
    fn an_entry_of_another_file_is_none_and_gives_way() {
        let mut cache = Cache::new(10_000, Duration::ZERO);
        cache.keep(b"a", file(1, 10));
        assert!(cache.of_file(b"a", &file(2, 10).identity).is_none());
        assert!(cache.trusted(b"a").is_none());
        cache.keep(b"a", file(2, 20));
        assert_eq!(cache.of_file(b"a", &file(2, 20).identity).unwrap().bytes.len(), 20);
        assert_eq!((cache.entries.len(), cache.clock.len()), (1, 1));
    }

    #[test]
    fn a_trusted_entry_is_looked_at_after_its_time() {
        let mut cache = Cache::new(10_000, Duration::from_millis(200));
        cache.keep(b"a", file(1, 10));
        assert!(cache.trusted(b"a").is_some());
        std::thread::sleep(Duration::from_millis(250));
        assert!(cache.trusted(b"a").is_none());
        assert!(cache.of_file(b"a", &file(1, 10).identity).is_some());
        assert!(cache.trusted(b"a").is_some());
    }
}
