//! The files of a journal, and what a name may be.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::JournalError;

/// Bytes of a name, so that every file name made of it stays far below 255.
const NAME_BYTES_MAX: usize = 64;

/// Where a journal's files are.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    pub(crate) directory: PathBuf,
    /// The database; SQLite keeps `-wal` and `-shm` beside it.
    pub(crate) database: PathBuf,
    /// The high-water mark, which is the lock too.
    pub(crate) mark: PathBuf,
    /// The attempts that have begun.
    pub(crate) attempts: PathBuf,
    /// A salvaged database that is being written.
    pub(crate) part: PathBuf,
    /// A salvaged database that is whole and shall take the broken one's place.
    pub(crate) salvaged: PathBuf,
    name: String,
}

impl Paths {
    pub(crate) fn new(directory: &Path, name: &str) -> Result<Self, JournalError> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(fits) {
            return Err(JournalError::name(name));
        }
        let file = |ending: &str| directory.join(format!("{name}.{ending}"));
        Ok(Paths {
            directory: directory.to_owned(),
            database: file("sqlite"),
            mark: file("mark"),
            attempts: file("begun"),
            part: file("part"),
            salvaged: file("salvaged"),
            name: name.to_owned(),
        })
    }

    /// The WAL of a database file.
    pub(crate) fn wal(database: &Path) -> PathBuf {
        beside(database, "-wal")
    }

    /// The shared memory of a database file.
    pub(crate) fn shm(database: &Path) -> PathBuf {
        beside(database, "-shm")
    }

    /// A free name for a broken database; the `sqlite3` shell finds its WAL by it.
    pub(crate) fn set_aside(&self) -> PathBuf {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut stamp = since.as_millis();
        loop {
            let path = self.directory.join(format!("{}.damaged-{stamp}.sqlite", self.name));
            if !path.exists() && !Paths::wal(&path).exists() {
                return path;
            }
            stamp += 1;
        }
    }

    /// Makes creations and renames in the directory durable.
    pub(crate) fn sync_directory(&self) -> Result<(), JournalError> {
        File::open(&self.directory)
            .and_then(|directory| directory.sync_all())
            .map_err(|cause| JournalError::io("sync", &self.directory, cause))
    }
}

fn beside(database: &Path, ending: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(ending);
    name.into()
}
