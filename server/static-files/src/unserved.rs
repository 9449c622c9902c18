//! Files that are asked for, are there, and are not served for their names: said once of each kind,
//! so that who wonders about a 404 finds the reason, and who probes fills no log.

use sidecore::lifecycle::stderr;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::path::FilePath;

/// Kinds of which it is said, of all roots together.
const KINDS_MAX: usize = 64;

/// Of the process, for executors may have descriptions of one root of their own.
static REPORTED: Mutex<BTreeSet<(PathBuf, Kind)>> = Mutex::new(BTreeSet::new());

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Dot,
    Extension(Vec<u8>),
}

/// What was reported of the files of one root.
pub(crate) struct Unserved {
    root: PathBuf,
    dotfiles_reported: AtomicBool,
}

impl Unserved {
    pub(crate) fn of(root: PathBuf) -> Self {
        Unserved { root, dotfiles_reported: AtomicBool::new(false) }
    }

    /// Whether nothing would be reported of a name with a dot, so that none need be looked for.
    pub(crate) fn has_reported_dotfiles(&self) -> bool {
        self.dotfiles_reported.load(Ordering::Relaxed)
    }

    /// Reports a file that is there.
    pub(crate) fn report(&self, name: &[u8], is_hidden: bool) {
        let path = self.root.join(String::from_utf8_lossy(name).as_ref());
        if is_hidden {
            self.dotfiles_reported.store(true, Ordering::Relaxed);
            if is_new(&self.root, Kind::Dot) {
                stderr::line(format_args!(
                    "static files: {path:?} is there and not served, for its name begins with a \
                     dot: `dotfiles` serves such; this is said once"
                ));
            }
            return;
        }
        let extension = FilePath::extension(name).unwrap_or_default().to_ascii_lowercase();
        if is_new(&self.root, Kind::Extension(extension)) {
            stderr::line(format_args!(
                "static files: {path:?} is there and not served, for its extension: `content_type` \
                 serves it, `any_type` all; this is said once for each extension"
            ));
        }
    }
}

fn is_new(root: &Path, kind: Kind) -> bool {
    let mut reported = REPORTED.lock().unwrap_or_else(PoisonError::into_inner);
    reported.len() < KINDS_MAX && reported.insert((root.to_owned(), kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_reported_once_for_each_root_and_their_number_is_bounded() {
        let (one, other) = (Path::new("/one"), Path::new("/other"));
        let php = || Kind::Extension(b"php".to_vec());
        assert!(is_new(one, php()) && !is_new(one, php()));
        assert!(is_new(one, Kind::Dot) && is_new(other, php()) && !is_new(one, Kind::Dot));
        let reported = (0..200u8).filter(|&at| is_new(one, Kind::Extension(vec![at]))).count();
        assert!(reported < KINDS_MAX, "{reported}");
    }
}
