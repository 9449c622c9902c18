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
//! # Ok::<(), sidecore::Reject>(())
//! ```

pub use crate::http1::body_decoder::{BodyDecoder, BodyPart};
pub use crate::http1::chunked::{Chunk, ChunkedDecoder};
pub use crate::http1::head::{
    FieldSlots, Framing, HEADER_COUNT_CAP, HeadLimits, Parsed, RequestHead, Version, next_head,
};
pub use crate::http1::head_scan::HeadScan;
pub use crate::http1::reject::Reject;
pub use crate::http1::request_decoder::{Event, HeadSummary, RequestDecoder};
pub use crate::http1::target::Target;
pub use crate::opening::proxy_header::{
    Header as ProxyHeader, Malformed as NotProxied, Source as ProxySource,
    parse as next_proxy_header,
};
