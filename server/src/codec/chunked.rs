//! Chunked bodies (RFC 9112 §7.1): an incremental decoder that takes nothing lenient.
//!
//! ```text
//! Size ──CR──► SizeLf ──► Data(n) ──► DataCr ──► DataLf ──► Size
//!   │ ;                     └ n = 0 ──► Trailers ─…─► End
//!   ▼
//! Extension ──CR──► SizeLf
//! ```
//!
//! Each byte moves it on, wherever the input was split. Chunk extensions are checked and thrown
//! away; what they may take is bounded for the whole body.

use http::HeaderMap;

use crate::codec::head_scan::is_token_byte;
use crate::codec::reject::Reject;
use crate::codec::trailers::{TRAILERS_MAX_BYTES, parse_trailers, too_many_trailers};

/// Bytes of chunk extensions in a whole body.
const EXTENSIONS_MAX_BYTES: usize = 4096;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ChunkState {
    #[default]
    SizeStart,
    Size,
    Extension(Extension),
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Trailers,
    End,
}

/// Where in `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )` (§7.1.1) a byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extension {
    /// After white space that follows a size or a value: only another extension can come.
    BeforeSemicolon,
    BeforeName,
    Name,
    AfterName,
    BeforeValue,
    Value,
    Quoted,
    Escaped,
    AfterQuoted,
}

/// What one call found.
#[derive(Debug, PartialEq, Eq)]
pub enum Chunk {
    /// `input[start..end]` is data; the first `end` bytes are consumed.
    Data {
        /// Where the data begins.
        start: usize,
        /// Where it ends.
        end: usize,
    },
    /// All of the input is consumed, and the body is not over.
    Incomplete,
    /// The body is over; `consumed` bytes of the input belong to it.
    End {
        /// Bytes of this call's input.
        consumed: usize,
    },
}

/// The state of one body.
#[derive(Debug, Default)]
pub struct ChunkedDecoder {
    state: ChunkState,
    /// Bytes left in the current chunk.
    remaining: u64,
    digits: u8,
    extension_bytes: usize,
    trailer_bytes: Vec<u8>,
}

impl ChunkedDecoder {
    /// A body's beginning.
    pub fn new() -> Self {
        Self::default()
    }

    /// Consumes input up to and with the next piece of data.
    ///
    /// # Errors
    /// A [`Reject`], where the framing is broken or something is too large.
    pub fn decode(&mut self, input: &[u8]) -> Result<Chunk, Reject> {
        let mut at = 0;
        while at < input.len() {
            if self.state == ChunkState::Data {
                let here = (input.len() - at) as u64;
                let count = self.remaining.min(here);
                self.remaining -= count;
                if self.remaining == 0 {
                    self.state = ChunkState::DataCr;
                }
                return Ok(Chunk::Data { start: at, end: at + count as usize });
            }
            self.state = self.step(input[at])?;
            at += 1;
            if self.state == ChunkState::End {
                return Ok(Chunk::End { consumed: at });
            }
        }
        Ok(Chunk::Incomplete)
    }

    /// Bytes of the current chunk that are still to come.
    pub(crate) fn remaining(&self) -> u64 {
        self.remaining
    }

    /// The trailers, once the body is over, without those that could not be heeded any more.
    pub(crate) fn trailers(&self) -> Result<Option<HeaderMap>, Reject> {
        parse_trailers(&self.trailer_bytes)
    }

    fn step(&mut self, byte: u8) -> Result<ChunkState, Reject> {
        match self.state {
            ChunkState::SizeStart | ChunkState::Size => self.size(byte),
            ChunkState::Extension(extension) => self.extension(extension, byte),
            ChunkState::SizeLf => match (byte, self.remaining) {
                (b'\n', 0) => Ok(ChunkState::Trailers),
                (b'\n', _) => Ok(ChunkState::Data),
                _ => Err(Reject::bad("a chunk size line ends with CRLF")),
            },
            ChunkState::DataCr if byte == b'\r' => Ok(ChunkState::DataLf),
            ChunkState::DataLf if byte == b'\n' => {
                (self.remaining, self.digits) = (0, 0);
                Ok(ChunkState::SizeStart)
            }
            ChunkState::DataCr | ChunkState::DataLf => {
                Err(Reject::bad("a chunk's data ends with CRLF"))
            }
            ChunkState::Trailers => self.trailer(byte),
            ChunkState::Data | ChunkState::End => {
                Err(Reject::bad("there is data after the last chunk"))
            }
        }
    }

