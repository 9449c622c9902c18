//! How long what comes before HTTP may take: in all as long as a head.

use std::task::{Context, Poll};

use sidecore_runtime::executor::Deadline;
use sidecore_runtime::net::TcpStream;

use crate::http::http1::serving::Place;

/// Why there is nothing more to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// The peer is gone, or took too long.
    Gone,
    /// The drain has begun, and the peer has not sent a byte.
    Drained,
}

/// The wait for the first bytes of a connection.
pub(crate) struct Wait<'a, A> {
    place: &'a Place<A>,
    deadline: Deadline,
    /// The peer has sent something.
    begun: bool,
}

impl<'a, A> Wait<'a, A> {
    pub(crate) fn new(place: &'a Place<A>) -> Self {
        let mut deadline = Deadline::unset();
        deadline.set(place.serving().timeouts.head());
        Wait { place, deadline, begun: false }
    }

    /// Receives more to the end of `into`.
    pub(crate) fn poll(
        &mut self,
        socket: &TcpStream,
        into: &mut Vec<u8>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Over>> {
        self.place.keep_waker(context.waker());
        match socket.poll_recv(context, into) {
            Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(Over::Gone)),
            Poll::Ready(Ok(_)) => {
                if !std::mem::replace(&mut self.begun, true) {
                    socket.release();
                }
                return Poll::Ready(Ok(()));
            }
            Poll::Pending => {}
        }
        if self.place.serving().is_draining() && !self.begun {
            // What is on its way is still served.
            socket.hold();
            if socket.is_quiet() {
                return Poll::Ready(Err(Over::Drained));
            }
        }
        self.deadline.poll(context).map(|()| Err(Over::Gone))
    }
}
