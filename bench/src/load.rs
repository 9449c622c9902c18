//! The load client: one thread, many connections, one kind of request; loopback only.
//!
//! Closed loop: each connection sends its next request when its answer has come; what is measured
//! is the server's best case under that concurrency. Open loop: requests are due at a fixed rate,
//! whether or not earlier answers came, and each latency counts from when its request was due, so
//! that a server which stalls cannot hide it (coordinated omission).

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

/// Bounds of one load, so that it ends by itself and takes no more than a port range has.
pub const CONNECTIONS_MAX: usize = 20_000;
/// See [`CONNECTIONS_MAX`].
pub const DURATION_MAX: Duration = Duration::from_secs(120);
/// How long answers that are still out are waited for.
const ANSWERS_LIMIT: Duration = Duration::from_secs(10);
const LATENCY_MAX_NS: u64 = 60_000_000_000;

/// Connected clients, ready to send.
pub struct Load {
    poll: OwnedFd,
    connections: Vec<Connection>,
    request: Vec<u8>,
    input: Vec<u8>,
    events: Vec<epoll::Event>,
    report: LoadReport,
    outstanding: usize,
}

/// What a load measured.
pub struct LoadReport {
    /// Answers with a status below 400.
    pub answers: u64,
    /// Answers with another status.
    pub refusals: u64,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// Nanoseconds from a request (closed loop: sent; open loop: due) to its whole answer.
    pub latency_ns: Histogram<u64>,
}

/// How requests come.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// Each connection keeps as many requests in flight.
    Closed {
        /// Requests in flight a connection; above 1 they are pipelined.
        depth: usize,
    },
    /// So many requests a second in all, each due at its own time.
    Open {
        /// Requests a second.
        rate: u64,
    },
}

struct Connection {
    socket: TcpStream,
    /// When each request in flight was sent, or was due.
    starts: VecDeque<Instant>,
    /// An answer that has not come whole.
    partial: Vec<u8>,
}

impl Load {
    /// Opens `connections` connections to a loopback address.
    pub fn connect(address: SocketAddr, connections: usize, request: &[u8]) -> io::Result<Self> {
        let refuse = |why: &str| Err(io::Error::new(ErrorKind::InvalidInput, why));
        if !address.ip().is_loopback() {
            return refuse("loads are for this machine alone: name a loopback address");
        }
        if !(1..=CONNECTIONS_MAX).contains(&connections) {
            return refuse("connections: from 1 to 20,000");
        }
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut opened = Vec::new();
        for index in 0..connections {
            let socket = TcpStream::connect(address)?;
            socket.set_nodelay(true)?;
            socket.set_nonblocking(true)?;
            let data = epoll::EventData::new_u64(index as u64);
            epoll::add(&poll, &socket, data, epoll::EventFlags::IN)?;
            opened.push(Connection { socket, starts: VecDeque::new(), partial: Vec::new() });
        }
        Ok(Load {
            poll,
            connections: opened,
            request: request.to_vec(),
            input: vec![0; 64 * 1024],
            events: Vec::with_capacity(512),
            report: LoadReport::new(),
            outstanding: 0,
        })
    }

    /// Sends for `duration`, waits for the answers that are out, and leaves the connections open
    /// for another run.
    pub fn run(&mut self, pace: Pace, duration: Duration) -> io::Result<LoadReport> {
        let begin = Instant::now();
        let end = begin + duration.min(DURATION_MAX);
        match pace {
            Pace::Closed { depth } => self.closed(depth.max(1), end)?,
            Pace::Open { rate } => self.open(rate.max(1), begin, end)?,
        }
        let mut report = std::mem::replace(&mut self.report, LoadReport::new());
        report.elapsed = begin.elapsed();
        Ok(report)
    }

