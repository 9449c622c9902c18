//! The client outside: a blocking socket of the thread that calls.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Longer than anything here takes: who waits longer waits for ever.
const PATIENCE: Duration = Duration::from_secs(60);
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// A connection to a host.
pub(crate) struct Client(TcpStream);

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).expect("the host listens");
        stream.set_nodelay(true).expect("a TCP socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        Client(stream)
    }

    /// The body of an answer that is short.
    pub(crate) fn get(&mut self, path: &str) -> String {
        self.0
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes())
            .expect("sent");
        let answer = String::from_utf8(self.answer()).expect("a text");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
        answer.split_once("\r\n\r\n").expect("a head").1.to_owned()
    }

    fn answer(&mut self) -> Vec<u8> {
        let (mut answer, mut bytes) = (Vec::new(), [0; 4096]);
        loop {
            // The signals of executors' timers may reach this thread.
            let count = match self.0.read(&mut bytes) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                read => read.expect("an answer in time"),
            };
            assert!(count > 0, "the host has closed");
            answer.extend_from_slice(&bytes[..count]);
            let text = String::from_utf8_lossy(&answer);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let mut fields = head.lines().filter_map(|line| line.split_once(':'));
            let length = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
            let length = length.and_then(|(_, value)| value.trim().parse().ok()).expect("a length");
            if body.len() >= length {
                return answer;
            }
        }
    }

    /// Microseconds from a request to its answer.
    pub(crate) fn gets(&mut self, window: Duration) -> f64 {
        self.0.write_all(GET).expect("sent");
        let length = self.answer().len();
        self.trips(window, GET, length)
    }

    /// Microseconds from 64 bytes to the same.
    pub(crate) fn echoes(&mut self, window: Duration) -> f64 {
        self.trips(window, &[b'x'; 64], 64)
    }

    fn trips(&mut self, window: Duration, message: &[u8], length: usize) -> f64 {
        let mut answer = vec![0; length];
        let (start, mut count) = (Instant::now(), 0_u64);
        while start.elapsed() < window {
            self.0.write_all(message).expect("sent");
            self.0.read_exact(&mut answer).expect("an answer in time");
            count += 1;
        }
        start.elapsed().as_secs_f64() * 1e6 / count as f64
    }
}
