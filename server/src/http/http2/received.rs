//! What a client sends, on its way to hyper: a head with a body behind it gets a field more, with
//! the number of its stream.
//!
//! hyper neither sends `100 Continue` nor tells which stream a request came by, and without that
//! nobody else can send it. The field is put behind the last one of the block, as a literal that is
//! never indexed (RFC 7541 §6.2.3), so that it changes nothing for other blocks; it is taken out
//! before anybody sees it. A head without a body passes as it is, and so does all else.

use http::{HeaderMap, HeaderName};

use crate::http::http1::http2_preface::PREFACE;
use crate::http::http2::frames::{
    ACK, CONTINUATION, END_HEADERS, END_STREAM, FRAME_HEAD_BYTES, HEADERS, PADDED, SETTINGS,
};
use crate::http::http2::limits::FRAME_MAX_BYTES;

/// RFC 9113 §6.5.2, and its value where a client says none.
const HEADER_TABLE_SIZE: u16 = 1;
const TABLE_BYTES: u32 = 4096;

static FIELD: HeaderName = HeaderName::from_static("sidecore-stream");
/// Digits of a number of 31 bits.
const DIGITS: usize = 10;
/// How much larger a head is by the field, as RFC 9113 §6.5.2 counts.
pub(crate) const FIELD_SIZE_BYTES: u32 = 15 + DIGITS as u32 + 32;

/// How far what a client sends has come.
pub(crate) struct Received {
    /// Bytes that pass as they are.
    left: usize,
    /// Then, the field of this stream, and so many bytes of padding.
    then: Option<(u32, usize)>,
    /// A block that goes on in the next frame, and is to have the field.
    open: Option<u32>,
    newest: u32,
    /// The head of a frame, as far as it has come.
    held: Vec<u8>,
    may_continue: bool,
}

impl Received {
    pub(crate) fn new() -> Self {
        let held = Vec::new();
        Received {
            left: PREFACE.len(),
            then: None,
            open: None,
            newest: 0,
            held,
            may_continue: true,
        }
    }

    /// What was held back, to stand before what comes next.
    pub(crate) fn held(&mut self) -> &mut Vec<u8> {
        &mut self.held
    }

    /// Whether an answer's head may be sent by another than h2: not where the next one has to begin
    /// with a new size of its table, as the client has made that smaller (RFC 7541 §4.2).
    pub(crate) fn may_continue(&self) -> bool {
        self.may_continue
    }

    /// Puts the fields into what has come, and holds back the head of a frame that is not whole.
    pub(crate) fn pass(&mut self, bytes: &mut Vec<u8>) {
        let (mut at, mut copied, mut out) = (0, 0, Vec::new());
        loop {
            if self.left > 0 && at < bytes.len() {
                let passed = self.left.min(bytes.len() - at);
                self.left -= passed;
                at += passed;
            } else if self.left > 0 {
                break;
            } else if let Some((stream, padding)) = self.then.take() {
                out.extend_from_slice(&bytes[copied..at]);
                copied = at;
                push_field(&mut out, stream);
                self.left = padding;
            } else if let Some(length) = self.begin_frame(&bytes[at..]) {
                if self.then.is_some() {
                    out.extend_from_slice(&bytes[copied..at]);
                    out.extend_from_slice(&(length as u32).to_be_bytes()[1..]);
                    copied = at + 3;
                }
                at += FRAME_HEAD_BYTES;
            } else {
                self.held.extend_from_slice(&bytes[at..]);
                bytes.truncate(at);
                break;
            }
        }
        if copied > 0 {
            out.extend_from_slice(&bytes[copied..]);
            *bytes = out;
        }
    }

    /// A frame begins; its length, with the field where it is to have one. None: its head is not
    /// whole.
    fn begin_frame(&mut self, rest: &[u8]) -> Option<usize> {
        let (&[a, b, c, kind, flags, ref stream @ ..], payload) =
            rest.split_first_chunk::<FRAME_HEAD_BYTES>()?;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        let is_padded = kind == HEADERS && flags & PADDED != 0 && length > 0;
        let padding = if is_padded { usize::from(*payload.first()?) } else { 0 };
        self.left = length;
        if kind == SETTINGS && flags & ACK == 0 {
            self.may_continue &= payload.get(..length).is_some_and(keeps_table);
        }
        let stream = u32::from_be_bytes(*stream) & (u32::MAX >> 1);
        let wants = match kind {
            HEADERS if stream > self.newest => {
                self.newest = stream;
                (flags & END_STREAM == 0).then_some(stream)
            }
            CONTINUATION => self.open.take().filter(|open| *open == stream),
            _ => None,
        };
        if flags & END_HEADERS == 0 {
            self.open = wants;
            return Some(length);
        }
        let larger = length + field_bytes();
        let (Some(stream), Some(before)) = (wants, length.checked_sub(padding)) else {
            return Some(length);
        };
        if larger > FRAME_MAX_BYTES as usize || is_padded && before == 0 {
            return Some(length);
        }
        self.left = before;
        self.then = Some((stream, padding));
        Some(larger)
    }
}

