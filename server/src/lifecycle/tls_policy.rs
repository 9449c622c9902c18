//! Whether a server speaks TLS, and with which certificates.

use crate::config::listen::Listen;
use crate::config::settings::{Config, Options};
use crate::http::preface::Preface;
#[cfg(feature = "tls")]
use crate::http::tls::{Acceptor, Certificates};
use crate::lifecycle::error::{Error, Result};
use crate::lifecycle::listen::Socket;

/// What the listeners that speak TLS do so with.
#[derive(Clone, Default)]
pub(crate) struct TlsPolicy {
    #[cfg(feature = "tls")]
    certificates: Option<Certificates>,
}

/// Whether any listener speaks TLS.
pub(crate) fn is_wanted(config: &Config) -> bool {
    config.main_listen().iter().chain(&config.listen).any(|listen| listen.secure)
}

impl TlsPolicy {
    /// With certificates of the application's own, which come before those of the configuration.
    #[cfg(feature = "tls")]
    pub(crate) fn with(certificates: Certificates) -> Self {
        TlsPolicy { certificates: Some(certificates) }
    }

    /// Reads the certificates, if any listener speaks TLS and none were given.
    pub(crate) fn completed(self, config: &Config) -> Result<Self> {
        let main = config.main_listen();
        let secure = main.iter().chain(&config.listen).find(|listen| listen.secure);
        secure.map_or(Ok(TlsPolicy::default()), |listen| self.read(config, listen))
    }

    #[cfg(feature = "tls")]
    fn read(self, config: &Config, listen: &Listen) -> Result<Self> {
        if self.certificates.is_some() {
            return Ok(self);
        }
        if config.tls_certificate.is_empty() {
            return Err(Error::listen(
                listen,
                "there is no certificate for it: set tls_certificate and tls_key, or give \
                 Server::tls one",
            ));
        }
        let pairs = config.tls_certificate.iter().zip(&config.tls_key);
        Ok(TlsPolicy { certificates: Some(Certificates::from_pem_pairs(pairs)?) })
    }

    #[cfg(not(feature = "tls"))]
    fn read(self, _: &Config, listen: &Listen) -> Result<Self> {
        let problem = "this program was built without TLS: build sidecore with its feature `tls`";
        Err(Error::listen(listen, problem))
    }

    /// Reads the certificates again.
    pub(crate) fn renew(&self) -> Result<()> {
        #[cfg(feature = "tls")]
        if let Some(certificates) = &self.certificates {
            certificates.reload()?;
        }
        Ok(())
    }

    /// Says, on an executor, how the connections of each of its sockets begin.
    #[cfg_attr(not(feature = "tls"), expect(unused_variables, reason = "all is plain"))]
    pub(crate) fn prefaces(self, options: &Options) -> impl Fn(&Socket) -> Preface {
        #[cfg(feature = "tls")]
        let acceptor = {
            let http2 = cfg!(feature = "http2") && options.http2 != Some(false);
            let accept = |certificates| std::rc::Rc::new(Acceptor::new(certificates, http2));
            self.certificates.map(accept)
        };
        move |socket| Preface {
            proxied: socket.proxied,
            #[cfg(feature = "tls")]
            secure: acceptor.clone().filter(|_| socket.secure),
        }
    }
}
