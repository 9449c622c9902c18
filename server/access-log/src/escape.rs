//! What clients control is escaped, so that no request can forge a line of the log or end a field.

/// How the texts of a format are escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Escape {
    /// As Apache does: `\"`, `\\`, `\n` and the like, and `\xhh` for every other byte that is no
    /// printable ASCII.
    Apache,
    /// For a string of JSON; what is no UTF-8 becomes U+FFFD.
    Json,
}

impl Escape {
    pub(crate) fn text(self, out: &mut Vec<u8>, text: &[u8]) {
        match self {
            Escape::Apache => text.iter().for_each(|&byte| apache(out, byte)),
            Escape::Json => {
                for part in text.utf8_chunks() {
                    part.valid().bytes().for_each(|byte| json(out, byte));
                    if !part.invalid().is_empty() {
                        out.extend_from_slice("\u{fffd}".as_bytes());
                    }
                }
            }
        }
    }
}

fn apache(out: &mut Vec<u8>, byte: u8) {
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0b => b'v',
        b' '..=b'~' => return out.push(byte),
        _ => {
            out.extend_from_slice(b"\\x");
            return out.extend_from_slice(&hexadecimal(byte));
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

fn json(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        // DEL is legal in JSON and moves cursors in terminals.
        0..b' ' | 0x7f => {
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&hexadecimal(byte));
        }
        _ => out.push(byte),
    }
}

fn hexadecimal(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_a_line_or_a_field() {
        let check = |escape: Escape, text: &[u8], expected: &str| {
            let mut out = Vec::new();
            escape.text(&mut out, text);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        };
        let hostile = b"a \"b\" \\ \n\r\t\x08\x0b\x00\x1b\x7f\xff\xc3\xa9";
        check(
            Escape::Apache,
            hostile,
            "a \\\"b\\\" \\\\ \\n\\r\\t\\b\\v\\x00\\x1b\\x7f\\xff\\xc3\\xa9",
        );
        check(
            Escape::Json,
            hostile,
            "a \\\"b\\\" \\\\ \\u000a\\u000d\\u0009\\u0008\\u000b\\u0000\\u001b\\u007f\u{fffd}\u{e9}",
        );
        let every: Vec<u8> = (0..=255).collect();
        let mut json = vec![b'"'];
        Escape::Json.text(&mut json, &every);
        json.push(b'"');
        let text: String = serde_json::from_slice(&json).expect("it is JSON");
        assert!(text.contains("\u{0}\u{1}") && !json.contains(&b'\n'));
    }
}
