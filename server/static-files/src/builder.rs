//! A description of static files, said piece by piece.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use sidecore::Tasks;
use sidecore::tasks::closures::{Closure, ClosureOutput};

use crate::error::StaticFilesError;
use crate::files::{Settings, StaticFiles};
use crate::read::DiskWorkers;
use crate::rules::{CompiledRule, Rule};
use crate::tree::{Symlinks, Tree};
use crate::types::Types;
use crate::unserved::Unserved;

/// Files up to this size are held in memory, unless it is said otherwise.
const CACHED_FILE_MAX_BYTES: u64 = 256 * 1024;
/// What a service's cache holds, unless it is said otherwise.
const CACHE_SIZE_MAX_BYTES: usize = 32 * 1024 * 1024;

/// A [`StaticFiles`] that is being described.
pub struct StaticFilesBuilder {
    root: PathBuf,
    prefix: String,
    index: Option<String>,
    only: Option<Vec<String>>,
    types: Vec<(String, String)>,
    any_type: bool,
    dotfiles: bool,
    symlinks: Symlinks,
    rules: Vec<(String, Rule)>,
    precompressed: bool,
    cached_file_max_bytes: u64,
    cache_size_max_bytes: usize,
    trust: Duration,
    disk_workers: DiskWorkers,
}

impl StaticFilesBuilder {
    pub(crate) fn new(root: &Path) -> Self {
        StaticFilesBuilder {
            root: root.to_owned(),
            prefix: String::new(),
            index: Some("index.html".to_owned()),
            only: None,
            types: Vec::new(),
            any_type: false,
            dotfiles: false,
            symlinks: Symlinks::default(),
            rules: Vec::new(),
            precompressed: false,
            cached_file_max_bytes: CACHED_FILE_MAX_BYTES,
            cache_size_max_bytes: CACHE_SIZE_MAX_BYTES,
            trust: Duration::ZERO,
            disk_workers: DiskWorkers::default(),
        }
    }

    /// Serves them below this path, such as `/assets`. Several layers map several roots. Replaces
    /// mezzio-swoole's mapped document roots.
    pub fn under(self, prefix: impl Into<String>) -> Self {
        StaticFilesBuilder { prefix: prefix.into(), ..self }
    }

    /// The file that answers for its directory. Replaces Swoole's `http_index_files`.
    pub fn index(self, name: impl Into<String>) -> Self {
        StaticFilesBuilder { index: Some(name.into()), ..self }
    }

    /// Directories have no index. Together with [`only`](Self::only), paths that end in none of
    /// its extensions are then none of a file, and cost no look at the disk.
    pub fn no_index(self) -> Self {
        StaticFilesBuilder { index: None, ..self }
    }

    /// Serves files of these extensions only.
    pub fn only<T: Into<String>>(self, extensions: impl IntoIterator<Item = T>) -> Self {
        StaticFilesBuilder { only: Some(extensions.into_iter().map(T::into).collect()), ..self }
    }

    /// Serves this extension too, or as this type. Replaces mezzio-swoole's `type-map`.
    pub fn content_type(mut self, extension: impl Into<String>, value: impl Into<String>) -> Self {
        self.types.push((extension.into(), value.into()));
        self
    }

    /// Serves files of any extension, those too that are otherwise [not](StaticFiles::of) served
    /// for theirs: for a tree in which there is nothing but what is to be served.
    pub fn any_type(self) -> Self {
        StaticFilesBuilder { any_type: true, ..self }
    }

    /// Serves files and directories too whose names begin with a dot; without it of those
    /// `/.well-known/` alone.
    pub fn dotfiles(self) -> Self {
        StaticFilesBuilder { dotfiles: true, ..self }
    }

    /// Which symbolic links are followed.
    pub fn symlinks(self, symlinks: Symlinks) -> Self {
        StaticFilesBuilder { symlinks, ..self }
    }

    /// What Cache-Control says of files of a pattern; see [`rule`](Self::rule).
    pub fn cache_control(self, pattern: impl Into<String>, value: impl Into<String>) -> Self {
        self.rule(pattern, Rule::new().cache_control(value))
    }

    /// Says something of the files whose path, from the root on, matches the pattern: `*` stands
    /// for anything, slashes included, as in `/img/*` and `*.css`. Of several rules that fit the
    /// first that says a thing counts for it.
    pub fn rule(mut self, pattern: impl Into<String>, rule: Rule) -> Self {
        self.rules.push((pattern.into(), rule));
        self
    }

