//! A connection that a proxy has made for somebody else, and says so first.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use sidecore_runtime::net::TcpStream;

use crate::codec::proxy_header::{Header, Source, parse};
use crate::http::preface::wait::{Over, Wait};

/// Reads the header of the PROXY protocol, and has the stream tell the peer's address that it says.
/// What followed it is still there to be read.
pub(crate) async fn read_header<A>(
    socket: &mut TcpStream,
    wait: &mut Wait<'_, A>,
) -> Result<(), Over> {
    let mut bytes = Vec::new();
    let header = poll_fn(|context| poll(socket, wait, &mut bytes, context)).await?;
    socket.put_back(&bytes[header.size_bytes..]);
    match header.source {
        Source::Proxy => {}
        Source::Client(address) => socket.set_peer_addr(Some(address)),
        Source::Nameless => socket.set_peer_addr(None),
    }
    Ok(())
}

fn poll<A>(
    socket: &TcpStream,
    wait: &mut Wait<'_, A>,
    bytes: &mut Vec<u8>,
    context: &mut Context<'_>,
) -> Poll<Result<Header, Over>> {
    loop {
        ready!(wait.poll(socket, bytes, context))?;
        match parse(bytes) {
            Ok(None) => {}
            Ok(Some(header)) => return Poll::Ready(Ok(header)),
            // There is nobody to be answered: whoever this is does not speak as was agreed.
            Err(_) => return Poll::Ready(Err(Over::Gone)),
        }
    }
}
