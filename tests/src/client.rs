//! A client that sends literal bytes and reads answers by their framing, nothing more: those of
//! crates write what they hold to be right, and hide where one answer ends.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// How long a test waits for an answer before it fails.
const LIMIT: Duration = Duration::from_secs(20);

/// A connection.
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer, read by its Content-Length or chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its head, as it was sent.
    pub head: String,
    /// Its body, decoded.
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a field, by its name in any case.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Client {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the server accepts");
        stream.set_read_timeout(Some(LIMIT)).expect("a time limit");
        stream.set_nodelay(true).expect("no delay");
        Client { stream, buffer: Vec::new() }
    }

    /// Sends bytes; false if the connection is gone.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the server takes it");
    }

    /// Sends a request and reads its answer.
    pub fn request(&mut self, method: &str, path: &str, body: &str) -> Answer {
        let length = body.len();
        self.send(format!(
            "{method} {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
        self.answer_to(method == "HEAD")
    }

    /// Reads an answer.
    pub fn answer(&mut self) -> Answer {
        self.answer_to(false)
    }

    /// Reads an answer, or None if the connection ends before its first byte.
    pub fn try_answer(&mut self) -> Option<Answer> {
        if self.buffer.is_empty() && !self.fill() {
            return None;
        }
        Some(self.answer_to(false))
    }

    /// Reads an answer; to HEAD it has no body.
    pub fn answer_to(&mut self, head_request: bool) -> Answer {
        let end = self.read_until(0, b"\r\n\r\n");
        let head = String::from_utf8(self.take(end)).expect("a head is text");
        let status = head.get(9..12).and_then(|code| code.parse().ok()).expect("a status");
        let mut answer = Answer { status, head, body: Vec::new() };
        let bodiless = head_request || status == 204 || status == 304 || status < 200;
        if !bodiless {
            if let Some(length) = answer.field("content-length") {
                let length = length.parse().expect("a length");
                answer.body = self.take_exactly(length);
            } else if answer.field("transfer-encoding") == Some("chunked") {
                answer.body = self.take_chunks();
            } else {
                answer.body = self.rest();
            }
        }
        answer
    }

    /// Half-closes: the server reads the end.
    pub fn end(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("a half-close");
    }

    /// Everything until the server's end.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.buffer)
    }

    /// What comes, up to the end of `pattern`.
    pub fn until(&mut self, pattern: &str) -> String {
        let end = self.read_until(0, pattern.as_bytes());
        String::from_utf8(self.take(end)).expect("text")
    }

    /// The next `count` bytes.
    pub fn exactly(&mut self, count: usize) -> Vec<u8> {
        self.take_exactly(count)
    }

    /// The socket, for what a test does to it.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    fn take_chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let end = self.read_until(0, b"\r\n");
            let line = self.take(end);
            let size = std::str::from_utf8(&line[..line.len() - 2]).expect("a size");
            let size = usize::from_str_radix(size, 16).expect("a hexadecimal size");
            let data = self.take_exactly(size + 2);
            body.extend_from_slice(&data[..size]);
            if size == 0 {
                return body;
            }
        }
    }

    fn take_exactly(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            assert!(self.fill(), "the answer ends early: {:?}", self.text());
        }
        self.take(count)
    }

    fn read_until(&mut self, from: usize, pattern: &[u8]) -> usize {
        loop {
            let found = self.buffer[from..].windows(pattern.len()).position(|w| w == pattern);
            if let Some(at) = found {
                return from + at + pattern.len();
            }
            assert!(self.fill(), "the answer ends early: {:?}", self.text());
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.buffer).into_owned()
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        self.buffer.drain(..count).collect()
    }

    /// Reads more; false at the end or a reset.
    fn fill(&mut self) -> bool {
        let mut bytes = [0; 16 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(0) => false,
            Ok(count) => {
                self.buffer.extend_from_slice(&bytes[..count]);
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
            // A signal of a server within this process.
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => self.fill(),
            Err(error) => panic!("no answer: {error}; so far {:?}", self.text()),
        }
    }
}

/// One GET on a connection of its own.
pub fn get(address: SocketAddr, path: &str) -> Answer {
    Client::connect(address).request("GET", path, "")
}
