//! A request's body by its framing (RFC 9112 §6.3): bytes in; data, the end or a refusal out.

use http::HeaderMap;

use crate::codec::chunked::{Chunk, ChunkedDecoder};
use crate::codec::head::Framing;
use crate::codec::reject::Reject;

/// What one call found.
#[derive(Debug, PartialEq, Eq)]
pub enum BodyPart {
    /// `input[start..end]` is data; the first `end` bytes are consumed.
    Data {
        /// Where the data begins.
        start: usize,
        /// Where it ends.
        end: usize,
    },
    /// All of the input is consumed, and the body is not over.
    Incomplete,
    /// The body is over.
    End {
        /// Bytes of this call's input that belonged to it.
        consumed: usize,
        /// What followed the last chunk, if anything.
        trailers: Option<HeaderMap>,
    },
}

/// The state of one body. A request without one is a body of no bytes.
#[derive(Debug)]
pub struct BodyDecoder {
    kind: BodyKind,
    size_max_bytes: u64,
    /// Bytes of data that were found.
    taken: u64,
}

#[derive(Debug)]
enum BodyKind {
    /// Bytes to come.
    Length(u64),
    Chunked(ChunkedDecoder),
}

impl BodyDecoder {
    /// A body's beginning; one that says to be larger than `size_max_bytes` is refused with 413
    /// before any of it is read (RFC 9110 §15.5.14).
    ///
    /// # Errors
    /// A [`Reject`], where the declared length is above `size_max_bytes`.
    pub fn new(framing: Framing, size_max_bytes: u64) -> Result<Self, Reject> {
        let kind = match framing {
            // RFC 9112 §6.3 rule 7: a request that says nothing of a body has none.
            Framing::None => BodyKind::Length(0),
            Framing::Length(length) if length > size_max_bytes => {
                return Err(Reject::body_too_large());
            }
            Framing::Length(length) => BodyKind::Length(length),
            Framing::Chunked => BodyKind::Chunked(ChunkedDecoder::new()),
        };
        Ok(BodyDecoder { kind, size_max_bytes, taken: 0 })
    }

    /// Consumes input up to and with the next piece of data.
    ///
    /// # Errors
    /// A [`Reject`], where the framing is broken or the body is too large.
    pub fn decode(&mut self, input: &[u8]) -> Result<BodyPart, Reject> {
        match &mut self.kind {
            BodyKind::Length(0) => Ok(BodyPart::End { consumed: 0, trailers: None }),
            BodyKind::Length(_) if input.is_empty() => Ok(BodyPart::Incomplete),
            BodyKind::Length(left) => {
                let end = (*left).min(input.len() as u64);
                *left -= end;
                Ok(BodyPart::Data { start: 0, end: end as usize })
            }
            BodyKind::Chunked(decoder) => match decoder.decode(input)? {
                Chunk::Incomplete => Ok(BodyPart::Incomplete),
                Chunk::End { consumed } => {
                    Ok(BodyPart::End { consumed, trailers: decoder.trailers()? })
                }
                Chunk::Data { start, end } => {
                    self.taken += (end - start) as u64;
                    // The chunk's size counts, not what of it arrived: no part of a chunk that
                    // is too large is handed on. Sizes are below 2^60, so that sums fit.
                    if self.taken.saturating_add(decoder.remaining()) > self.size_max_bytes {
                        return Err(Reject::body_too_large());
                    }
                    Ok(BodyPart::Data { start, end })
                }
            },
        }
    }

    /// Whether the body's end is known without another byte.
    pub fn is_over(&self) -> bool {
        matches!(self.kind, BodyKind::Length(0))
    }

    /// Whether more than `bytes` are known to be to come.
    pub fn exceeds(&self, bytes: u64) -> bool {
        matches!(self.kind, BodyKind::Length(left) if left > bytes)
    }
}

/// What the end of the peer's bytes means to a body that is not over.
pub(crate) fn cut_off() -> Reject {
    // RFC 9112 §8: a body without its end is incomplete, and no success.
    Reject::bad("the request ended within its body")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(part: Result<BodyPart, Reject>) -> u16 {
        part.unwrap_err().status().as_u16()
    }

    #[test]
    fn a_length_is_counted_down_to_its_end() {
        let mut body = BodyDecoder::new(Framing::Length(5), 5).unwrap();
        assert_eq!(body.decode(b"").unwrap(), BodyPart::Incomplete);
        assert_eq!(body.decode(b"abc").unwrap(), BodyPart::Data { start: 0, end: 3 });
        assert!(body.exceeds(1) && !body.exceeds(2) && !body.is_over());
        assert_eq!(body.decode(b"deGET").unwrap(), BodyPart::Data { start: 0, end: 2 });
        assert!(body.is_over());
        let end = BodyPart::End { consumed: 0, trailers: None };
        assert_eq!(body.decode(b"GET").unwrap(), end);
    }

    #[test]
    fn a_body_larger_than_allowed_is_refused_before_its_data() {
        assert_eq!(BodyDecoder::new(Framing::Length(6), 5).unwrap_err().status(), 413);
        let mut body = BodyDecoder::new(Framing::Chunked, 5).unwrap();
        assert_eq!(body.decode(b"3\r\nabc").unwrap(), BodyPart::Data { start: 3, end: 6 });
        assert_eq!(status(body.decode(b"\r\n3\r\nd")), 413);
        let mut body = BodyDecoder::new(Framing::Chunked, u64::MAX).unwrap();
        assert_eq!(body.decode(b"1\r\na").unwrap(), BodyPart::Data { start: 3, end: 4 });
        let largest = b"\r\nfffffffffffffff\r\nb";
        assert_eq!(body.decode(largest).unwrap(), BodyPart::Data { start: 19, end: 20 });
    }
}
