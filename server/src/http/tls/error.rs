//! Why certificates cannot be used, in one line with the cure.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::http::tls::x509::KeyKind;

/// Certificates that cannot be used.
pub struct CertificateError {
    file: PathBuf,
    problem: CertificateProblem,
}

#[derive(Debug)]
pub(crate) enum CertificateProblem {
    Unreadable(io::Error),
    NoCertificate,
    NoKey,
    BadPem(String),
    /// The key is not the certificate's.
    Mismatch {
        key: PathBuf,
    },
    Unusable(rustls::Error),
    /// Not a key that handshakes can be made with.
    KeyKind {
        /// The certificate's.
        kind: KeyKind,
        error: rustls::Error,
    },
    Encrypted,
    /// X.509 before version 3.
    Version,
    None,
}

impl CertificateError {
    pub(crate) fn new(file: &Path, problem: CertificateProblem) -> Self {
        CertificateError { file: file.to_owned(), problem }
    }
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match &self.problem {
            CertificateProblem::Unreadable(cause) => {
                write!(f, "{file} cannot be read: {cause}; mend its path or its permissions")
            }
            CertificateProblem::NoCertificate => write!(
                f,
                "{file} has no certificate: give a PEM file with -----BEGIN CERTIFICATE-----, the \
                 server's own first and then those up to the root"
            ),
            CertificateProblem::NoKey => write!(
                f,
                "{file} has no private key: give a PEM file with -----BEGIN PRIVATE KEY-----, not \
                 encrypted"
            ),
            CertificateProblem::BadPem(cause) => write!(f, "{file} is no PEM file: {cause}"),
            CertificateProblem::Mismatch { key } => write!(
                f,
                "{} is not the key of {file}: give the key that the certificate was made with",
                key.display()
            ),
            CertificateProblem::Unusable(cause) => write!(f, "{file} cannot be used: {cause}"),
            CertificateProblem::KeyKind { kind, error } => {
                match kind {
                    KeyKind::Rsa { bits } => {
                        write!(f, "{file} cannot be used, a key of RSA {bits}")?
                    }
                    KeyKind::Named(name) => write!(f, "{file} cannot be used, a key of {name}")?,
                    KeyKind::Unknown => write!(f, "{file} cannot be used")?,
                }
                write!(
                    f,
                    ": {error}; have a certificate made for a key of ECDSA P-256 or P-384, Ed25519, \
                     or RSA of 2048 to 4096 bits"
                )
            }
            CertificateProblem::Encrypted => write!(
                f,
                "{file} is encrypted: give it without a passphrase (`openssl pkey -in {file} -out \
                 plain.key`), readable by the server alone"
            ),
            CertificateProblem::Version => write!(
                f,
                "{file} is a certificate of X.509 version 1, which has no room for the names that \
                 clients check: have one made with them (`openssl x509 -req` with \
                 `-extfile <(echo subjectAltName=DNS:example.org)`)"
            ),
            CertificateProblem::None => f.write_str("no certificate is given: give one at least"),
        }
    }
}

/// As it is displayed, for a `main` that returns it.
impl fmt::Debug for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for CertificateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            CertificateProblem::Unreadable(cause) => Some(cause),
            CertificateProblem::Unusable(error) | CertificateProblem::KeyKind { error, .. } => {
                Some(error)
            }
            _ => None,
        }
    }
}
