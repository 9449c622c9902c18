//! What comes before HTTP on a connection, where its listener asks for that.

use std::rc::Rc;

use sidecore_runtime::executor::spawn_local;
use sidecore_runtime::net::TcpStream;

use crate::http1::connection::{Connection, Io};
use crate::http1::serving::{Place, Serving};
use crate::http1::upgrade::ConnectionTask;
use crate::service::App;
use crate::transport::Transport;
#[cfg(feature = "tls")]
use crate::{
    http1::reject::Reject,
    tls::{Acceptor, Secured, handshake},
};

/// How the connections of one listener begin, on one executor.
#[derive(Clone, Default)]
pub(crate) struct Opening {
    /// With a handshake.
    #[cfg(feature = "tls")]
    pub(crate) secure: Option<Rc<Acceptor>>,
}

impl Opening {
    /// Serves a connection, as a task of its own. One that begins with HTTP has nothing in between.
    pub(crate) fn serve<A: App>(&self, stream: TcpStream, serving: &Rc<Serving<A>>) {
        let place = serving.enter();
        #[cfg(feature = "tls")]
        if let Some(acceptor) = &self.secure {
            spawn_local(secure(stream, acceptor.clone(), place));
            return;
        }
        plain(stream, place);
    }
}

fn plain<A: App>(stream: TcpStream, place: Place<A>) {
    spawn_local(ConnectionTask::Http(Connection::new(Transport::Plain(stream), place)));
}

/// Serves a connection after its handshake.
#[cfg(feature = "tls")]
async fn secure<A: App>(stream: TcpStream, acceptor: Rc<Acceptor>, place: Place<A>) {
    let secured = handshake(stream, &acceptor, &place).await;
    let connection = match secured {
        Secured::Tls(stream) => Connection::new(Transport::Tls(stream), place),
        Secured::Plain(stream) => {
            let reject = Reject::bad("this port speaks TLS: use https");
            Connection::refused(Transport::Plain(stream), place, reject)
        }
        Secured::Refused(stream) => Connection::closing(Io::new(Transport::Plain(stream)), place),
        Secured::Gone => return,
    };
    ConnectionTask::Http(connection).await;
}
