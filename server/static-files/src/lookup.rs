//! From a wanted path to the file that answers it: the index of a directory, a compressed variant.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use http::HeaderValue;

use crate::cache::{Cache, CachedFile};
use crate::encodings::{Accepts, Encoding};
use crate::files::Settings;
use crate::path::FilePath;
use crate::read::read_whole;
use crate::tree::{Identity, Opened, ReadMode};

/// What a request wants.
#[derive(Clone)]
pub(crate) struct Wanted {
    pub(crate) path: FilePath,
    pub(crate) accepts: Accepts,
}

/// What is there for it.
pub(crate) enum Found {
    /// Nothing that may be served.
    Nothing,
    /// A directory with an index, whose URL lacks its slash.
    Directory,
    /// A file, but none in a coding that the client accepts.
    NotAcceptable,
    File(Served),
}

/// A file that is to be served.
pub(crate) struct Served {
    /// Its name below the root, without the suffix of a variant.
    pub(crate) name: Vec<u8>,
    pub(crate) content: Content,
    pub(crate) identity: Identity,
    pub(crate) content_type: HeaderValue,
    pub(crate) encoding: Option<Encoding>,
}

/// A file's bytes, or where to read them.
pub(crate) enum Content {
    Held(bytes::Bytes),
    Open(Arc<OwnedFd>),
}

/// The files of one service. The lock of the cache is contended only where clones of the service
/// run on several threads, or a task worker looks for a file.
pub(crate) struct Files {
    pub(crate) settings: Arc<Settings>,
    cache: Mutex<Cache>,
}

enum Loaded {
    File(Content, Identity),
    Directory,
}

impl Files {
    pub(crate) fn new(settings: Arc<Settings>) -> Self {
        let cache = Mutex::new(Cache::new(settings.cache_size_max_bytes, settings.trust));
        Files { settings, cache }
    }

    /// Looks for what is wanted.
    pub(crate) fn find(&self, wanted: &Wanted, mode: ReadMode) -> io::Result<Found> {
        let Wanted { path, accepts } = wanted;
        let Settings { index, types, precompressed, .. } = &*self.settings;
        let mut name = path.name.clone();
        match (path.is_directory, index) {
            (false, _) => {}
            (true, None) => return Ok(Found::Nothing),
            (true, Some(index)) if name.is_empty() => name.extend_from_slice(index.as_bytes()),
            (true, Some(index)) => {
                name.push(b'/');
                name.extend_from_slice(index.as_bytes());
            }
        }
        let content_type = types.of(&name).filter(|_| !path.is_hidden);
        let Some(content_type) = content_type else { return self.unserved(path, &name, mode) };
        let (content, identity) = match self.load(&name, mode)? {
            None => return Ok(Found::Nothing),
            Some(Loaded::Directory) => return self.directory(path, &name, mode),
            Some(Loaded::File(content, identity)) => (content, identity),
        };
        if *precompressed {
            for encoding in accepts.in_order() {
                if let Some((content, identity)) = self.variant(&name, encoding, &identity, mode)? {
                    let encoding = Some(encoding);
                    return Ok(Found::File(Served {
                        name,
                        content,
                        identity,
                        content_type,
                        encoding,
                    }));
                }
            }
            if !accepts.identity() {
                return Ok(Found::NotAcceptable);
            }
        }
        Ok(Found::File(Served { name, content, identity, content_type, encoding: None }))
    }

    /// What no file of is served: a directory all the same, or a file whose owner may wonder.
    fn unserved(&self, path: &FilePath, name: &[u8], mode: ReadMode) -> io::Result<Found> {
        let Settings { index, types, tree, unserved, .. } = &*self.settings;
        if index.is_none() && types.are_chosen() {
            return Ok(Found::Nothing);
        }
        match tree.open(name, mode)? {
            Some(Opened::Directory) if !path.is_hidden => self.directory(path, name, mode),
            Some(Opened::File(..)) => {
                unserved.report(name, path.is_hidden);
                Ok(Found::Nothing)
            }
            _ => Ok(Found::Nothing),
        }
    }

    /// A directory whose index is there, if its URL lacks the slash. One without an index is
    /// nothing: its URL is free for an application's route.
    fn directory(&self, path: &FilePath, name: &[u8], mode: ReadMode) -> io::Result<Found> {
        let Settings { index, types, tree, .. } = &*self.settings;
        let Some(index) = index.as_ref().filter(|_| !path.is_directory) else {
            return Ok(Found::Nothing);
        };
        let name = match name {
            b"" => index.as_bytes().to_vec(),
            name => [name, b"/", index.as_bytes()].concat(),
        };
        let is_served =
            types.of(&name).is_some() && matches!(tree.open(&name, mode)?, Some(Opened::File(..)));
        Ok(if is_served { Found::Directory } else { Found::Nothing })
    }

    /// A compressed variant, unless it is older than the plain file: then it was left behind.
    fn variant(
        &self,
        name: &[u8],
        encoding: Encoding,
        plain: &Identity,
        mode: ReadMode,
    ) -> io::Result<Option<(Content, Identity)>> {
        let name = [name, encoding.suffix().as_bytes()].concat();
        Ok(match self.load(&name, mode)? {
            Some(Loaded::File(content, identity)) if identity.modified >= plain.modified => {
                Some((content, identity))
            }
            _ => None,
        })
    }

    fn load(&self, name: &[u8], mode: ReadMode) -> io::Result<Option<Loaded>> {
        let cached =
            |cached: CachedFile| Loaded::File(Content::Held(cached.bytes), cached.identity);
        if let Some(trusted) = self.cache().trusted(name) {
            return Ok(Some(cached(trusted)));
        }
        let (file, identity) = match self.settings.tree.open(name, mode)? {
            None => return Ok(None),
            Some(Opened::Directory) => return Ok(Some(Loaded::Directory)),
            Some(Opened::File(file, identity)) => (file, identity),
        };
        if identity.size <= self.settings.cached_file_max_bytes {
            if let Some(kept) = self.cache().of_file(name, &identity) {
                return Ok(Some(cached(kept)));
            }
            if let Some(bytes) = read_whole(&file, &identity, mode)? {
                // One that was just written may be written again and keep its times.
                if identity.is_rested(SystemTime::now()) {
                    self.cache().keep(name, CachedFile { bytes: bytes.clone(), identity });
                }
                return Ok(Some(Loaded::File(Content::Held(bytes), identity)));
            }
        }
        Ok(Some(Loaded::File(Content::Open(Arc::new(file)), identity)))
    }

    /// No code that can panic runs under the lock, so poison means nothing here.
    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
