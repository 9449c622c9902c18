//! What comes before HTTP on a connection, where its listener asks for that: a proxy's header, then
//! a handshake.

mod proxied;
mod wait;

use std::rc::Rc;

use sidecore_runtime::executor::spawn_local;
use sidecore_runtime::net::TcpStream;

use crate::app::service::App;
#[cfg(feature = "tls")]
use crate::codec::reject::Reject;
use crate::http::http1::connection::{Connection, Io};
use crate::http::http1::serving::{Place, Serving};
use crate::http::http1::upgrade::ConnectionTask;
#[cfg(feature = "tls")]
use crate::http::tls::{Acceptor, handshake};
use crate::http::transport::Transport;

pub(crate) use crate::http::preface::wait::Over;
pub(crate) use crate::http::preface::wait::Wait;

/// How the connections of one listener begin, on one executor.
#[derive(Clone, Default)]
pub(crate) struct Preface {
    /// A proxy says whom they are from.
    pub(crate) proxied: bool,
    /// With a handshake.
    #[cfg(feature = "tls")]
    pub(crate) secure: Option<Rc<Acceptor>>,
}

impl Preface {
    /// Serves a connection, as a task of its own. One that begins with HTTP has nothing in between.
    pub(crate) fn serve<A: App>(&self, stream: TcpStream, serving: &Rc<Serving<A>>) {
        let place = serving.enter();
        if self.is_http() {
            spawn_local(ConnectionTask::Http(Connection::new(Transport::Plain(stream), place)));
        } else {
            spawn_local(self.clone().open(stream, place));
        }
    }

    fn is_http(&self) -> bool {
        #[cfg(feature = "tls")]
        if self.secure.is_some() {
            return false;
        }
        !self.proxied
    }

    async fn open<A: App>(self, stream: TcpStream, place: Place<A>) {
        let mut wait = Wait::new(&place);
        let connection = match self.begin(stream, &mut wait).await {
            #[cfg(feature = "http2")]
            Opened::Http(stream) if stream.is_http2() => {
                match crate::http::http2::serve(Io::new(stream), place).await {
                    Some(connection) => connection,
                    None => return,
                }
            }
            Opened::Http(stream) => Connection::new(stream, place),
            #[cfg(feature = "tls")]
            Opened::NoTls(stream) => {
                let reject = Reject::bad("this port speaks TLS: use https");
                Connection::refused(Transport::Plain(stream), place, reject)
            }
            Opened::Closing(stream) => {
                Connection::closing(Io::new(Transport::Plain(stream)), place)
            }
            Opened::Gone => return,
        };
        ConnectionTask::Http(connection).await;
    }

    async fn begin<A>(&self, mut stream: TcpStream, wait: &mut Wait<'_, A>) -> Opened {
        if self.proxied {
            match proxied::read_header(&mut stream, wait).await {
                Ok(()) => {}
                Err(Over::Drained) => return Opened::Closing(stream),
                Err(Over::Gone) => return Opened::Gone,
            }
        }
        #[cfg(feature = "tls")]
        if let Some(acceptor) = &self.secure {
            return handshake(stream, acceptor, wait).await;
        }
        Opened::Http(Transport::Plain(stream))
    }
}

/// How a connection has begun.
pub(crate) enum Opened {
    Http(Transport),
    /// The peer does not speak TLS but HTTP. What it sent is still there to be read.
    #[cfg(feature = "tls")]
    NoTls(TcpStream),
    /// What there is to be said is written: the peer broke the protocol, or had said nothing when
    /// the drain began.
    Closing(TcpStream),
    /// The peer is gone, or took too long, or is nobody to be answered.
    Gone,
}
