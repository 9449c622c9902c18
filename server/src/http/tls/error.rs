//! Why certificates cannot be used, in one line with the cure.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::http::tls::x509::Key;

/// Certificates that cannot be used.
#[derive(Debug)]
pub struct CertificateError {
    file: PathBuf,
    problem: Problem,
}

#[derive(Debug)]
pub(crate) enum Problem {
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
    Key {
        /// The certificate's.
        kind: Key,
        error: rustls::Error,
    },
    Encrypted,
    /// X.509 before version 3.
    Version,
    None,
}

impl CertificateError {
    pub(crate) fn new(file: &Path, problem: Problem) -> Self {
        CertificateError { file: file.to_owned(), problem }
    }
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match &self.problem {
            Problem::Unreadable(cause) => {
                write!(f, "{file} cannot be read: {cause}; mend its path or its permissions")
            }
            Problem::NoCertificate => write!(
                f,
                "{file} has no certificate: give a PEM file with -----BEGIN CERTIFICATE-----, the \
                 server's own first and then those up to the root"
            ),
            Problem::NoKey => write!(
                f,
                "{file} has no private key: give a PEM file with -----BEGIN PRIVATE KEY-----, not \
                 encrypted"
            ),
            Problem::BadPem(cause) => write!(f, "{file} is no PEM file: {cause}"),
            Problem::Mismatch { key } => write!(
                f,
                "{} is not the key of {file}: give the key that the certificate was made with",
                key.display()
            ),
            Problem::Unusable(cause) => write!(f, "{file} cannot be used: {cause}"),
            Problem::Key { kind, error } => {
                match kind {
                    Key::Rsa { bits } => write!(f, "{file} cannot be used, a key of RSA {bits}")?,
                    Key::Named(name) => write!(f, "{file} cannot be used, a key of {name}")?,
                    Key::Unknown => write!(f, "{file} cannot be used")?,
                }
                write!(
                    f,
                    ": {error}; have a certificate made for a key of ECDSA P-256 or P-384, Ed25519, \
                     or RSA of 2048 to 4096 bits"
                )
            }
            Problem::Encrypted => write!(
                f,
                "{file} is encrypted: give it without a passphrase (`openssl pkey -in {file} -out \
                 plain.key`), readable by the server alone"
            ),
            Problem::Version => write!(
                f,
                "{file} is a certificate of X.509 version 1, which has no room for the names that \
                 clients check: have one made with them (`openssl x509 -req` with \
                 `-extfile <(echo subjectAltName=DNS:example.org)`)"
            ),
            Problem::None => f.write_str("no certificate is given: give one at least"),
        }
    }
}

impl std::error::Error for CertificateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            Problem::Unreadable(cause) => Some(cause),
            Problem::Unusable(error) | Problem::Key { error, .. } => Some(error),
            _ => None,
        }
    }
}
