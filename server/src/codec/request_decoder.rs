//! The requests of a connection as events, without I/O: bytes in any pieces in, events out.
//!
//! ```text
//! Head ──Head──► Body ──Data…──► End ──► Head
//!   │              │               └ the request closes ──► Closed
//!   └── Reject ────┴──────────────────────────────────────► Closed
//! ```
//!
//! It decides nothing of its own: heads are [`next_head`]'s, bodies [`BodyDecoder`]'s, as in the
//! server's connections.

use std::mem::MaybeUninit;

use http::HeaderMap;

use crate::codec::body_decoder::{BodyDecoder, BodyPart, cut_off};
use crate::codec::head::{
    Framing, HEADER_COUNT_CAP, HeadLimits, Parsed, RequestHead, Version, check_end, next_head,
};
use crate::codec::head_lines::take_minor_version;
use crate::codec::head_scan::HeadScan;
use crate::codec::reject::Reject;

/// Decodes the bytes of one connection.
#[derive(Debug)]
pub struct RequestDecoder {
    limits: HeadLimits,
    body_size_max_bytes: u64,
    /// Bytes that were fed and not consumed: a head at most, if events are taken after each feed.
    input: Vec<u8>,
    state: DecoderState,
}

#[derive(Debug)]
enum DecoderState {
    Head { scan: HeadScan },
    Body { decoder: BodyDecoder, keep_alive: bool },
    Closed,
}

/// What came next on the connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// A request begins.
    Head(HeadSummary),
    /// A piece of its body; how a body is cut into pieces depends on how it arrived.
    Data(Vec<u8>),
    /// It is over; with the trailers, if there are any.
    End(Option<HeaderMap>),
    /// More bytes are needed.
    Incomplete,
    /// No further request is taken from this connection.
    Closed,
}

/// A head, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadSummary {
    /// The method.
    pub method: String,
    /// The authority of an absolute target.
    pub authority: Option<String>,
    /// The target from its path on.
    pub path_and_query: String,
    /// The version.
    pub version: Version,
    /// The fields, in their order.
    pub fields: Vec<(String, Vec<u8>)>,
    /// Where the body ends.
    pub framing: Framing,
    /// Whether the client allows another request on the connection.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue`.
    pub expect_continue: bool,
}

impl RequestDecoder {
    /// A connection's beginning.
    pub fn new(limits: HeadLimits, body_size_max_bytes: u64) -> Self {
        let state = DecoderState::Head { scan: HeadScan::default() };
        RequestDecoder { limits, body_size_max_bytes, input: Vec::new(), state }
    }

    /// Adds bytes that arrived; a connection that is closed takes none.
    pub fn feed(&mut self, bytes: &[u8]) {
        if !matches!(self.state, DecoderState::Closed) {
            self.input.extend_from_slice(bytes);
        }
    }

    /// The next event. After a refusal the connection is closed.
    ///
    /// # Errors
    /// A [`Reject`]: what its client is to be answered. The connection ends with it.
    pub fn next_event(&mut self) -> Result<Event, Reject> {
        let event = match &mut self.state {
            DecoderState::Head { .. } => self.head(),
            DecoderState::Body { .. } => self.body(),
            DecoderState::Closed => Ok(Event::Closed),
        };
        if event.is_err() {
            self.close();
        }
        event
    }

    /// The peer sends no more: refused in the middle of a request.
    ///
    /// # Errors
    /// A [`Reject`], where a request has begun and not ended.
    pub fn finish(&mut self) -> Result<(), Reject> {
        let ended = match &self.state {
            DecoderState::Head { .. } => check_end(&self.input),
            DecoderState::Body { decoder, .. } if decoder.is_over() => Ok(()),
            DecoderState::Body { .. } => Err(cut_off()),
            DecoderState::Closed => Ok(()),
        };
        self.close();
        ended
    }

    fn head(&mut self) -> Result<Event, Reject> {
        match self.try_head() {
            Err(reject) if reject.is_version() => {
                self.state = DecoderState::Head { scan: HeadScan::default() };
                match take_minor_version(&mut self.input) {
                    true => self.try_head(),
                    false => Err(reject),
                }
            }
            parsed => parsed,
        }
    }

    fn try_head(&mut self) -> Result<Event, Reject> {
        let DecoderState::Head { scan } = &mut self.state else { return Ok(Event::Closed) };
        let mut slots = [MaybeUninit::uninit(); HEADER_COUNT_CAP];
        let parsed = next_head(&self.input, scan, &mut slots, &self.limits)?;
        let Parsed::Complete(head) = parsed else { return Ok(Event::Incomplete) };
        let decoder = BodyDecoder::new(head.framing, self.body_size_max_bytes)?;
        let (summary, size) = (HeadSummary::new(&head), head.size_bytes);
        self.state = DecoderState::Body { decoder, keep_alive: summary.keep_alive };
        self.input.drain(..size);
        Ok(Event::Head(summary))
    }