    /// One to sixteen hexadecimal digits; an empty size is no last chunk.
    fn size(&mut self, byte: u8) -> Result<ChunkState, Reject> {
        let Some(digit) = char::from(byte).to_digit(16) else {
            return match (self.state, byte) {
                (ChunkState::Size, b'\r') => Ok(ChunkState::SizeLf),
                (ChunkState::Size, b';' | b' ' | b'\t') => {
                    self.extension(Extension::BeforeSemicolon, byte)
                }
                _ => Err(Reject::bad("a chunk size is no hexadecimal number")),
            };
        };
        self.digits += 1;
        // No body is near 2^60 bytes, and so sums of sizes cannot overflow. Some clients write
        // leading zeros, up to the sixteen digits of a 64-bit number.
        if self.digits > 16 || self.remaining >> 56 != 0 {
            return Err(Reject::bad("a chunk size is too large"));
        }
        self.remaining = self.remaining << 4 | u64::from(digit);
        Ok(ChunkState::Size)
    }

    /// RFC 9110 §5.6.3: bad white space (BWS) is taken where the grammar has it, and nowhere else:
    /// a size or an extension with blanks before its CRLF is refused.
    fn extension(&mut self, extension: Extension, byte: u8) -> Result<ChunkState, Reject> {
        use Extension::*;
        self.count_extension()?;
        let next = match (extension, byte) {
            (Name | Value | AfterQuoted, b'\r') => return Ok(ChunkState::SizeLf),
            (BeforeSemicolon | Name | AfterName | Value | AfterQuoted, b';') => BeforeName,
            (Name | AfterName, b'=') => BeforeValue,
            (BeforeName | BeforeValue | AfterName | BeforeSemicolon, b' ' | b'\t') => extension,
            (Name, b' ' | b'\t') => AfterName,
            (Value | AfterQuoted, b' ' | b'\t') => BeforeSemicolon,
            (BeforeName | Name, _) if is_token_byte(byte) => Name,
            (BeforeValue | Value, _) if is_token_byte(byte) => Value,
            (BeforeValue, b'"') => Quoted,
            (Quoted, b'"') => AfterQuoted,
            (Quoted, b'\\') => Escaped,
            (Quoted | Escaped, b'\t' | b' '..=b'~' | 0x80..) => Quoted,
            _ => return Err(Reject::bad("a chunk extension is malformed")),
        };
        Ok(ChunkState::Extension(next))
    }

    fn count_extension(&mut self) -> Result<(), Reject> {
        self.extension_bytes += 1;
        match self.extension_bytes > EXTENSIONS_MAX_BYTES {
            true => Err(Reject::bad("the chunk extensions are larger than this server takes")),
            false => Ok(()),
        }
    }

