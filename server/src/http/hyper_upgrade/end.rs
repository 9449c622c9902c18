//! The duplex between a connection's task and the application.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::sync::oneshot;

use crate::http::hyper_upgrade::nobody;

/// Bytes in each direction that wait to be taken. The application is woken across threads: with
/// this much a trip carries as many bytes as a receive brings at most.
pub(crate) const LINE_BYTES: usize = 64 * 1024;

thread_local! {
    static ENDS_DROPPED: Cell<u64> = const { Cell::new(0) };
}

/// Our end.
pub(crate) struct Line {
    duplex: DuplexStream,
    /// Ends when the other end is dropped.
    gone: oneshot::Receiver<Infallible>,
    cause: Arc<OnceLock<io::ErrorKind>>,
}

/// The application's end, within hyper's `Upgraded`.
pub(crate) struct End {
    // Dropped before the duplex, so that who finds the duplex ended knows whether this is.
    _there: oneshot::Sender<Infallible>,
    _dropped: Dropped,
    duplex: DuplexStream,
    /// Why there is no more to read, if it is not the peer's proper end.
    cause: Arc<OnceLock<io::ErrorKind>>,
}

/// Counts the ends that are dropped on a thread.
struct Dropped;

impl Drop for Dropped {
    fn drop(&mut self) {
        // A thread that has ended counts no more.
        let _ = ENDS_DROPPED.try_with(|count| count.set(count.get() + 1));
    }
}

/// How many ends were dropped on this thread.
pub(crate) fn ends_dropped() -> u64 {
    ENDS_DROPPED.get()
}

pub(crate) fn line() -> (Line, End) {
    let (ours, theirs) = duplex(LINE_BYTES);
    let (there, gone) = oneshot::channel();
    let cause: Arc<OnceLock<io::ErrorKind>> = Arc::default();
    let end = End { _there: there, _dropped: Dropped, duplex: theirs, cause: cause.clone() };
    (Line { duplex: ours, gone, cause }, end)
}

impl Line {
    /// Writes what has room for sure.
    pub(crate) fn write_all_at_once(&mut self, bytes: &[u8]) -> Option<()> {
        let written = Pin::new(&mut self.duplex).poll_write(&mut nobody(), bytes);
        matches!(written, Poll::Ready(Ok(count)) if count == bytes.len()).then_some(())
    }

    /// Takes hyper's own 101, which is there, and returns what came behind it.
    pub(crate) fn skip_head(&mut self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        loop {
            if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                return Some(bytes.split_off(at + 4));
            }
            let read = |piece: &[u8]| bytes.extend_from_slice(piece);
            match self.poll_read(&mut nobody(), read) {
                Poll::Ready(1..) => {}
                Poll::Ready(0) | Poll::Pending => return None,
            }
        }
    }

    /// Gives `take` what the application has written, a piece of it; 0 is its end.
    pub(crate) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        take: impl FnOnce(&[u8]),
    ) -> Poll<usize> {
        let mut space = [std::mem::MaybeUninit::uninit(); PIECE_BYTES];
        let mut piece = ReadBuf::uninit(&mut space);
        match Pin::new(&mut self.duplex).poll_read(context, &mut piece) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(_) => {
                take(piece.filled());
                Poll::Ready(piece.filled().len())
            }
        }
    }

    /// Hands over what the peer has sent, as much of it as there is room for; None when the
    /// application reads no more.
    pub(crate) fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Option<usize>> {
        Pin::new(&mut self.duplex).poll_write(context, bytes).map(Result::ok)
    }

    /// Tells the application that the peer has ended.
    pub(crate) fn end(&mut self, context: &mut Context<'_>) {
        // The other direction goes on. There is nothing to wait for.
        let _ = Pin::new(&mut self.duplex).poll_shutdown(context);
    }

    /// Why there will be no more to read, where it is not the peer's proper end.
    pub(crate) fn blame(&self, cause: io::ErrorKind) {
        let _ = self.cause.set(cause);
    }

    /// Ready when the application has dropped its end.
    pub(crate) fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.gone).poll(context).map(|_| ())
    }
}

/// What is moved at once, over the stack.
const PIECE_BYTES: usize = 16 * 1024;

impl AsyncRead for End {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let wants = into.remaining() > 0;
        std::task::ready!(Pin::new(&mut self.duplex).poll_read(context, into))?;
        match self.cause.get() {
            Some(cause) if wants && into.filled().len() == before => {
                Poll::Ready(Err((*cause).into()))
            }
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for End {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.duplex).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.duplex).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.duplex.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.duplex).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.duplex).poll_shutdown(context)
    }
}
