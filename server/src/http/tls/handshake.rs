//! From a connection's first record to the end of its handshake.

use std::task::{Context, Poll, ready};

use sidecore_runtime::net::TcpStream;

use crate::http::preface::{Opened, Over, Wait};
use crate::http::tls::certificates::Acceptor;
use crate::http::tls::session::TlsSession;
use crate::http::tls::stream::TlsStream;
use crate::http::transport::Transport;

/// Makes the handshake of a connection.
pub(crate) async fn handshake<A>(
    socket: TcpStream,
    acceptor: &Acceptor,
    wait: &mut Wait<'_, A>,
) -> Opened {
    let Ok(tls) = acceptor.begin() else { return Opened::Gone };
    let (ready, sealed) = (Vec::new(), Vec::new());
    let mut shaking = Handshake { session: TlsSession::new(tls), ready, sealed, begun: false };
    let end = std::future::poll_fn(|context| shaking.poll(&socket, wait, context));
    match end.await {
        Ok(()) => {
            let stream = TlsStream::new(socket, shaking.session, shaking.ready);
            Opened::Http(Transport::Tls(Box::new(stream)))
        }
        Err(HandshakeBroken::IsHttp) => Opened::NoTls(socket),
        Err(HandshakeBroken::Protocol | HandshakeBroken::Over(Over::Drained)) => {
            Opened::Closing(socket)
        }
        Err(HandshakeBroken::Over(Over::Gone)) => Opened::Gone,
    }
}

struct Handshake {
    session: TlsSession,
    /// What was opened already: a client may send a request with the end of its handshake.
    ready: Vec<u8>,
    sealed: Vec<u8>,
    /// The peer has sent something.
    begun: bool,
}

/// Why a handshake came to nothing.
enum HandshakeBroken {
    IsHttp,
    /// What is to be said of it is written.
    Protocol,
    Over(Over),
}

impl Handshake {
    fn poll<A>(
        &mut self,
        socket: &TcpStream,
        wait: &mut Wait<'_, A>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), HandshakeBroken>> {
        while self.session.is_handshaking() {
            ready!(wait.poll(socket, &mut self.sealed, context)).map_err(HandshakeBroken::Over)?;
            if !std::mem::replace(&mut self.begun, true) && is_http(&self.sealed) {
                socket.put_back(&self.sealed);
                return Poll::Ready(Err(HandshakeBroken::IsHttp));
            }
            let opened = self.session.open(&self.sealed, &mut self.ready);
            self.sealed.clear();
            socket.recycle(&mut self.sealed);
            socket.write(|out| self.session.seal(out));
            socket.flush();
            if opened.is_err() {
                return Poll::Ready(Err(HandshakeBroken::Protocol));
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// A method of HTTP begins with a letter, no record does.
fn is_http(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(u8::is_ascii_uppercase)
}
