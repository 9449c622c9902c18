//! The HTTP/1.1 codec without I/O: bytes in; a message, `Incomplete` or a [`Reject`] out.
//!
//! The server's connections use it; it stands open for benches, fuzzing and other transports.
//!
//! [`RequestDecoder`] gives a connection's requests as events, in whatever pieces they arrive;
//! below it are [`next_head`], which borrows, and [`BodyDecoder`]. Before them may come a proxy's
//! header ([`next_proxy_header`]).
//!
//! ```
//! use std::mem::MaybeUninit;
//! use sidecore::codec::{HeadLimits, HeadScan, Parsed, next_head};
//!
//! let limits =
//!     HeadLimits { size_max_bytes: 32768, header_count_max: 100, target_length_max_bytes: 8192, is_secured: false, takes_raw_utf8: false };
//! let mut slots = [MaybeUninit::uninit(); 100];
//! let parsed = next_head(b"GET /a?b HTTP/1.1\r\nHost: h\r\n\r\n", &mut HeadScan::default(), &mut slots, &limits)?;
//! let Parsed::Complete(head) = parsed else { panic!("it is all there") };
//! assert_eq!((head.method, head.target.path()), ("GET", "/a"));
//! # Ok::<(), sidecore::codec::Reject>(())
//! ```

pub(crate) mod body_decoder;
pub(crate) mod chunked;
pub(crate) mod head;
pub(crate) mod head_lines;
pub(crate) mod head_scan;
pub(crate) mod proxy_header;
pub(crate) mod reject;
pub(crate) mod request_decoder;
pub(crate) mod target;
pub(crate) mod trailers;

pub use crate::codec::body_decoder::BodyDecoder;
pub use crate::codec::body_decoder::BodyPart;
pub use crate::codec::chunked::Chunk;
pub use crate::codec::chunked::ChunkedDecoder;
pub use crate::codec::head::FieldSlots;
pub use crate::codec::head::Framing;
pub use crate::codec::head::HEADER_COUNT_CAP;
pub use crate::codec::head::HeadLimits;
pub use crate::codec::head::Parsed;
pub use crate::codec::head::RequestHead;
pub use crate::codec::head::Version;
pub use crate::codec::head::next_head;
pub use crate::codec::head_scan::HeadScan;
pub use crate::codec::proxy_header::Header as ProxyHeader;
pub use crate::codec::proxy_header::Malformed as NotProxied;
pub use crate::codec::proxy_header::Source as ProxySource;
pub use crate::codec::proxy_header::parse as next_proxy_header;
pub use crate::codec::reject::Reject;
pub use crate::codec::request_decoder::Event;
pub use crate::codec::request_decoder::HeadSummary;
pub use crate::codec::request_decoder::RequestDecoder;
pub use crate::codec::target::Target;