    fn closed(&mut self, depth: usize, end: Instant) -> io::Result<()> {
        for index in 0..self.connections.len() {
            self.send(index, depth, Instant::now())?;
        }
        while self.outstanding > 0 {
            let now = self.wait(end + ANSWERS_LIMIT)?;
            give_up_after(end + ANSWERS_LIMIT, now)?;
            for at in 0..self.events.len() {
                let index = self.events[at].data.u64() as usize;
                let answered = self.receive(index)?;
                if answered > 0 && now < end {
                    self.send(index, answered, Instant::now())?;
                }
            }
        }
        Ok(())
    }

    fn open(&mut self, rate: u64, begin: Instant, end: Instant) -> io::Result<()> {
        let interval = Duration::from_nanos(1_000_000_000 / rate);
        // First idle, first used: none is left to its time-out.
        let mut idle: VecDeque<usize> = (0..self.connections.len()).collect();
        // Requests that are due and found no idle connection: bounded by rate and duration.
        let mut due: VecDeque<Instant> = VecDeque::new();
        let mut next = begin;
        loop {
            let now = Instant::now();
            while next <= now && next < end {
                due.push_back(next);
                next += interval;
            }
            while let (Some(&start), Some(&index)) = (due.front(), idle.front()) {
                self.send(index, 1, start)?;
                due.pop_front();
                idle.pop_front();
            }
            if next >= end && due.is_empty() && self.outstanding == 0 {
                return Ok(());
            }
            let now = self.wait(if next < end { next } else { end + ANSWERS_LIMIT })?;
            give_up_after(end + ANSWERS_LIMIT, now)?;
            for at in 0..self.events.len() {
                let index = self.events[at].data.u64() as usize;
                if self.receive(index)? > 0 {
                    idle.push_back(index);
                }
            }
        }
    }

    /// Waits for events, until `until` at most.
    fn wait(&mut self, until: Instant) -> io::Result<Instant> {
        self.events.clear();
        let left = until.saturating_duration_since(Instant::now());
        let limit = Timespec::try_from(left).expect("a bounded time fits");
        match epoll::wait(&self.poll, spare_capacity(&mut self.events), Some(&limit)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(Instant::now()),
            Err(error) => Err(error.into()),
        }
    }

    fn send(&mut self, index: usize, count: usize, start: Instant) -> io::Result<()> {
        let connection = &mut self.connections[index];
        connection.starts.extend(std::iter::repeat_n(start, count));
        self.outstanding += count;
        let sent = match count {
            1 => connection.socket.write(&self.request)?,
            _ => connection.socket.write(&self.request.repeat(count))?,
        };
        // Small requests on a connection whose answers were read: the socket has room.
        match sent == self.request.len() * count {
            true => Ok(()),
            false => Err(io::Error::other("the socket took a part of a request only")),
        }
    }

    /// Reads once; the answers that came whole.
    fn receive(&mut self, index: usize) -> io::Result<usize> {
        let connection = &mut self.connections[index];
        let count = match connection.socket.read(&mut self.input) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error),
        };
        let now = Instant::now();
        let Connection { starts, partial, .. } = connection;
        let bytes = &self.input[..count];
        let answered = if partial.is_empty() {
            let (taken, answered) = self.report.take_answers(bytes, starts, now)?;
            partial.extend_from_slice(&bytes[taken..]);
            answered
        } else {
            partial.extend_from_slice(bytes);
            let (taken, answered) = self.report.take_answers(partial, starts, now)?;
            partial.drain(..taken);
            answered
        };
        self.outstanding -= answered;
        Ok(answered)
    }
}

impl LoadReport {
    fn new() -> Self {
        let latency_ns = Histogram::new_with_bounds(1, LATENCY_MAX_NS, 3).expect("fixed bounds");
        LoadReport { answers: 0, refusals: 0, elapsed: Duration::ZERO, latency_ns }
    }

