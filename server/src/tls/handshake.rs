//! From a connection's first byte to the end of its handshake, within the time limit of a head.

use std::task::{Context, Poll};

use sidecore_runtime::executor::Deadline;
use sidecore_runtime::net::TcpStream;

use super::certificates::Acceptor;
use super::session::Session;
use super::stream::TlsStream;
use crate::http1::serving::Place;

/// What became of a handshake.
pub(crate) enum Secured {
    Tls(Box<TlsStream>),
    /// The peer does not speak TLS but HTTP. What it sent is still there to be read.
    Plain(TcpStream),
    /// The peer broke the protocol, and what is to be said of it is written; or it had said nothing
    /// when the drain began.
    Refused(TcpStream),
    /// The peer is gone, or took too long.
    Gone,
}

/// Makes the handshake of a connection.
pub(crate) async fn handshake<A>(
    socket: TcpStream,
    acceptor: &Acceptor,
    place: &Place<A>,
) -> Secured {
    let Ok(tls) = acceptor.begin() else { return Secured::Gone };
    let (session, deadline) = (Session::new(tls), Deadline::unset());
    let (ready, sealed) = (Vec::new(), Vec::new());
    let mut shaking = Handshake { session, ready, sealed, begun: false, deadline };
    shaking.deadline.set(place.serving().timeouts.head());
    let end = std::future::poll_fn(|context| {
        place.keep_waker(context.waker());
        shaking.poll(&socket, place.serving().is_draining(), context)
    });
    match end.await {
        End::Done => Secured::Tls(Box::new(TlsStream::new(socket, shaking.session, shaking.ready))),
        End::Plain => Secured::Plain(socket),
        End::Refused => Secured::Refused(socket),
        End::Gone => Secured::Gone,
    }
}

struct Handshake {
    session: Session,
    /// What was opened already: a client may send a request with the end of its handshake.
    ready: Vec<u8>,
    sealed: Vec<u8>,
    /// The peer has sent something.
    begun: bool,
    deadline: Deadline,
}

enum End {
    Done,
    Plain,
    Refused,
    Gone,
}

impl Handshake {
    fn poll(&mut self, socket: &TcpStream, draining: bool, context: &mut Context<'_>) -> Poll<End> {
        while self.session.is_handshaking() {
            match socket.poll_recv(context, &mut self.sealed) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(End::Gone),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => return self.wait(socket, draining, context),
            }
            if !std::mem::replace(&mut self.begun, true) {
                socket.release();
                if is_http(&self.sealed) {
                    socket.put_back(&self.sealed);
                    return Poll::Ready(End::Plain);
                }
            }
            let opened = self.session.open(&self.sealed, &mut self.ready);
            self.sealed.clear();
            socket.recycle(&mut self.sealed);
            socket.write(|out| self.session.seal(out));
            socket.flush();
            if opened.is_err() {
                return Poll::Ready(End::Refused);
            }
        }
        Poll::Ready(End::Done)
    }

    fn wait(&mut self, socket: &TcpStream, draining: bool, context: &mut Context<'_>) -> Poll<End> {
        if draining && !self.begun {
            // What is on its way is still served.
            socket.hold();
            if socket.is_quiet() {
                return Poll::Ready(End::Refused);
            }
        }
        self.deadline.poll(context).map(|()| End::Gone)
    }
}

/// A method of HTTP begins with a letter, no record does.
fn is_http(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(u8::is_ascii_uppercase)
}
