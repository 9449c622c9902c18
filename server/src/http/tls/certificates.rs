//! Certificates and their keys, from PEM files, renewed while the server runs.
//!
//! What handshakes are made with is one value, replaced as a whole. Each executor keeps its own
//! reference and looks at a version number with each handshake; only after a change does it take
//! the lock to get the next. A handshake that has begun ends with what it began with.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ProducesTickets, ServerConnection};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{InconsistentKeys, ServerConfig};

use crate::http::tls::by_name::{ByName, Named};
use crate::http::tls::error::{CertificateError, CertificateProblem};
use crate::http::tls::warnings::{Worry, worries};
use crate::http::tls::x509::{Facts, KeyKind};

/// The protocols that may be offered (RFC 7301), best first.
pub(crate) const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// Certificates with their keys. Cheap to clone: the clones are one, and reloaded together.
#[derive(Clone)]
pub struct Certificates {
    shared: Arc<CertificatesShared>,
}

struct CertificatesShared {
    files: Vec<Files>,
    tickets: Arc<dyn ProducesTickets>,
    current: Mutex<Loaded>,
    /// Of `current`: one more with each reload. Written under its lock, so a reader that sees
    /// a version and then takes the lock finds that one or a later: it is Relaxed.
    version: AtomicU64,
}

struct Loaded {
    config: Arc<ServerConfig>,
    /// Of each certificate in each chain, where it could be understood.
    facts: Vec<(PathBuf, Vec<Option<Facts>>)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Files {
    chain: PathBuf,
    key: PathBuf,
}

impl Certificates {
    /// Reads a certificate, with those up to the root behind it, and its key.
    ///
    /// # Errors
    /// [`CertificateError`], which names the file and the cure.
    pub fn from_pem_files(
        chain: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Result<Self, CertificateError> {
        Self::from_pem_pairs([(chain, key)])
    }

    /// Reads several, each with its key. A client gets the first one that is valid for the name that
    /// it asks for (SNI, RFC 6066 §3), wildcards included; else the first of all. Of several of one
    /// name, with keys of several kinds, it gets the first that it can verify: so an ECDSA
    /// certificate is followed by an RSA one, for clients that know nothing newer.
    ///
    /// What clients will refuse, such as one that has expired, is told on standard error, and by
    /// [`warnings`](Self::warnings).
    ///
    /// # Errors
    /// [`CertificateError`], which names the file and the cure.
    pub fn from_pem_pairs(
        pairs: impl IntoIterator<Item = (impl Into<PathBuf>, impl Into<PathBuf>)>,
    ) -> Result<Self, CertificateError> {
        let files = |(chain, key): (_, _)| Files { chain: Into::into(chain), key: Into::into(key) };
        let files: Vec<_> = pairs.into_iter().map(|(c, k)| files((c.into(), k.into()))).collect();
        let tickets = ring::Ticketer::new().map_err(|error| {
            CertificateError::new(Path::new(""), CertificateProblem::Unusable(error))
        })?;
        let current = Mutex::new(load(&files, &tickets)?);
        let version = AtomicU64::new(0);
        Ok(Certificates {
            shared: Arc::new(CertificatesShared { files, tickets, current, version }),
        })
    }

    /// Reads the files again. Handshakes from now on are made with what they hold; connections that
    /// are open stay. Where a file is at fault all goes on with what was read before.
    ///
    /// # Errors
    /// [`CertificateError`], which names the file and the cure.
    pub fn reload(&self) -> Result<(), CertificateError> {
        let shared = &self.shared;
        let loaded = load(&shared.files, &shared.tickets)?;
        let mut current = shared.current.lock().unwrap_or_else(PoisonError::into_inner);
        *current = loaded;
        shared.version.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// What clients refuse, now, of the certificates that are in use, a line for each: one that has
    /// expired or is not valid yet (those behind it in its chain too), or is for no name.
    pub fn warnings(&self) -> Vec<String> {
        let current = self.shared.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.worries().iter().map(Worry::to_string).collect()
    }

    fn current(&self) -> Arc<ServerConfig> {
        self.shared.current.lock().unwrap_or_else(PoisonError::into_inner).config.clone()
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("files", &self.shared.files).finish_non_exhaustive()
    }
}

/// What one executor begins handshakes with.
pub(crate) struct Acceptor {
    certificates: Certificates,
    /// Best first.
    protocols: Vec<Vec<u8>>,
    version: Cell<u64>,
    config: RefCell<Arc<ServerConfig>>,
}

impl Acceptor {
    /// With `http2` that is offered, before HTTP/1.1.
    pub(crate) fn new(certificates: Certificates, http2: bool) -> Self {
        let protocols: &[&[u8]] = if http2 { &[HTTP2, HTTP1] } else { &[HTTP1] };
        let protocols: Vec<_> = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        // The version first: read after, it might be that of a later configuration.
        let version = Cell::new(certificates.shared.version.load(Ordering::Relaxed));
        let config = RefCell::new(offering(&certificates, &protocols));
        Acceptor { certificates, protocols, version, config }
    }

    /// A connection before its first byte.
    pub(crate) fn begin(&self) -> Result<ServerConnection, rustls::Error> {
        let version = self.certificates.shared.version.load(Ordering::Relaxed);
        if self.version.replace(version) != version {
            *self.config.borrow_mut() = offering(&self.certificates, &self.protocols);
        }
        ServerConnection::new(self.config.borrow().clone())
    }
}

/// What the handshakes of a server are made with: certificates may be those of several servers,
/// which need not offer the same.
fn offering(certificates: &Certificates, protocols: &[Vec<u8>]) -> Arc<ServerConfig> {
    let mut config = ServerConfig::clone(&certificates.current());
    config.alpn_protocols = protocols.to_vec();
    Arc::new(config)
}

impl Loaded {
    fn worries(&self) -> Vec<Worry<'_>> {
        let now = SystemTime::now();
        self.facts.iter().flat_map(|(file, chain)| worries(file, chain, now)).collect()
    }
}

fn load(files: &[Files], tickets: &Arc<dyn ProducesTickets>) -> Result<Loaded, CertificateError> {
    let provider = Arc::new(ring::default_provider());
    let keys: Vec<_> = files.iter().map(|files| files.read(&provider)).collect::<Result<_, _>>()?;
    if keys.is_empty() {
        return Err(CertificateError::new(Path::new(""), CertificateProblem::None));
    }
    let (mut named, mut facts) = (Vec::new(), Vec::new());
    for (files, key) in files.iter().zip(keys) {
        let chain: Vec<_> = key.cert.iter().map(|der| Facts::of(der)).collect();
        let own = chain.first().and_then(Option::as_ref);
        let names = own.map(|own| own.names.clone()).unwrap_or_default();
        named.push(Named { key, names });
        facts.push((files.chain.clone(), chain));
    }
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| {
            CertificateError::new(&files[0].chain, CertificateProblem::Unusable(error))
        })?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(ByName::new(named)));
    config.ticketer = tickets.clone();
    let loaded = Loaded { config: Arc::new(config), facts };
    for worry in loaded.worries() {
        sidecore_runtime::sys::stderr::line(format_args!("{worry}"));
    }
    Ok(loaded)
}