    fn body(&mut self) -> Result<Event, Reject> {
        let DecoderState::Body { decoder, keep_alive } = &mut self.state else {
            return Ok(Event::Closed);
        };
        match decoder.decode(&self.input)? {
            BodyPart::Data { start, end } => {
                let data = self.input[start..end].to_vec();
                self.input.drain(..end);
                Ok(Event::Data(data))
            }
            BodyPart::Incomplete => {
                self.input.clear();
                Ok(Event::Incomplete)
            }
            BodyPart::End { consumed, trailers } => {
                self.input.drain(..consumed);
                match *keep_alive {
                    true => self.state = DecoderState::Head { scan: HeadScan::default() },
                    // RFC 9112 §9.6: what follows a request that closes is not read.
                    false => self.close(),
                }
                Ok(Event::End(trailers))
            }
        }
    }

    fn close(&mut self) {
        self.state = DecoderState::Closed;
        self.input = Vec::new();
    }
}

impl HeadSummary {
    fn new(head: &RequestHead<'_>) -> Self {
        let field = |field: &httparse::Header<'_>| (field.name.to_owned(), field.value.to_vec());
        HeadSummary {
            method: head.method.to_owned(),
            authority: head.target.authority().map(str::to_owned),
            path_and_query: head.target.path_and_query().to_owned(),
            version: head.version,
            fields: head.fields.iter().map(field).collect(),
            framing: head.framing,
            keep_alive: head.keep_alive,
            expect_continue: head.expect_continue,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits {
        size_max_bytes: 1024,
        header_count_max: 16,
        target_length_max_bytes: 256,
        is_secured: false,
        takes_raw_utf8: false,
    };

    /// The events in short, adjacent data joined: `GET /`, `"data"`, `.`, a status, `closed`.
    fn events(input: &[u8], step: usize) -> Vec<String> {
        let mut decoder = RequestDecoder::new(LIMITS, 100);
        let (mut events, mut data) = (Vec::new(), Vec::new());
        for piece in input.chunks(step) {
            decoder.feed(piece);
            loop {
                match decoder.next_event() {
                    Ok(Event::Incomplete | Event::Closed) => break,
                    Ok(Event::Data(bytes)) => data.extend(bytes),
                    Ok(Event::Head(head)) => {
                        events.push(format!("{} {}", head.method, head.path_and_query));
                    }
                    Ok(Event::End(_)) => {
                        events.push(format!("{:?}", String::from_utf8_lossy(&data)));
                        data.clear();
                    }
                    Err(reject) => events.push(reject.status().as_u16().to_string()),
                }
            }
        }
        let closed = decoder.next_event() == Ok(Event::Closed);
        events.extend(closed.then(|| "closed".to_owned()));
        events.extend(decoder.finish().err().map(|reject| reject.reason().to_owned()));
        events
    }

    fn check(input: &str, expected: &[&str]) {
        for step in 1..=input.len() {
            assert_eq!(events(input.as_bytes(), step), expected, "{input:?} in pieces of {step}");
        }
    }

    #[test]
    fn requests_come_out_the_same_however_they_arrive() {
        let get = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
        check(&get.repeat(2), &["GET /a", "\"\"", "GET /a", "\"\""]);
        let post = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";
        check(&format!("{post}\r\n{get}"), &["POST /", "\"abc\"", "GET /a", "\"\""]);
        let chunked = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
        check(&format!("{chunked}2\r\nab\r\n1\r\nc\r\n0\r\nT: 1\r\n\r\n"), &["POST /", "\"abc\""]);
        check(&format!("{chunked}64\r\na"), &["POST /", "the request ended within its body"]);
        check(&format!("{chunked}65\r\na"), &["POST /", "413", "closed"]);
        check("GET / HT", &["the request ended within its head"]);
    }

    #[test]
    fn nothing_follows_a_refusal_or_a_request_that_closes() {
        let get = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
        check(&format!("GET /a HTTP/1.0\r\n\r\n{get}"), &["GET /a", "\"\"", "closed"]);
        check(&format!("GET /a HTTP/1.1\r\n\r\n{get}"), &["400", "closed"]);
        let chunked = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
        check(&format!("{chunked}x\r\n{get}"), &["POST /", "400", "closed"]);
    }
}
