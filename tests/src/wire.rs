//! Tables of literal requests: what a server answers to each, and whether the connection lives on.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::{Answer, Random, ServerProcess};

/// How long a connection may take to end.
const LIMIT: Duration = Duration::from_secs(10);
/// Connections at a time.
const THREADS: usize = 8;
/// A request whose answer nothing else gets: it tells whether the connection is open and in step.
const PROBE: &[u8] = b"GET /tasks/0 HTTP/1.1\r\nHost: probe\r\n\r\n";
const PROBE_ANSWER: &[u8] = b"no such task";

/// Cases that run over one server, in parallel and each in several splits.
#[derive(Default)]
pub struct Table {
    cases: Vec<Case>,
}

struct Case {
    input: Vec<u8>,
    expected: String,
    ends: bool,
}

/// How a case's bytes are sent.
#[derive(Clone, Copy, Debug)]
enum Split {
    Whole,
    Bytes,
    Random(u64),
}

impl Table {
    /// The answers to `input`: their statuses, each with `=` and its body where that counts, and
    /// then `open` or `close`: whether another request on the connection is answered.
    pub fn check(&mut self, input: impl AsRef<[u8]>, expected: &str) {
        let (input, expected) = (input.as_ref().to_vec(), expected.to_owned());
        self.cases.push(Case { input, expected, ends: false });
    }

    /// The same where the client's bytes end with `input`: it always closes.
    pub fn check_end(&mut self, input: impl AsRef<[u8]>, expected: &str) {
        let (input, expected) = (input.as_ref().to_vec(), expected.to_owned());
        self.cases.push(Case { input, expected, ends: true });
    }

    /// Runs all cases; fails with each that came out otherwise.
    pub fn run(self) {
        let server = ServerProcess::start(&[("SIDECORE_TASK_WORKER_NUM", "1")]);
        let failures = Mutex::new(Vec::new());
        let address = server.address();
        in_parallel(&self.cases, |index, case| {
            let seed = index as u64 + 1;
            for split in [Split::Whole, Split::Bytes, Split::Random(seed)] {
                let got = case.run(address, split);
                if got != case.expected {
                    let (input, expected) = (String::from_utf8_lossy(&case.input), &case.expected);
                    let failure = format!("{input:?}\n  {split:?}: {got:?}, not {expected:?}");
                    failures.lock().unwrap().push(failure);
                    break;
                }
            }
        });
        let failures = failures.into_inner().unwrap();
        println!("{} cases, each in three splits", self.cases.len());
        let (failed, all) = (failures.len(), self.cases.len());
        assert!(failures.is_empty(), "{failed} of {all} cases:\n{}", failures.join("\n"));
        server.stop();
    }
}

impl Case {
    /// What came of it, written as the expectation is.
    fn run(&self, address: SocketAddr, split: Split) -> String {
        let mut bytes = self.input.clone();
        if !self.ends {
            bytes.extend_from_slice(PROBE);
        }
        let received = match exchange(address, &cut(&bytes, split)) {
            Ok(received) => received,
            Err(error) => return error,
        };
        let mut answers = match read_answers(&received, self.input.starts_with(b"HEAD ")) {
            Ok(answers) => answers,
            Err(error) => return error,
        };
        let probed = |answer: &Answer| {
            answer.body.windows(PROBE_ANSWER.len()).any(|window| window == PROBE_ANSWER)
        };
        let open = answers.last().is_some_and(probed);
        if open {
            answers.pop();
        }
        self.describe(&answers) + if open { "open" } else { "close" }
    }

    /// Bodies are told where the expectation tells them.
    fn describe(&self, answers: &[Answer]) -> String {
        let mut text = String::new();
        let mut expected = self.expected.split(' ');
        for answer in answers {
            let _ = write!(text, "{}", answer.status);
            if expected.next().is_some_and(|word| word.contains('=')) {
                let _ = write!(text, "={}", String::from_utf8_lossy(&answer.body));
            }
            text.push(' ');
        }
        text
    }
}

/// Gives each item, with its index, to `work` on one of a few threads.
pub fn in_parallel<T: Sync>(items: &[T], work: impl Fn(usize, &T) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else { break };
                    work(index, item);
                }
            });
        }
    });
}

/// Sends the pieces on a connection of their own, then the end; everything that comes back.
pub fn exchange(address: SocketAddr, pieces: &[&[u8]]) -> Result<Vec<u8>, String> {
    let mut stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(LIMIT)).map_err(|error| error.to_string())?;
    for (index, piece) in pieces.iter().enumerate() {
        // A server that has refused may have closed already; what it said still counts.
        if stream.write_all(piece).is_err() {
            break;
        }
        if index + 1 < pieces.len() && piece.len() > 1 {
            std::thread::sleep(Duration::from_micros(300));
        }
    }
    let _ = stream.shutdown(Shutdown::Write);
    let mut received = Vec::new();
    match stream.read_to_end(&mut received) {
        Ok(_) => Ok(received),
        Err(error) => {
            Err(format!("no end: {error}, after {:?}", String::from_utf8_lossy(&received)))
        }
    }
}

fn cut(bytes: &[u8], split: Split) -> Vec<&[u8]> {
    match split {
        Split::Whole => vec![bytes],
        // A long input in single bytes would take long and say no more.
        Split::Bytes if bytes.len() > 3000 => bytes.chunks(1000).collect(),
        Split::Bytes => bytes.chunks(1).collect(),
        Split::Random(seed) => {
            let mut random = Random::new(seed);
            let mut at: Vec<_> = (0..3).map(|_| random.below(bytes.len() + 1)).collect();
            at.sort_unstable();
            vec![&bytes[..at[0]], &bytes[at[0]..at[1]], &bytes[at[1]..at[2]], &bytes[at[2]..]]
        }
    }
}

/// All answers in what a connection gave; with `head_first` the first has no content.
pub fn read_answers(mut bytes: &[u8], head_first: bool) -> Result<Vec<Answer>, String> {
    let mut answers: Vec<Answer> = Vec::new();
    while !bytes.is_empty() {
        let broken = || format!("no answer: {:?}", String::from_utf8_lossy(bytes));
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").ok_or_else(broken)? + 4;
        let head = String::from_utf8(bytes[..end].to_vec()).map_err(|_| broken())?;
        let code = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
        let status = code.and_then(|code| code.parse().ok()).ok_or_else(broken)?;
        let mut answer = Answer { status, head, body: Vec::new() };
        let length = match answer.field("content-length") {
            _ if head_first && answers.is_empty() => 0,
            Some(length) => length.parse().map_err(|_| broken())?,
            None => 0,
        };
        answer.body = bytes.get(end..end + length).ok_or_else(broken)?.to_vec();
        answers.push(answer);
        bytes = &bytes[end + length..];
    }
    Ok(answers)
}
