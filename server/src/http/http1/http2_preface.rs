//! A client that begins with HTTP/2 because it knows, or thinks, that this is spoken here (RFC 9113
//! §3.3). Its first bytes are made to be no request of HTTP/1.1, so they are looked for only in what
//! the codec refuses: other connections pay nothing.

/// What such a client sends first (RFC 9113 §3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Where HTTP/2 is not spoken, in its own words: no SETTINGS, and GOAWAY with HTTP_1_1_REQUIRED. An
/// answer of HTTP/1.1 would be a broken frame to the client, and nothing to whoever uses it.
pub(crate) const GO_AWAY: &[u8] = b"\0\0\0\x04\0\0\0\0\0\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0d";

/// How the first bytes of a connection begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begins {
    Otherwise,
    /// With a part of the preface: the rest may come.
    Part,
    Http2,
}

pub(crate) fn begins(received: &[u8]) -> Begins {
    match received {
        _ if received.starts_with(PREFACE) => Begins::Http2,
        [_, ..] if PREFACE.starts_with(received) => Begins::Part,
        _ => Begins::Otherwise,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preface_is_known_in_parts() {
        assert_eq!(begins(b""), Begins::Otherwise);
        for at in 1..PREFACE.len() {
            assert_eq!(begins(&PREFACE[..at]), Begins::Part, "{at}");
        }
        assert_eq!(begins(PREFACE), Begins::Http2);
        assert_eq!(begins(&[PREFACE, b"\0"].concat()), Begins::Http2);
        assert_eq!(begins(b"PRI * HTTP/2.1\r\n"), Begins::Otherwise);
        assert_eq!(begins(b"PRI * HTTP/2.0\r\n\r\nsm"), Begins::Otherwise);
    }

    #[test]
    fn two_whole_frames_say_go_away() {
        assert_eq!(GO_AWAY.len(), 9 + 9 + 8);
        assert_eq!((GO_AWAY[3], GO_AWAY[9 + 2], GO_AWAY[9 + 3]), (4, 8, 7));
    }
}