    fn trailer(&mut self, byte: u8) -> Result<ChunkState, Reject> {
        let before = self.trailer_bytes.last().copied();
        if byte == b'\n' && before != Some(b'\r') || byte != b'\n' && before == Some(b'\r') {
            return Err(Reject::bad("lines end with CRLF"));
        }
        self.trailer_bytes.push(byte);
        if self.trailer_bytes.len() > TRAILERS_MAX_BYTES {
            return Err(too_many_trailers());
        }
        let over = self.trailer_bytes == b"\r\n" || self.trailer_bytes.ends_with(b"\r\n\r\n");
        if !over {
            return Ok(ChunkState::Trailers);
        }
        self.trailers()?;
        Ok(ChunkState::End)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes `input` in pieces cut at `cuts`; the data, and what is left, or the refusal.
    fn decode(input: &[u8], step: usize) -> Result<Option<(Vec<u8>, usize)>, Reject> {
        let mut decoder = ChunkedDecoder::new();
        let mut data = Vec::new();
        let mut used = 0;
        for piece in input.chunks(step) {
            let mut rest = piece;
            loop {
                match decoder.decode(rest)? {
                    Chunk::Data { start, end } => {
                        data.extend_from_slice(&rest[start..end]);
                        used += end;
                        rest = &rest[end..];
                        if rest.is_empty() {
                            break;
                        }
                    }
                    Chunk::Incomplete => {
                        used += rest.len();
                        break;
                    }
                    Chunk::End { consumed } => return Ok(Some((data, used + consumed))),
                }
            }
        }
        Ok(None)
    }

    fn check(input: &str, expected: Result<Option<(&str, usize)>, u16>) {
        for step in 1..=input.len() {
            let got = decode(input.as_bytes(), step)
                .map(|done| done.map(|(data, used)| (String::from_utf8(data).unwrap(), used)))
                .map_err(|reject| reject.status().as_u16());
            let expected = expected.map(|done| done.map(|(data, used)| (data.to_owned(), used)));
            assert_eq!(got, expected, "{input:?} in pieces of {step}");
        }
    }

    #[test]
    fn bodies_decode_the_same_however_they_are_split() {
        check("0\r\n\r\n", Ok(Some(("", 5))));
        check("3\r\nabc\r\n0\r\n\r\nGET", Ok(Some(("abc", 13))));
        check("A\r\n0123456789\r\n00\r\n\r\n", Ok(Some(("0123456789", 21))));
        check("3;a;b=c;d=\"e\\\"f\"\r\nabc\r\n0\r\n\r\n", Ok(Some(("abc", 28))));
        check("3 ; a\t= b ;c=\"d\"\t;e\r\nabc\r\n0\r\n\r\n", Ok(Some(("abc", 31))));
        check("1\r\na\r\n0\r\nX-T: v\r\n\r\n", Ok(Some(("a", 19))));
        check("3\r\nab", Ok(None));
        check("0\r\n", Ok(None));
    }

    #[test]
    fn what_others_let_through_is_refused() {
        for input in [
            "\r\n\r\n",
            "\n",
            "3\nabc\r\n0\r\n\r\n",
            "3 \r\nabc\r\n",
            " 3\r\nabc\r\n",
            "0x3\r\nabc\r\n",
            "+3\r\nabc\r\n",
            "-1\r\n",
            "3;\r\nabc\r\n",
            "3;=\r\nabc\r\n",
            "3;a=\r\nabc\r\n",
            "3;a=b=c\r\nabc\r\n",
            "3;\"a\"\r\nabc\r\n",
            "3;a=b\"c\"\r\nabc\r\n",
            "3;a \r\nabc\r\n",
            "3;a=b \r\nabc\r\n",
            "3\t\r\nabc\r\n",
            "3 3;a\r\nabc\r\n",
            "3;a=\"b\r\nabc\r\n",
            "3;a b\r\nabc\r\n",
            "3;a\nabc\r\n",
            "3;\u{1}\r\n",
            "3\r\nabcd\r\n",
            "3\r\nabc\n0\r\n\r\n",
            "3\r\nabc\r0\r\n\r\n",
            "FFFFFFFFFFFFFFFF\r\n",
            "00000000000000001\r\na\r\n",
            "g\r\n",
            "0\r\nContent-Length: 3\r\n\r\n",
            "0\r\ntransfer-encoding: chunked\r\n\r\n",
            "0\r\n bad: x\r\n\r\n",
            "0\r\nx: a\nb: c\r\n\r\n",
            "0\r\n\n",
        ] {
            check(input, Err(400));
        }
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        let long = format!("1;{}\r\na\r\n0\r\n\r\n", "a".repeat(EXTENSIONS_MAX_BYTES));
        assert_eq!(decode(long.as_bytes(), 7).unwrap_err().status(), 400);
        let many = format!("{}0\r\n\r\n", "1;abc\r\na\r\n".repeat(EXTENSIONS_MAX_BYTES / 4));
        assert_eq!(decode(many.as_bytes(), 1000).unwrap_err().status(), 400);
        let trailers = format!("0\r\nx: {}\r\n\r\n", "a".repeat(TRAILERS_MAX_BYTES));
        assert_eq!(decode(trailers.as_bytes(), 7).unwrap_err().status(), 431);
    }

    #[test]
    fn trailers_are_handed_out() {
        let mut decoder = ChunkedDecoder::new();
        let end = decoder.decode(b"0\r\nX-Sum: 1\r\nx-sum: 2\r\n\r\n").unwrap();
        assert_eq!(end, Chunk::End { consumed: 25 });
        let trailers = decoder.trailers().unwrap().unwrap();
        assert_eq!(trailers.get_all("x-sum").iter().count(), 2);
        let mut decoder = ChunkedDecoder::new();
        decoder.decode(b"0\r\nContent-Type: a/b\r\n\r\n").unwrap();
        assert_eq!(decoder.trailers().unwrap(), None);
    }
}
