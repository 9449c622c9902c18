//! Which certificate a client gets: by the name that it asks for, and the signatures it can verify.
//!
//! Names are gathered when certificates are loaded, so that a handshake looks up two of them,
//! however many there are. Of the certificates of one name one is kept for each kind of key, so
//! that there are few to choose among.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::client::verify_server_name;
use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// A certificate with its key, and what it is for.
pub(crate) struct Named {
    pub(crate) key: Arc<CertifiedKey>,
    pub(crate) names: Vec<String>,
}

/// Chooses for each handshake.
pub(crate) struct ByName {
    keys: Vec<Able>,
    /// Which ones are for a name, in the order in which they were given.
    exact: HashMap<String, Vec<usize>>,
    /// By what follows the wildcard's dot.
    wild: HashMap<String, Vec<usize>>,
    /// For a client that asks for no name, or one that is nobody's.
    others: Vec<usize>,
}

struct Able {
    key: Arc<CertifiedKey>,
    /// What it can sign by.
    schemes: Vec<SignatureScheme>,
}

/// Those that a key of any kind may sign by.
const SCHEMES: &[SignatureScheme] = &[
    SignatureScheme::ED25519,
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP521_SHA512,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA512,
];

impl ByName {
    pub(crate) fn new(certificates: Vec<Named>) -> Self {
        let able = |named: &Named| {
            let signs =
                |scheme: &SignatureScheme| named.key.key.choose_scheme(&[*scheme]).is_some();
            let schemes = SCHEMES.iter().copied().filter(signs).collect();
            Able { key: named.key.clone(), schemes }
        };
        let keys: Vec<Able> = certificates.iter().map(able).collect();
        let (mut exact, mut wild) = (HashMap::new(), HashMap::new());
        for (at, named) in certificates.iter().enumerate() {
            let certificate = named.key.end_entity_cert().ok();
            let parsed = certificate.and_then(|own| ParsedCertificate::try_from(own).ok());
            for name in &named.names {
                if !parsed.as_ref().is_some_and(|parsed| is_for(parsed, name)) {
                    continue;
                }
                let (names, name) = match name.strip_prefix("*.") {
                    Some(rest) => (&mut wild, rest),
                    None => (&mut exact, name.as_str()),
                };
                add(names.entry(name.to_owned()).or_insert_with(Vec::new), at, &keys);
            }
        }
        // The first, then others of its name, for clients that cannot verify its signature.
        let first = certificates.first().and_then(|first| first.names.first());
        let alike = first.and_then(|name| match name.strip_prefix("*.") {
            Some(rest) => wild.get(rest),
            None => exact.get(name),
        });
        let mut others = Vec::new();
        let alike = alike.into_iter().flatten().copied();
        for at in (0..keys.len().min(1)).chain(alike).chain(0..keys.len()) {
            add(&mut others, at, &keys);
        }
        ByName { keys, exact, wild, others }
    }

    /// The first certificate for this name that the client can verify, else the first for it.
    fn choose(
        &self,
        name: Option<&str>,
        offered: &[SignatureScheme],
    ) -> Option<&Arc<CertifiedKey>> {
        let of = |found: Option<&Vec<usize>>| found.map(Vec::as_slice).unwrap_or_default().to_vec();
        let named = name.map(|name| match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => Cow::Owned(name.to_ascii_lowercase()),
            false => Cow::Borrowed(name),
        });
        let named = named.map(|name| {
            let mut named = of(self.exact.get(&*name));
            named.extend(of(name.split_once('.').and_then(|(_, rest)| self.wild.get(rest))));
            named.sort_unstable();
            named
        });
        let candidates = named.filter(|named| !named.is_empty());
        let candidates = candidates.as_deref().unwrap_or(&self.others);
        let can =
            |at: &&usize| self.keys[**at].schemes.iter().any(|scheme| offered.contains(scheme));
        let chosen = candidates.iter().find(can).or(candidates.first())?;
        Some(&self.keys[*chosen].key)
    }
}

/// Adds a certificate unless one of its kind is there already: that is the one to be chosen.
fn add(to: &mut Vec<usize>, at: usize, keys: &[Able]) {
    if !to.iter().any(|&there| keys[there].schemes == keys[at].schemes) {
        to.push(at);
    }
}

/// Whether a client would take the certificate for this name, a wildcard for what it stands for.
fn is_for(certificate: &ParsedCertificate<'_>, name: &str) -> bool {
    let name = match name.strip_prefix("*.") {
        Some(rest) => Cow::Owned(format!("a.{rest}")),
        None => Cow::Borrowed(name),
    };
    let name = ServerName::try_from(&*name);
    name.is_ok_and(|name| verify_server_name(certificate, &name).is_ok())
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name(), hello.signature_schemes()).cloned()
    }
}

impl fmt::Debug for ByName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ByName({})", self.keys.len())
    }
}
