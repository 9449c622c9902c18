//! The network path of an executor: sockets on an io_uring ring of the project's own.
//!
//! Bytes in: [`TcpListener::accept`] → [`TcpStream::poll_recv`]; bytes out: [`TcpStream::write`]
//! gathers, [`TcpStream::flush`] sends all of it at the end of the loop's turn.
//! Beneath: `ring` (operations and completions), `receive` and `buffers` (how and into what the
//! kernel receives), `streams` with `outbox` and `listeners` (the state of each socket).

mod buffer_pool;
mod buffers;
mod gather;
mod outbox;
mod receive;
mod tcp;

pub(crate) mod listeners;
pub(crate) mod ring;
pub(crate) mod streams;

pub use self::ring::RingConfig;
pub use self::streams::READ_AHEAD_MAX_BYTES;
pub use self::tcp::{BindError, TcpListener, TcpStream, bind_shared};
