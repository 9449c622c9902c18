//! Static files, as a layer before an application or as a service of their own.
//!
//! ```no_run
//! use sidecore::{Config, Incoming, Request, Response, Server};
//! use sidecore_static_files::StaticFiles;
//! use tower::{Layer, service_fn};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let files = StaticFiles::of("public")
//!         .cache_control("/assets/*", "public, max-age=31536000, immutable")
//!         .cache_control("*", "no-cache")
//!         .precompressed()
//!         .build()?;
//!     Server::new(Config::load()?).serve(move |_worker| {
//!         // A file where there is one; what is none is the application's.
//!         files.layer(service_fn(async |_: Request<Incoming>| {
//!             Ok::<_, std::convert::Infallible>(Response::new("made here".to_owned()))
//!         }))
//!     })?;
//!     Ok(())
//! }
//! ```
//!
//! It replaces Swoole's `document_root` and `static_handler_locations`, and mezzio-swoole's static
//! resource handler with its middleware: the list of types, methods with OPTIONS and 405, HEAD,
//! conditional requests, `cache-control`, `etag` and `last-modified` by pattern, compressed files
//! (made beforehand rather than by each request: [`precompressed`]), mapped roots
//! ([`under`]). Beyond these: byte ranges, and a directory's index.
//!
//! A request's path is decoded (`path.rs`), leads to a file (`lookup.rs`, `tree.rs`), and what is sent
//! of that is decided after RFC 9110 (`answer.rs`). Nothing of it waits for a disk on an executor where
//! [`waiting_on`] gives it task workers to do so.
//!
//! [`precompressed`]: StaticFilesBuilder::precompressed
//! [`under`]: StaticFilesBuilder::under
//! [`waiting_on`]: StaticFilesBuilder::waiting_on

#![forbid(unsafe_code)]

mod answer;
mod body;
mod cache;
mod conditions;
mod encodings;
mod lookup;
mod path;
mod range;
mod read;
mod rules;
mod service;
mod tree;
mod types;
mod unserved;
mod validators;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

pub use crate::body::{FileBody, FileError};
pub use crate::rules::{EntityTags, Rule};
pub use crate::service::{FilesBody, NotFound, ServeFiles, Serving};
pub use crate::tree::Symlinks;

use crate::read::Waiters;
use crate::rules::Ruled;
use crate::tree::Tree;
use crate::types::Types;
use crate::unserved::Unserved;
use sidecore::Tasks;
use sidecore::closures::{Closure, ClosureOutput};

/// Files up to this size are held in memory, unless it is said otherwise.
const CACHED_FILE_MAX_BYTES: u64 = 256 * 1024;
/// What a service's cache holds, unless it is said otherwise.
const CACHE_SIZE_MAX_BYTES: usize = 32 * 1024 * 1024;

/// The files of a directory, to be served: a [`Layer`](tower_layer::Layer), or by
/// [`service`](Self::service) a service. Cheap to clone.
///
/// Each service that it makes has a cache of its own, so make one on each executor, in
/// [`Server::serve`](sidecore::Server::serve)'s closure, around the whole application.
#[derive(Clone)]
pub struct StaticFiles {
    settings: Arc<Settings>,
}

/// What the services of one [`StaticFiles`] share.
struct Settings {
    tree: Tree,
    prefix: String,
    index: Option<String>,
    types: Types,
    unserved: Unserved,
    dotfiles: bool,
    rules: Vec<Ruled>,
    precompressed: bool,
    cached_file_max_bytes: u64,
    cache_size_max_bytes: usize,
    trust: Duration,
    waiters: Waiters,
}

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
    waiters: Waiters,
}

