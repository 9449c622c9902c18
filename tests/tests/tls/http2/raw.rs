//! A client that speaks frames, right ones and others.

use super::*;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const ACK: u8 = 1;

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Error codes (RFC 9113 §7).
pub(super) const NO_ERROR: u32 = 0;
pub(super) const PROTOCOL_ERROR: u32 = 1;
pub(super) const REFUSED_STREAM: u32 = 7;
pub(super) const ENHANCE_YOUR_CALM: u32 = 11;
pub(super) const HTTP_1_1_REQUIRED: u32 = 13;

/// A connection, after the handshake of TLS where there is one.
pub(super) struct Raw<S = Client> {
    pub(super) client: S,
}

/// A frame that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Came {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

impl Came {
    /// The code of RST_STREAM or GOAWAY.
    pub(super) fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }

    /// The last stream that GOAWAY says was, or will be, looked at.
    pub(super) fn last_stream(&self) -> u32 {
        u32::from_be_bytes(self.payload[..4].try_into().unwrap())
    }
}

impl Raw {
    pub(super) fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        Raw { client: connect(address, config) }
    }
}

impl Raw<TcpStream> {
    pub(super) fn plain(address: SocketAddr) -> Self {
        Raw { client: socket(address) }
    }
}

impl<S: Read + Write> Raw<S> {
    /// Preface and settings.
    pub(super) fn begin(&mut self, settings: &[(u16, u32)]) {
        let payload = settings
            .iter()
            .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat());
        let settings = frame(SETTINGS, 0, 0, &payload.collect::<Vec<_>>());
        self.send(&[PREFACE, &settings].concat());
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.client.write_all(bytes).expect("the server takes it");
    }

    pub(super) fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.client.write_all(bytes).and_then(|()| self.client.flush()).is_ok()
    }

    /// The next frame, or None at the end, however it is said.
    pub(super) fn next(&mut self) -> Option<Came> {
        let mut head = [0; 9];
        self.client.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        self.client.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
        Some(Came { kind: head[3], flags: head[4], stream, payload })
    }

    /// The next frame of a kind; those before it are passed over.
    pub(super) fn until(&mut self, kind: u8) -> Came {
        loop {
            let came = self.next().unwrap_or_else(|| panic!("it ended before a frame of {kind}"));
            if came.kind == kind {
                return came;
            }
        }
    }

    /// All that comes to the end.
    pub(super) fn rest(&mut self) -> Vec<Came> {
        std::iter::from_fn(|| self.next()).collect()
    }

    /// Whether it is answered still.
    pub(super) fn ping(&mut self, says: [u8; 8]) {
        self.send(&frame(PING, 0, 0, &says));
        let pong = loop {
            let came = self.until(PING);
            if came.flags == ACK {
                break came;
            }
        };
        assert_eq!(pong.payload, says);
    }
}

/// A frame as bytes.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head[..], payload].concat()
}

/// The fields of a request, none of them indexed by what went before (RFC 7541).
pub(super) fn block(method: &str, path: &str) -> Vec<u8> {
    // Of the static table: 1 `:authority`, 2 `:method`, 4 `:path`, 7 `:scheme: https`.
    [literal(2, method), vec![0x87], literal(4, path), literal(1, "localhost")].concat()
}

fn literal(index: u8, value: &str) -> Vec<u8> {
    assert!(value.len() < 127);
    [&[index, value.len() as u8], value.as_bytes()].concat()
}

/// A request without a body.
pub(super) fn request(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &block("GET", path))
}

/// The head of one with a body.
pub(super) fn upload(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &block("POST", path))
}

pub(super) fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
}