/// The number that was put into a head, which is taken out of it. A client's own fields of that name
/// stand before it, and go too.
pub(crate) fn take_stream(fields: &mut HeaderMap) -> Option<u32> {
    let number = fields.get_all(&FIELD).iter().next_back()?.to_str().ok()?.parse().ok();
    fields.remove(&FIELD);
    number
}

fn field_bytes() -> usize {
    3 + FIELD.as_str().len() + DIGITS
}

fn push_field(out: &mut Vec<u8>, stream: u32) {
    let name = FIELD.as_str();
    out.extend_from_slice(&[0x10, name.len() as u8]);
    out.extend_from_slice(name.as_bytes());
    out.push(DIGITS as u8);
    out.extend_from_slice(format!("{stream:010}").as_bytes());
}

fn keeps_table(settings: &[u8]) -> bool {
    settings.chunks_exact(6).all(|setting| match *setting {
        [a, b, c, d, e, f] => {
            let is_smaller = u32::from_be_bytes([c, d, e, f]) < TABLE_BYTES;
            u16::from_be_bytes([a, b]) != HEADER_TABLE_SIZE || !is_smaller
        }
        _ => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::http2::frames::frame;

    fn field(stream: u32) -> Vec<u8> {
        let mut out = Vec::new();
        push_field(&mut out, stream);
        assert_eq!(out.len(), field_bytes());
        out
    }

    /// Passes it in two parts.
    fn passed(sent: &[u8], at: usize) -> Vec<u8> {
        let mut received = Received::new();
        let mut out = Vec::new();
        for part in [&sent[..at], &sent[at..]] {
            let mut bytes = std::mem::take(received.held());
            bytes.extend_from_slice(part);
            received.pass(&mut bytes);
            out.extend_from_slice(&bytes);
        }
        assert!(received.held().is_empty());
        out
    }

    #[test]
    fn heads_with_a_body_get_their_number_in_any_pieces() {
        let with = |block: &[u8], stream, padding: &[u8]| [block, &field(stream), padding].concat();
        let settings = frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 3]);
        let get = frame(HEADERS, END_HEADERS | END_STREAM, 1, b"get");
        let data = frame(0, 0, 3, b"data");
        let trailers = frame(HEADERS, END_HEADERS | END_STREAM, 3, b"trailers");
        let begun = frame(HEADERS, 0, 7, b"be");
        let padded = END_HEADERS | PADDED;
        let sent = [
            PREFACE,
            &settings,
            &get,
            &frame(HEADERS, END_HEADERS, 3, b"post"),
            &data,
            &trailers,
            &frame(HEADERS, padded, 5, b"\x02padded00"),
            &begun,
            &frame(CONTINUATION, END_HEADERS, 7, b"gun"),
            &get,
        ]
        .concat();
        let expected = [
            PREFACE,
            &settings,
            &get,
            &frame(HEADERS, END_HEADERS, 3, &with(b"post", 3, b"")),
            &data,
            &trailers,
            &frame(HEADERS, padded, 5, &with(b"\x02padded", 5, b"00")),
            &begun,
            &frame(CONTINUATION, END_HEADERS, 7, &with(b"gun", 7, b"")),
            &get,
        ]
        .concat();
        for at in 0..=sent.len() {
            assert_eq!(passed(&sent, at), expected, "{at}");
        }
    }

    #[test]
    fn what_cannot_have_a_number_passes_as_it_is() {
        for payload in [&b"\x01"[..], b"\xff", b"\x09padding"] {
            let sent = [PREFACE, &frame(HEADERS, END_HEADERS | PADDED, 1, payload)].concat();
            assert_eq!(passed(&sent, sent.len()), sent, "{payload:?}");
        }
        let mut full = vec![0, 0x40, 0, HEADERS, END_HEADERS, 0, 0, 0, 1];
        full.resize(FRAME_HEAD_BYTES + FRAME_MAX_BYTES as usize, b'x');
        let sent = [PREFACE, &full].concat();
        assert_eq!(passed(&sent, sent.len()), sent);
    }

    #[test]
    fn the_last_number_is_the_servers() {
        let mut fields = HeaderMap::new();
        assert_eq!(take_stream(&mut fields), None);
        fields.append(FIELD.clone(), "9".parse().unwrap());
        fields.append(FIELD.clone(), "0000000005".parse().unwrap());
        assert_eq!((take_stream(&mut fields), fields.len()), (Some(5), 0));
    }

    #[test]
    fn a_smaller_table_is_not_passed_over() {
        assert!(keeps_table(&[]) && keeps_table(&[0, 3, 0, 0, 0, 3, 0, 1, 0, 1, 0, 0]));
        assert!(!keeps_table(&[0, 3, 0, 0, 0, 3, 0, 1, 0, 0, 0, 0]));
    }
}
