//! The files of a directory, as they are described.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::builder::StaticFilesBuilder;
use crate::read::DiskWorkers;
use crate::rules::CompiledRule;
use crate::tree::Tree;
use crate::types::Types;
use crate::unserved::Unserved;

/// The files of a directory, to be served: a [`Layer`](tower_layer::Layer), or by
/// [`service`](Self::service) a service. Cheap to clone.
///
/// Each service that it makes has a cache of its own, so make one on each executor, in
/// [`Server::serve`](sidecore::Server::serve)'s closure, around the whole application.
#[derive(Clone)]
pub struct StaticFiles {
    pub(crate) settings: Arc<Settings>,
}

/// What the services of one [`StaticFiles`] share.
pub(crate) struct Settings {
    pub(crate) tree: Tree,
    pub(crate) prefix: String,
    pub(crate) index: Option<String>,
    pub(crate) types: Types,
    pub(crate) unserved: Unserved,
    pub(crate) dotfiles: bool,
    pub(crate) rules: Vec<CompiledRule>,
    pub(crate) precompressed: bool,
    pub(crate) cached_file_max_bytes: u64,
    pub(crate) cache_size_max_bytes: usize,
    pub(crate) trust: Duration,
    pub(crate) disk_workers: DiskWorkers,
}

impl StaticFiles {
    /// Begins a description: the files of the directory `root`, with `index.html` as the index of
    /// directories and symbolic links followed [within it](crate::Symlinks::Within).
    ///
    /// Types are those of a table of some thousand extensions; what it does not have, or has none,
    /// is `application/octet-stream`. Not served are names that begin with a dot but for
    /// `/.well-known/` (RFC 8615), sources of programs that other servers run (`.php`, `.phtml`,
    /// `.phar`, `.cgi`, `.asp`, `.aspx`, `.jsp`) and what editors leave behind (`.bak`, `.orig`,
    /// `.swp`, `…~`). The first such file that is asked for and is there is named on standard error,
    /// once for each extension.
    pub fn of(root: impl AsRef<Path>) -> StaticFilesBuilder {
        StaticFilesBuilder::new(root.as_ref())
    }
}

impl fmt::Debug for StaticFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticFiles").field("prefix", &self.settings.prefix).finish_non_exhaustive()
    }
}
