//! The network path of an executor: sockets on an io_uring ring of the project's own.
//!
//! Bytes in: [`TcpListener::accept`] → [`TcpStream::poll_recv`]; bytes out: [`TcpStream::write`]
//! gathers, [`TcpStream::flush`] sends all of it at the end of the loop's turn.
//! Beneath: `ring` (operations and completions) with `enter` (its system call) and `gather` (what a
//! wait is for), `receive` and `buffers` (how and into what the kernel receives), `streams` with
//! `receiving` and `outbox`, and `listeners` (the state of each socket). Listening sockets come from `bind`, `unix`
//! and `inherited`; `owner` says who has the place of one.

mod bind;
mod bind_error;
mod buffer_pool;
mod buffers;
mod enter;
mod gather;
mod inherited;
mod outbox;
mod owner;
mod receive;
mod receiving;
mod tcp;
mod unix;

pub(crate) mod listeners;
mod liveness;
pub(crate) mod ring;
pub(crate) mod streams;

pub use self::bind::bind_shared;
pub use self::bind_error::BindError;
pub use self::inherited::{Inherited, inherited};
pub use self::owner::Owner;
pub use self::ring::RingConfig;
pub use self::streams::{Peer, READ_AHEAD_MAX_BYTES};
pub use self::tcp::{TcpListener, TcpStream, Watch};
pub use self::unix::{UnixPath, bind_unix};
