//! Why certificates cannot be used, in one line with the cure.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Certificates that cannot be used.
#[derive(Debug)]
pub struct CertificateError {
    file: PathBuf,
    problem: Problem,
}

#[derive(Debug)]
pub(super) enum Problem {
    Unreadable(io::Error),
    NoCertificate,
    NoKey,
    BadPem(String),
    /// The key is not the certificate's.
    Mismatch {
        key: PathBuf,
    },
    Unusable(rustls::Error),
    None,
}

impl CertificateError {
    pub(super) fn new(file: &Path, problem: Problem) -> Self {
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
            Problem::None => f.write_str("no certificate is given: give one at least"),
        }
    }
}

impl std::error::Error for CertificateError {}
