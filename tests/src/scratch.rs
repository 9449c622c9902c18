//! A directory for one test.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A new directory that goes with the test.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes it, with `name` in its name.
    pub fn new(name: &str) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("{name}-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the temporary directory can be written");
        Scratch(path)
    }

    /// One that another process has made.
    pub fn existing(path: PathBuf) -> Self {
        Scratch(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Another with copies of its files.
    pub fn copy(&self, name: &str) -> Scratch {
        let copy = Scratch::new(name);
        for entry in std::fs::read_dir(&self.0).expect("it is there") {
            let entry = entry.expect("it can be listed");
            std::fs::copy(entry.path(), copy.0.join(entry.file_name())).expect("files are copied");
        }
        copy
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
