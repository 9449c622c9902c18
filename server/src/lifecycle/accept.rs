//! The accept loop of an executor, over all of its listeners.
//!
//! One loop, one admission: `connections_max`, the refusals of a full server and the drain hold for
//! the connections of all listeners together. The listeners are looked at in turn, from the one
//! after the last that had a connection on, so that none keeps the others waiting.

use std::cell::Cell;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use sidecore_runtime::executor::sleep;
use sidecore_runtime::net::{TcpListener, TcpStream};
use sidecore_runtime::sys::stderr;

use crate::app::service::App;
use crate::http::http1::serving::Serving;
use crate::http::preface::Preface;
use crate::lifecycle::either::{Either, either};
use crate::lifecycle::listen::Socket;
use crate::lifecycle::shutdown::Shutdown;

/// How long accepting pauses when the system has no descriptor or memory for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The listeners of an executor.
pub(crate) struct AcceptLoop {
    listeners: Vec<Listening>,
    /// Who is looked at first.
    first: Cell<usize>,
}

struct Listening {
    listener: TcpListener,
    preface: Preface,
}

impl AcceptLoop {
    /// Takes over the sockets, on the executor's thread. `preface` says how the connections of each
    /// begin.
    pub(crate) fn open(sockets: Vec<Socket>, preface: impl Fn(&Socket) -> Preface) -> Self {
        let listening = |socket: Socket| Listening {
            preface: preface(&socket),
            listener: match socket.is_shared {
                true => TcpListener::from_shared(socket.socket),
                false => TcpListener::from_socket(socket.socket),
            },
        };
        AcceptLoop { listeners: sockets.into_iter().map(listening).collect(), first: Cell::new(0) }
    }

    /// Accepts until the shutdown.
    pub(crate) async fn accept<A: App>(&self, serving: &Rc<Serving<A>>, shutdown: &Shutdown) {
        let mut raised = pin!(shutdown.raised());
        let mut reported: Option<Instant> = None;
        loop {
            if let Either::Left(()) = either(raised.as_mut(), serving.opens()).await {
                return;
            }
            match either(raised.as_mut(), self.next(serving)).await {
                Either::Left(()) => return,
                Either::Right(Ok((at, stream))) => {
                    self.listeners[at].preface.serve(stream, serving)
                }
                Either::Right(Err(error)) => {
                    if reported.is_none_or(|at| at.elapsed() > Duration::from_secs(1)) {
                        reported = Some(Instant::now());
                        stderr::line(format_args!(
                            "accepting pauses: {error}; raise `ulimit -n` or lower \
                             connections_max"
                        ));
                    }
                    let pause = either(raised.as_mut(), sleep(ACCEPT_PAUSE)).await;
                    let Either::Right(()) = pause else { return };
                }
            }
        }
    }

    /// Closes the listeners; what their backlogs hold is served.
    pub(crate) async fn finish<A: App>(self, serving: &Rc<Serving<A>>) {
        for Listening { listener, preface } in self.listeners {
            for stream in listener.finish().await {
                preface.serve(stream, serving);
            }
        }
    }

    /// The next connection of any listener.
    async fn next<A: App>(&self, serving: &Serving<A>) -> io::Result<(usize, TcpStream)> {
        std::future::poll_fn(|context| {
            let polled = self.poll_next(context);
            if polled.is_pending() {
                serving.caught_up();
            }
            polled
        })
        .await
    }

    fn poll_next(&self, context: &mut Context<'_>) -> Poll<io::Result<(usize, TcpStream)>> {
        let count = self.listeners.len();
        for turn in 0..count {
            let at = (self.first.get() + turn) % count;
            if let Poll::Ready(accepted) = self.listeners[at].listener.poll_accept(context) {
                self.first.set(at + 1);
                return Poll::Ready(accepted.map(|stream| (at, stream)));
            }
        }
        Poll::Pending
    }
}
