//! The sockets of an executor, as its tasks use them.
//!
//! Bytes in: [`TcpListener::accept`] → [`TcpStream::poll_recv`]; bytes out: [`TcpStream::write`]
//! gathers, [`TcpStream::flush`] sends all of it at the end of the loop's turn. Listening sockets
//! are bound by address, are Unix ones, or are inherited of a supervisor.

mod bind;
mod bind_error;
mod inherited;
mod port_owner;
mod stream;
mod unix;

pub use self::bind::bind_shared;
pub use self::bind_error::BindError;
pub use self::inherited::{Inherited, inherited};
pub use self::port_owner::Owner;
pub use self::stream::{TcpListener, TcpStream, Watch};
pub use self::unix::{UnixPath, bind_unix};
pub use crate::ring::{READ_AHEAD_MAX_BYTES, RingConfig};
pub use crate::socket::streams::Peer;