    /// Sends `style.css.br`, `.zst` or `.gz` in the place of `style.css` to who accepts it. The
    /// plain file must be there as well, and no newer: a variant that was left behind is not sent.
    pub fn precompressed(self) -> Self {
        StaticFilesBuilder { precompressed: true, ..self }
    }

    /// Holds contents of `size_max_bytes` in each service's cache, of files up to
    /// `file_max_bytes`; 32 MiB and 256 KiB without it. Larger files are read as they are sent.
    /// Zero for `size_max_bytes` and `file_max_bytes`: nothing is held.
    pub fn cache(self, size_max_bytes: usize, file_max_bytes: u64) -> Self {
        let (cache_size_max_bytes, cached_file_max_bytes) = (size_max_bytes, file_max_bytes);
        StaticFilesBuilder { cache_size_max_bytes, cached_file_max_bytes, ..self }
    }

    /// Looks at a held file again after so long only; without it at each request (an open, a
    /// look at its metadata and a close).
    pub fn trust_for(self, trust: Duration) -> Self {
        StaticFilesBuilder { trust, ..self }
    }

    /// Has these task workers wait for the disk, where a file is in no cache of the kernel's: a
    /// pool of closures, best one that does nothing else. Without it, and where its queue is full,
    /// the executor waits itself, a piece of a file at a time.
    pub fn waiting_on(self, tasks: Tasks<Closure, ClosureOutput>) -> Self {
        StaticFilesBuilder { disk_workers: DiskWorkers(Some(tasks)), ..self }
    }

    /// Opens the root. It is opened once: a directory that takes its place is not seen.
    ///
    /// # Errors
    /// [`StaticFilesError`], where the root is no directory that can be read, or a setting makes no
    /// sense.
    pub fn build(self) -> Result<StaticFiles, StaticFilesError> {
        self.check_paths()?;
        let types = types(self.only, self.types, self.any_type)?;
        let rules = self.rules.into_iter().map(ruled).collect::<Result<_, _>>()?;
        let tree = Tree::open_root(&self.root, self.symlinks)
            .map_err(|cause| StaticFilesError::Root { root: self.root.clone(), cause })?;
        let settings = Settings {
            tree,
            prefix: self.prefix,
            index: self.index,
            types,
            unserved: Unserved::of(self.root),
            dotfiles: self.dotfiles,
            rules,
            precompressed: self.precompressed,
            cached_file_max_bytes: self.cached_file_max_bytes,
            cache_size_max_bytes: self.cache_size_max_bytes,
            trust: self.trust,
            disk_workers: self.disk_workers,
        };
        Ok(StaticFiles { settings: Arc::new(settings) })
    }

    fn check_paths(&self) -> Result<(), StaticFilesError> {
        let StaticFilesBuilder { prefix, index, .. } = self;
        let ends = prefix.ends_with('/') || (!prefix.is_empty() && !prefix.starts_with('/'));
        if ends {
            return Err(StaticFilesError::Prefix(prefix.clone()));
        }
        match index.as_ref().filter(|index| index.is_empty() || index.contains('/')) {
            Some(index) => Err(StaticFilesError::Index(index.clone())),
            None => Ok(()),
        }
    }
}

fn types(
    only: Option<Vec<String>>,
    added: Vec<(String, String)>,
    any_type: bool,
) -> Result<Types, StaticFilesError> {
    let mut types = Types::known();
    if let Some(only) = only {
        types.keep(only);
    }
    for (extension, value) in added {
        types.add(&extension, value_of(&extension, &value)?);
    }
    if any_type {
        types.add_all();
    }
    Ok(types)
}

fn ruled((pattern, rule): (String, Rule)) -> Result<CompiledRule, StaticFilesError> {
    let Rule { cache_control, entity_tags, last_modified } = rule;
    let cache_control = cache_control.map(|value| value_of(&pattern, &value)).transpose()?;
    Ok(CompiledRule { pattern, cache_control, entity_tags, last_modified })
}

fn value_of(of: &str, value: &str) -> Result<HeaderValue, StaticFilesError> {
    let error = || StaticFilesError::Value { of: of.to_owned(), value: value.to_owned() };
    HeaderValue::try_from(value).map_err(|_| error())
}
