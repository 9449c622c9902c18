//! `hyper::upgrade::on` in handlers, so that what is built on it works unchanged: axum's own
//! `extract::ws::WebSocketUpgrade`, and libraries that take hyper's `OnUpgrade` from a request.
//!
//! ```text
//!  peer ◄──► Upgraded ◄── Pump ──► Line ═══ End ◄── hyper::upgrade::Upgraded ◄──► the application
//!            our connection's task        duplex       whoever awaits OnUpgrade, as a rule a task
//!            on its executor                           of tokio's, which runs on the companion
//! ```
//!
//! Only hyper makes an `OnUpgrade`, of a connection of its own. So a request that offers an upgrade
//! has hyper serve one request of ours over one end of a duplex; its service gives the `OnUpgrade`
//! out and does not answer yet ([`mint`]). Nothing of that waits for anything: hyper is polled here,
//! at these two points, and has all it needs. When the application has answered 101, hyper's service
//! does the same, upon which hyper gives the end away ([`Minted::deliver`]).
//!
//! That takes 3 to 4 µs of a request that offers an upgrade (built with optimisation), and nothing of
//! one that does not.
//!
//! With another answer all of it is dropped: who awaits the `OnUpgrade` gets hyper's error, and the
//! connection goes on as HTTP.

mod close_frame;
mod end;
mod frames;
mod pump;

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::task::{Context, Poll, Waker};

use http::{Extensions, Response, StatusCode};
use http_body_util::Empty;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use sidecore_runtime::sys::stderr;

use crate::http::http1::upgrade::Run;
use crate::http::hyper_upgrade::end::{Line, ends_dropped, line};
use crate::http::hyper_upgrade::pump::Pump;

/// What hyper is asked: any request that it may answer with 101.
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: sidecore\r\n\r\n";
/// The least that hyper takes for the buffer of a connection.
const BUFFER_BYTES: usize = 8 * 1024;

/// An upgrade of hyper's whose `OnUpgrade` is given out and has not been answered. Dropped, it is
/// refused.
pub(crate) struct Minted {
    connection: Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>,
    /// Has hyper's service answer 101, when it is polled next: by the thread that sets it.
    is_answered: Arc<AtomicBool>,
    line: Line,
}

/// Puts an `OnUpgrade` among the extensions of a request that offers an upgrade. None where no
/// runtime of tokio's is entered on this thread, since what takes an `OnUpgrade` needs one.
pub(crate) fn mint(extensions: &mut Extensions) -> Option<Box<Minted>> {
    tokio::runtime::Handle::try_current().ok()?;
    let (mut line, end) = line();
    let is_answered = Arc::new(AtomicBool::new(false));
    let given: Arc<Mutex<Option<OnUpgrade>>> = Arc::default();
    let (taken, answered) = (given.clone(), is_answered.clone());
    let service = service_fn(move |mut request| {
        *lock(&given) = Some(hyper::upgrade::on(&mut request));
        let answered = answered.clone();
        // It is polled when `answered` has changed, so there is nothing to wake.
        poll_fn(move |_| match answered.load(Ordering::Relaxed) {
            true => Poll::Ready(Ok::<_, Infallible>(switching())),
            false => Poll::Pending,
        })
    });
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        .auto_date_header(false)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(end), service)
        .with_upgrades();
    let mut connection: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(connection);
    line.write_all_at_once(REQUEST)?;
    if connection.as_mut().poll(&mut nobody()).is_ready() {
        return None;
    }
    let on_upgrade = lock(&taken).take()?;
    extensions.insert(on_upgrade);
    Some(Box::new(Minted { connection, is_answered, line }))
}

impl Minted {
    /// The application has answered 101: gives whoever has the `OnUpgrade` its end, and returns what
    /// moves the bytes. None where nobody has it.
    pub(crate) fn deliver(mut self, is_websocket: bool) -> Option<Run> {
        self.is_answered.store(true, Ordering::Relaxed);
        // An end that nobody takes is dropped by hyper within the poll, on this thread. Who takes
        // it may drop it at once, but elsewhere: nothing of the application's runs here now.
        let dropped = ends_dropped();
        let delivered = self.connection.as_mut().poll(&mut nobody());
        if !matches!(delivered, Poll::Ready(Ok(()))) || ends_dropped() != dropped {
            return None;
        }
        let mut line = self.line;
        let first = line.skip_head()?;
        Some(Box::new(move |upgraded| Box::pin(Pump::new(upgraded, line, &first, is_websocket))))
    }
}

/// Says once, on standard error, why a request that offers an upgrade found no `OnUpgrade`, where its
/// answer is one of those that who misses it gives: axum's extractor 426, and 101 who finds out
/// later.
pub(crate) fn advise(status: StatusCode) {
    static ONCE: Once = Once::new();
    let missed = [StatusCode::UPGRADE_REQUIRED, StatusCode::SWITCHING_PROTOCOLS].contains(&status);
    if missed && tokio::runtime::Handle::try_current().is_err() {
        ONCE.call_once(|| {
            stderr::line(format_args!(
                "a request that offers an upgrade was answered {}, and hyper's upgrade, \
                 which axum's WebSocketUpgrade takes, is there with tokio only: give the server \
                 `.with_tokio()` (feature `tokio` of the crate sidecore)",
                status.as_u16()
            ));
        });
    }
}

fn switching() -> Response<Empty<bytes::Bytes>> {
    let mut response = Response::new(Empty::new());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response
}

/// For polls whose next one comes by itself.
fn nobody() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// No code that can panic runs under the lock, so poison means nothing here.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