    /// Answers a second, of whatever status.
    pub fn rate(&self) -> f64 {
        self.latency_ns.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// Takes in the answers that are whole: their bytes, and how many they are.
    fn take_answers(
        &mut self,
        bytes: &[u8],
        starts: &mut VecDeque<Instant>,
        now: Instant,
    ) -> io::Result<(usize, usize)> {
        let (mut taken, mut answered) = (0, 0);
        while let Some(answer) = next_answer(&bytes[taken..])? {
            taken += answer.size;
            answered += 1;
            let start = starts.pop_front();
            let start = start.ok_or_else(|| io::Error::other("an answer nobody asked for"))?;
            self.count(answer.status, now - start);
        }
        Ok((taken, answered))
    }

    fn count(&mut self, status: u16, latency: Duration) {
        match status < 400 {
            true => self.answers += 1,
            false => self.refusals += 1,
        }
        self.latency_ns.saturating_record(latency.as_nanos() as u64);
    }
}

fn give_up_after(limit: Instant, now: Instant) -> io::Result<()> {
    match now < limit {
        true => Ok(()),
        false => Err(io::Error::new(ErrorKind::TimedOut, "answers are missing")),
    }
}

struct Answer {
    status: u16,
    size: usize,
}

/// The first answer of `bytes`, if it is all there. Content-Length only: what servers here send.
fn next_answer(bytes: &[u8]) -> io::Result<Option<Answer>> {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let head = &bytes[..end + 2];
    let bad = |what| io::Error::other(format!("{what}: {:?}", String::from_utf8_lossy(head)));
    let number =
        |digits: &[u8]| -> Option<usize> { std::str::from_utf8(digits).ok()?.trim().parse().ok() };
    let status = head.get(9..12).and_then(number).ok_or_else(|| bad("no status"))?;
    let length = head
        .split(|&byte| byte == b'\n')
        .find(|line| line.get(..15).is_some_and(|n| n.eq_ignore_ascii_case(b"content-length:")))
        .and_then(|line| number(&line[15..]))
        .ok_or_else(|| bad("no length"))?;
    let size = end + 4 + length;
    Ok((bytes.len() >= size).then_some(Answer { status: status as u16, size }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn against_the_control(run: impl FnOnce(SocketAddr)) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let server = std::thread::spawn(move || crate::controls::epoll::serve(&listener, &stopped));
        run(address);
        stop.store(true, Ordering::Relaxed);
        server.join().unwrap().unwrap();
    }

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";

    #[test]
    fn a_closed_loop_counts_each_answer_once() {
        against_the_control(|address| {
            let mut load = Load::connect(address, 8, REQUEST).unwrap();
            for depth in [1, 7] {
                let pace = Pace::Closed { depth };
                let report = load.run(pace, Duration::from_millis(50)).unwrap();
                assert!(report.answers >= 8 * depth as u64, "{} answers", report.answers);
                assert_eq!(report.answers, report.latency_ns.len());
            }
        });
    }

    #[test]
    fn an_open_loop_sends_what_its_rate_says() {
        against_the_control(|address| {
            let mut load = Load::connect(address, 4, REQUEST).unwrap();
            let pace = Pace::Open { rate: 2_000 };
            let report = load.run(pace, Duration::from_millis(200)).unwrap();
            assert_eq!(report.answers, 400);
        });
    }

    #[test]
    fn an_open_loop_counts_latency_from_when_a_request_was_due() {
        // A server that takes 30 ms an answer, asked 100 times a second on one connection.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut input = [0; 1024];
            while socket.read(&mut input).is_ok_and(|count| count > 0) {
                std::thread::sleep(Duration::from_millis(30));
                socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
            }
        });
        let mut load = Load::connect(address, 1, REQUEST).unwrap();
        let report = load.run(Pace::Open { rate: 100 }, Duration::from_millis(100)).unwrap();
        assert_eq!(report.answers, 10);
        // The tenth was due at 90 ms and answered at 300 ms at the earliest.
        assert!(report.latency_ns.max() >= 200_000_000, "{}", report.latency_ns.max());
    }

    #[test]
    fn other_machines_are_refused() {
        let error = Load::connect("192.0.2.1:80".parse().unwrap(), 1, REQUEST).err().unwrap();
        assert!(error.to_string().contains("loopback"), "{error}");
    }
}