/// Static files cannot be served so.
#[derive(Debug)]
pub enum StaticFilesError {
    /// The root cannot be opened.
    Root {
        /// Where it should be.
        root: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A value cannot be that of a field.
    Value {
        /// The pattern or extension it was given for.
        of: String,
        /// The value.
        value: String,
    },
    /// A prefix that is no path: it begins with a slash and does not end with one.
    Prefix(String),
    /// An index that is no file's name.
    Index(String),
}

impl StaticFiles {
    /// Begins a description: the files of the directory `root`, with `index.html` as the index of
    /// directories and symbolic links followed [within it](Symlinks::Within).
    ///
    /// Types are those of a table of some thousand extensions; what it does not have, or has none,
    /// is `application/octet-stream`. Not served are names that begin with a dot but for
    /// `/.well-known/` (RFC 8615), sources of programs that other servers run (`.php`, `.phtml`,
    /// `.phar`, `.cgi`, `.asp`, `.aspx`, `.jsp`) and what editors leave behind (`.bak`, `.orig`,
    /// `.swp`, `…~`). The first such file that is asked for and is there is named on standard error,
    /// once for each extension.
    pub fn of(root: impl AsRef<Path>) -> StaticFilesBuilder {
        StaticFilesBuilder {
            root: root.as_ref().to_owned(),
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
            waiters: Waiters::default(),
        }
    }
}

impl StaticFilesBuilder {
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
        StaticFilesBuilder { waiters: Waiters(Some(tasks)), ..self }
    }

    /// Opens the root. It is opened once: a directory that takes its place is not seen.
    pub fn build(self) -> Result<StaticFiles, StaticFilesError> {
        let StaticFilesBuilder { root, prefix, index, .. } = self;
        let ends = prefix.ends_with('/') || (!prefix.is_empty() && !prefix.starts_with('/'));
        if ends {
            return Err(StaticFilesError::Prefix(prefix));
        }
        if let Some(index) = index.as_ref().filter(|index| index.is_empty() || index.contains('/'))
        {
            return Err(StaticFilesError::Index(index.clone()));
        }
        let mut types = Types::known();
        if let Some(only) = self.only {
            types.keep(only);
        }
        for (extension, value) in self.types {
            types.add(&extension, value_of(&extension, &value)?);
        }
        if self.any_type {
            types.add_all();
        }
        let rules = self.rules.into_iter().map(ruled).collect::<Result<_, _>>()?;
        let tree = Tree::open_root(&root, self.symlinks)
            .map_err(|cause| StaticFilesError::Root { root: root.clone(), cause })?;
        let settings = Settings {
            tree,
            prefix,
            index,
            types,
            unserved: Unserved::of(root),
            dotfiles: self.dotfiles,
            rules,
            precompressed: self.precompressed,
            cached_file_max_bytes: self.cached_file_max_bytes,
            cache_size_max_bytes: self.cache_size_max_bytes,
            trust: self.trust,
            waiters: self.waiters,
        };
        Ok(StaticFiles { settings: Arc::new(settings) })
    }
}

fn ruled((pattern, rule): (String, Rule)) -> Result<Ruled, StaticFilesError> {
    let Rule { cache_control, entity_tags, last_modified } = rule;
    let cache_control = cache_control.map(|value| value_of(&pattern, &value)).transpose()?;
    Ok(Ruled { pattern, cache_control, entity_tags, last_modified })
}

fn value_of(of: &str, value: &str) -> Result<HeaderValue, StaticFilesError> {
    let error = || StaticFilesError::Value { of: of.to_owned(), value: value.to_owned() };
    HeaderValue::try_from(value).map_err(|_| error())
}

impl fmt::Debug for StaticFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticFiles").field("prefix", &self.settings.prefix).finish_non_exhaustive()
    }
}

impl fmt::Display for StaticFilesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StaticFilesError::Root { root, cause } => write!(
                f,
                "static files: the root {} cannot be opened: {cause}; it must be a directory that \
                 the server may read, and openat2(2) must be permitted",
                root.display()
            ),
            StaticFilesError::Value { of, value } => write!(
                f,
                "static files: {value:?}, given for {of:?}, cannot be the value of a field: use \
                 printable ASCII"
            ),
            StaticFilesError::Prefix(prefix) => write!(
                f,
                "static files: the prefix {prefix:?} must begin with a slash and not end with one"
            ),
            StaticFilesError::Index(index) => {
                write!(f, "static files: the index {index:?} must be the name of a file")
            }
        }
    }
}

impl std::error::Error for StaticFilesError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StaticFilesError::Root { cause, .. } => Some(cause),
            _ => None,
        }
    }
}