impl Files {
    fn read(&self, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, CertificateError> {
        let text = read(&self.chain)?;
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&text)
            .collect::<Result<_, _>>()
            .map_err(|error| bad_pem(&self.chain, &error))?;
        if chain.is_empty() {
            return Err(CertificateError::new(&self.chain, CertificateProblem::NoCertificate));
        }
        let own = Facts::of(&chain[0]);
        let text = read(&self.key)?;
        let key = match PrivateKeyDer::from_pem_slice(&text) {
            Ok(key) => key,
            Err(_) if is_encrypted(&text) => {
                return Err(CertificateError::new(&self.key, CertificateProblem::Encrypted));
            }
            Err(pem::Error::NoItemsFound) => {
                return Err(CertificateError::new(&self.key, CertificateProblem::NoKey));
            }
            Err(error) => return Err(bad_pem(&self.key, &error)),
        };
        let certified = CertifiedKey::from_der(chain, key, provider);
        certified.map(Arc::new).map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                let key = self.key.clone();
                CertificateError::new(&self.chain, CertificateProblem::Mismatch { key })
            }
            // The certificate was not read before its key.
            rustls::Error::InvalidCertificate(_) => {
                let is_old = own.is_some_and(|own| own.version < 3);
                let problem = if is_old {
                    CertificateProblem::Version
                } else {
                    CertificateProblem::Unusable(error)
                };
                CertificateError::new(&self.chain, problem)
            }
            error => {
                let kind = own.map_or(KeyKind::Unknown, |own| own.key);
                CertificateError::new(&self.key, CertificateProblem::KeyKind { kind, error })
            }
        })
    }
}

/// RFC 7468 §11, and the older way of OpenSSL (RFC 1421 §4.6.1.1).
fn is_encrypted(pem: &[u8]) -> bool {
    let has = |text: &[u8]| pem.windows(text.len()).any(|window| window == text);
    has(b"-----BEGIN ENCRYPTED PRIVATE KEY-----") || has(b"Proc-Type: 4,ENCRYPTED")
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    std::fs::read(path)
        .map_err(|cause| CertificateError::new(path, CertificateProblem::Unreadable(cause)))
}

fn bad_pem(path: &Path, error: &pem::Error) -> CertificateError {
    CertificateError::new(path, CertificateProblem::BadPem(error.to_string()))
}
