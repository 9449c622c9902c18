//! The lines of a head as they come, so that a fault in one is refused before the head's end, which
//! may never come.

use crate::codec::head::{HeadLimits, Seen, Version, map_error};
use crate::codec::head_scan::blank_lines;
use crate::codec::reject::Reject;
use crate::codec::target::Target;

/// RFC 9110 §2.5: a request of a higher minor version is processed as one of 1.1. httparse knows 1.0
/// and 1.1 only, so the digit is changed where the line stands. True: it was another one.
pub(crate) fn take_minor_version(input: &mut [u8]) -> bool {
    let start = blank_lines(input).unwrap_or(0);
    let head = &mut input[start..];
    let Some(end) = head.iter().position(|&byte| byte == b'\r') else { return false };
    match head[..end].last_chunk_mut() {
        Some([b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ b'2'..=b'9']) => {
            *minor = b'1';
            true
        }
        _ => false,
    }
}

/// What is known of a head from its first lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// Of the request line, once it was taken.
    version: Option<Version>,
    fields: usize,
    seen: Seen,
}

impl Lines {
    /// Takes the next line. httparse wants the whole of a head: it gets that in `whole`.
    pub(crate) fn take(
        &mut self,
        line: &[u8],
        limits: &HeadLimits,
        whole: &mut Vec<u8>,
    ) -> Result<(), Reject> {
        // The end of the head.
        if line == b"\r\n" {
            return Ok(());
        }
        whole.clear();
        whole.extend_from_slice(line);
        whole.extend_from_slice(b"\r\n");
        match self.version {
            None => self.take_request_line(whole, limits),
            Some(version) => self.take_field(whole, version, limits),
        }
    }

    fn take_request_line(&mut self, line: &mut [u8], limits: &HeadLimits) -> Result<(), Reject> {
        take_minor_version(line);
        let mut request = httparse::Request::new(&mut []);
        request.parse(line).map_err(|error| map_error(error, line))?;
        let (method, target) = (request.method, request.path);
        Target::parse(method.unwrap_or_default(), target.unwrap_or_default(), limits.rules())?;
        self.version = match request.version {
            Some(0) => Some(Version::Http10),
            _ => Some(Version::Http11),
        };
        Ok(())
    }

    fn take_field(
        &mut self,
        line: &[u8],
        version: Version,
        limits: &HeadLimits,
    ) -> Result<(), Reject> {
        self.fields += 1;
        if self.fields > limits.header_count_max {
            return Err(map_error(httparse::Error::TooManyHeaders, line));
        }
        let mut slots = [httparse::EMPTY_HEADER];
        httparse::parse_headers(line, &mut slots).map_err(|error| map_error(error, line))?;
        self.seen.take(&slots[0], limits.rules())?;
        self.seen.check_conflicts(version)
    }
}
