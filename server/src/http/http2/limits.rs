//! How much one connection may have the server hold and do.
//!
//! ```text
//!   received and not taken by handlers   CONNECTION_WINDOW_BYTES in all, STREAM_WINDOW_BYTES each
//!   a head that comes                    head_size_max_bytes (counted as RFC 9113 §6.5.2 does)
//!   answers: one piece a stream          http2_streams_max x PIECE_MAX_BYTES
//!   sealed and unsent                    UNSENT_MAX_BYTES, and what one poll adds to it
//! ```
//!
//! With the defaults that is 1 MiB, 32 KiB, 8 MiB and 256 KiB: a stream's share is less than what a
//! connection of HTTP/1.1 may hold. A piece is a part of what the application gave and is not copied
//! before it is written.
//!
//! Times: a head that comes in parts has that of an idle connection, since other streams are quiet
//! until it is whole; a body has to come while its handler reads it; 64 KiB of an answer have to be
//! taken within the write time (`turns`); a body that nobody reads is thrown away within the bounds of
//! a connection that lingers (`unread`).
//!
//! What else a client can make the server do is bounded by h2, hyper's protocol: streams beyond the
//! limit are refused unheard (REFUSED_STREAM); a head in too many CONTINUATION frames, streams that
//! are reset before they were looked at (20), resets that the client provokes (1,024), and DATA
//! frames that are many for what is in them, end the connection (ENHANCE_YOUR_CALM); PING and
//! SETTINGS are read no faster than their answers are taken. Streams that are reset after they were
//! looked at are counted here.

use hyper::server::conn::http2::Builder;

use crate::config::settings::Options;
use crate::http::http1::connection::UNSENT_MAX_BYTES;
use crate::http::http1::sending::PIECE_MAX_BYTES;
use crate::http::http1::timeouts::{Timeouts, Waiting};
use crate::http::http2::clock::Clock;
use crate::http::http2::received::FIELD_SIZE_BYTES;
use crate::http::http2::stream::Spawner;

/// Bytes of a body that may wait for its handler: what fills a line of 100 Mbit/s at 20 ms.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// The same for all streams of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// The least that a frame's limit can be (RFC 9113 §6.5.2).
pub(crate) const FRAME_MAX_BYTES: u32 = 16 * 1024;
/// Requests that a client may have given up, beyond those that were answered, before it is told to
/// make another connection: one that only begins and resets (CVE-2023-44487) gets no further.
pub(crate) const ABANDONED_MAX: u64 = 256;

const _: () = assert!(STREAM_WINDOW_BYTES <= CONNECTION_WINDOW_BYTES);
const _: () = assert!(PIECE_MAX_BYTES <= UNSENT_MAX_BYTES);

/// What of the options is HTTP/2's own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamLimits {
    is_on: bool,
    streams_max: u32,
    head_size_max_bytes: u32,
}

impl StreamLimits {
    pub(crate) fn new(options: &Options) -> Self {
        let bounded = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        StreamLimits {
            is_on: options.http2 != Some(false),
            streams_max: bounded(options.http2_streams_max),
            head_size_max_bytes: bounded(options.head_size_max_bytes),
        }
    }

    /// Whether it is spoken at all.
    pub(crate) fn is_on(&self) -> bool {
        self.is_on
    }

    /// hyper with these limits. A peer that is gone without a word is found by a PING: sent where
    /// nothing came for as long as an idle connection is kept, with as long again for the answer,
    /// which comes behind all that a slow peer has not taken yet.
    pub(crate) fn builder<A>(
        &self,
        spawner: Spawner<A>,
        timeouts: &Timeouts,
    ) -> Builder<Spawner<A>> {
        let mut builder = Builder::new(spawner);
        builder
            .timer(Clock)
            .max_concurrent_streams(self.streams_max)
            .max_header_list_size(self.head_size_max_bytes.saturating_add(FIELD_SIZE_BYTES))
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(FRAME_MAX_BYTES)
            .max_send_buf_size(PIECE_MAX_BYTES)
            // The date is written with the rest of an answer's head.
            .auto_date_header(false)
            .keep_alive_interval(timeouts.limit(Waiting::NextRequest));
        if let Some(limit) = timeouts.limit(Waiting::NextRequest) {
            builder.keep_alive_timeout(limit);
        }
        builder
    }
}
