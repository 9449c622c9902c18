//! The tree of files that is served: opened once, and never left.
//!
//! A file is opened by openat2(2) relative to the root's descriptor. The kernel walks the path and
//! refuses each step that would lead out, links and renames under way included, so that there is
//! no moment between a check and its use.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::io::Errno;

/// Attempts of an open that meets renames of what it walks through.
const OPENS_MAX: usize = 4;
/// From the second of a file's last change on it may be changed again and keep its times, until the
/// next one has begun; one more for clocks of another grain.
pub(crate) const REST_S: u64 = 2;

/// Which symbolic links are followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Symlinks {
    /// None: a path with one names no file.
    Refused,
    /// Those that stay beneath the root. An absolute one does not, wherever it leads.
    #[default]
    Within,
    /// All: who can make a link in the tree can have any file served that the server may read.
    Anywhere,
}

/// Whether a look at the disk may wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadMode {
    /// It fails with `WouldBlock` instead: for executors.
    Cached,
    /// It waits: for task workers.
    Blocking,
}

pub(crate) struct Tree {
    root: OwnedFd,
    resolve: ResolveFlags,
}

/// What tells one content of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) size: u64,
    /// Seconds since the epoch, and nanoseconds.
    pub(crate) modified: (i64, u32),
    /// Of the inode, which nobody can set: a file that replaces another differs in it.
    pub(crate) changed: (i64, u32),
}

/// What a name leads to.
pub(crate) enum Opened {
    File(OwnedFd, Identity),
    Directory,
}

impl Tree {
    pub(crate) fn open_root(root: &Path, symlinks: Symlinks) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(root, flags, Mode::empty())?;
        let resolve = ResolveFlags::NO_MAGICLINKS
            | match symlinks {
                Symlinks::Refused => ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
                Symlinks::Within => ResolveFlags::BENEATH,
                Symlinks::Anywhere => ResolveFlags::empty(),
            };
        let tree = Tree { root, resolve };
        // A sandbox that denies openat2 is found out here.
        tree.open_at(c".", ReadMode::Blocking)?;
        Ok(tree)
    }

    /// Opens a name; None where nothing that may be served is there.
    pub(crate) fn open(&self, name: &[u8], mode: ReadMode) -> io::Result<Option<Opened>> {
        let Ok(name) = CString::new(name) else { return Ok(None) };
        let name = if name.is_empty() { c".".to_owned() } else { name };
        let file = match self.open_at(&name, mode) {
            Ok(file) => file,
            Err(errno) if is_absent(errno) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        let stat = fstat(&file)?;
        Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Some(Opened::File(file, Identity::of(&stat))),
            FileType::Directory => Some(Opened::Directory),
            _ => None,
        })
    }

    fn open_at(&self, name: &std::ffi::CStr, mode: ReadMode) -> rustix::io::Result<OwnedFd> {
        // NONBLOCK: the open of a pipe would wait for its writer.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let resolve = match mode {
            ReadMode::Cached => self.resolve | ResolveFlags::CACHED,
            ReadMode::Blocking => self.resolve,
        };
        let mut attempts = 1;
        loop {
            match openat2(&self.root, name, flags, Mode::empty(), resolve) {
                // openat2(2): something was renamed meanwhile, and the walk could not be vouched
                // for. To a cached look it means that the disk would be asked.
                Err(Errno::AGAIN) if mode == ReadMode::Blocking && attempts < OPENS_MAX => {
                    attempts += 1
                }
                Err(Errno::INTR) => {}
                opened => return opened,
            }
        }
    }
}

/// Errors that say that a name leads to nothing, as far as a client is told.
fn is_absent(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::NOENT
            | Errno::NOTDIR
            | Errno::NAMETOOLONG
            | Errno::LOOP
            | Errno::XDEV
            | Errno::ACCESS
            | Errno::PERM
            | Errno::NXIO
            | Errno::INVAL
            | Errno::ILSEQ
    )
}

impl Identity {
    fn of(stat: &rustix::fs::Stat) -> Self {
        Identity {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0)),
            changed: (stat.st_ctime, u32::try_from(stat.st_ctime_nsec).unwrap_or(0)),
        }
    }

    /// Of an open file, as it is now.
    pub(crate) fn now(file: impl AsFd) -> io::Result<Self> {
        Ok(Identity::of(&fstat(file)?))
    }

    /// Whether the clock that stamps the file has gone on since its last change, so that another
    /// one cannot leave its times as they are.
    pub(crate) fn is_rested(&self, now: SystemTime) -> bool {
        let changed = u64::try_from(self.changed.0).unwrap_or(0);
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        now >= changed.saturating_add(REST_S)
    }

    /// Whether the content is the same. That a file was renamed over or its mode was changed shows
    /// in `changed` alone and does not matter to who has it open.
    pub(crate) fn has_content_of(&self, other: &Identity) -> bool {
        (self.size, self.modified) == (other.size, other.modified)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_change_is_rested_when_its_second_and_the_next_are_over() {
        let identity =
            Identity { device: 1, inode: 1, size: 1, modified: (5, 0), changed: (1000, 999) };
        let at = |ms| identity.is_rested(UNIX_EPOCH + Duration::from_millis(ms));
        assert!(!at(0) && !at(1_000_000) && !at(1_001_999) && at(1_002_000));
    }

    #[test]
    fn the_root_itself_is_a_directory_and_what_is_outside_is_nothing() {
        let tree = Tree::open_root(Path::new("/proc/self"), Symlinks::Within).unwrap();
        let open = |name: &[u8]| tree.open(name, ReadMode::Blocking).unwrap();
        assert!(matches!(open(b""), Some(Opened::Directory)));
        // What the decoder of paths refuses, the kernel refuses as well.
        for outside in ["..", "../version", "/proc/version", "task/../../version", "exe", "root"] {
            assert!(open(outside.as_bytes()).is_none(), "{outside}");
        }
        assert!(open(b"a\0b").is_none());
        assert!(matches!(open(b"status"), Some(Opened::File(..))));
    }
}
