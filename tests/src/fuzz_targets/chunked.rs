//! Chunked bodies against a decoder of the whole buffer.

use sidecore::codec::{Chunk, ChunkedDecoder};

use super::Cuts;

/// What a body came to: its data and its size on the wire, or that it is refused or incomplete.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Whole(Vec<u8>, usize),
    Incomplete,
    Refused,
}

/// A body decodes the same however it is split; what is taken is what the naive decoder reads.
pub fn chunked(data: &[u8]) {
    let (cuts, input) = Cuts::split_off(data);
    let whole = decode(&[input]);
    assert_eq!(decode(&cuts.pieces(input)), whole, "in pieces");
    assert_eq!(decode(&input.chunks(1).collect::<Vec<_>>()), whole, "byte by byte");
    let naive = decode_naively(input);
    match (&whole, naive) {
        (Outcome::Whole(..), naive) => {
            assert_eq!(naive.map(|(outcome, _)| outcome), Some(whole), "what is taken is right");
        }
        // What the naive decoder has read to its end, but not into all of it.
        (Outcome::Refused, Some((_, unread))) => assert!(unread, "what is right is taken"),
        (Outcome::Incomplete, Some(_)) => panic!("what is whole is taken"),
        (Outcome::Refused | Outcome::Incomplete, None) => {}
    }
}

fn decode(pieces: &[&[u8]]) -> Outcome {
    let mut decoder = ChunkedDecoder::new();
    let (mut data, mut used) = (Vec::new(), 0);
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            let consumed = match decoder.decode(rest) {
                Ok(Chunk::Data { start, end }) => {
                    data.extend_from_slice(&rest[start..end]);
                    end
                }
                Ok(Chunk::Incomplete) => rest.len(),
                Ok(Chunk::End { consumed }) => return Outcome::Whole(data, used + consumed),
                Err(_) => return Outcome::Refused,
            };
            assert!(consumed > 0 && consumed <= rest.len(), "a call makes progress");
            used += consumed;
            rest = &rest[consumed..];
        }
    }
    Outcome::Incomplete
}

/// RFC 9112 §7.1 without a state: lines by searching; and whether there was something that may
/// be refused and is not looked into: an extension, a trailer, a size of many digits.
fn decode_naively(input: &[u8]) -> Option<(Outcome, bool)> {
    let (mut data, mut rest, mut unread) = (Vec::new(), input, false);
    loop {
        let (line, after) = split_line(rest)?;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let size = std::str::from_utf8(&line[..digits]).ok()?;
        let size = usize::from_str_radix(size, 16).ok()?;
        let extension = &line[digits..];
        let first = extension.iter().find(|&&byte| byte != b' ' && byte != b'\t');
        if first != Some(&b';') && !extension.is_empty() {
            return None;
        }
        unread |= digits > 15 || !extension.is_empty();
        rest = after;
        if size == 0 {
            break;
        }
        data.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
    loop {
        let (line, after) = split_line(rest)?;
        rest = after;
        if line.is_empty() {
            return Some((Outcome::Whole(data, input.len() - rest.len()), unread));
        }
        unread = true;
    }
}

fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    Some((&bytes[..end], &bytes[end + 2..]))
}
