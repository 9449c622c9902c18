//! From the executors to the file: a ring of bytes a thread, one thread that writes.
//!
//! Each thread that logs has a ring of its own with the writer (single producer, single consumer,
//! rtrb), made at its first line. A line is pushed whole or not at all, so what the writer finds
//! ends with a line's end. Where there is no room the line is counted as dropped: no request ever
//! waits for a disk.
//!
//! Who has pushed unparks the writer. std's parker keeps that word if the writer is not parked,
//! and pairs the unpark (Release) with the return of the park (Acquire): so a push is seen by the
//! look that follows it. The writer looks again every [`GATHER`] while there are lines, without
//! being parked, and parks after a look that found none. A wake, which costs a system call, is so
//! needed at most once in that time.
//!
//! At the end the flag `closing` is raised before the last unpark; the writer looks once more
//! after it has seen the flag. What was pushed before [`Writer::close`] was called is written.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use rtrb::{Consumer, Producer, RingBuffer};
use sidecore_runtime::stderr;

/// Bytes that wait to be written, a thread that logs: about 8,000 lines of an ordinary format.
const RING_BYTES: usize = 1024 * 1024;
/// How long lines are gathered before they are written.
const GATHER: Duration = Duration::from_millis(50);
/// Between two reports of lines that were dropped, or of a file that cannot be written.
const REPORT_PAUSE: Duration = Duration::from_secs(1);
/// How long the end waits for a file that takes nothing, on a disk that is busy.
const CLOSE_WAIT: Duration = Duration::from_secs(5);
/// The same for a standard stream, which may be a pipe that nobody reads.
const CLOSE_WAIT_STREAM: Duration = Duration::from_secs(1);
/// Between two looks at whether it has ended.
const CLOSE_PAUSE: Duration = Duration::from_millis(2);

/// Where lines go.
pub(crate) enum Output {
    File(PathBuf),
    Stdout,
    Stderr,
}

/// What who logs and the writer share.
pub(crate) struct Shared {
    /// Tells the rings of one log from those of another on the same thread.
    id: u64,
    /// Rings that the writer has not taken over yet.
    new_rings: Mutex<Vec<Consumer<u8>>>,
    thread: std::sync::OnceLock<Thread>,
    closing: AtomicBool,
    /// Raised by who asks for it, and by SIGHUP. Relaxed: the file was moved away before by a system
    /// call, and is opened anew by another.
    pub(crate) reopen: Arc<AtomicBool>,
    /// Written by who logs, and by the writer where writing fails.
    dropped: AtomicU64,
    written: AtomicU64,
}

/// The writing thread; dropping it closes it.
pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    close_wait: Duration,
    thread: Option<JoinHandle<()>>,
}

thread_local! {
    /// This thread's rings, by the id of their log.
    static RINGS: RefCell<Vec<(u64, Producer<u8>)>> = const { RefCell::new(Vec::new()) };
}

impl Shared {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Shared {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            new_rings: Mutex::default(),
            thread: std::sync::OnceLock::new(),
            closing: AtomicBool::new(false),
            reopen: Arc::default(),
            dropped: AtomicU64::new(0),
            written: AtomicU64::new(0),
        }
    }

    /// Hands a line over, or drops it.
    pub(crate) fn push(&self, line: &[u8]) {
        // A thread that is ending has no rings any more.
        let pushed = RINGS.try_with(|rings| self.push_to(&mut rings.borrow_mut(), line));
        match pushed {
            Ok(true) => self.wake(),
            Ok(false) | Err(_) => self.drop_line(),
        }
    }

    fn push_to(&self, rings: &mut Vec<(u64, Producer<u8>)>, line: &[u8]) -> bool {
        if self.closing.load(Ordering::Relaxed) {
            return false;
        }
        let at = rings.iter().position(|(id, _)| *id == self.id).unwrap_or_else(|| {
            // Those of logs that have ended go.
            rings.retain(|(_, ring)| !ring.is_abandoned());
            let (producer, consumer) = RingBuffer::new(RING_BYTES);
            self.new_rings().push(consumer);
            rings.push((self.id, producer));
            rings.len() - 1
        });
        rings[at].1.push_entire_slice(line).is_ok()
    }

    /// Under the lock that the thread takes after it has looked at the flag, so that it then finds
    /// what was pushed before.
    fn begin_close(&self) {
        let _rings = self.new_rings();
        self.closing.store(true, Ordering::Relaxed);
    }

    fn drop_line(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// No code that can panic runs under the lock, so poison means nothing here.
    fn new_rings(&self) -> std::sync::MutexGuard<'_, Vec<Consumer<u8>>> {
        self.new_rings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    /// Opens the output and starts the thread.
    pub(crate) fn start(output: Output) -> io::Result<Self> {
        let opened = output.open()?;
        let close_wait = match output {
            Output::File(_) => CLOSE_WAIT,
            Output::Stdout | Output::Stderr => CLOSE_WAIT_STREAM,
        };
        let shared = Arc::new(Shared::new());
        let mut writing = Writing {
            shared: shared.clone(),
            rings: Vec::new(),
            output,
            opened,
            reported: None,
            dropped_told: 0,
            failures: 0,
        };
        let thread =
            std::thread::Builder::new().name("access-log".into()).spawn(move || writing.run())?;
        // Nobody can have pushed before this.
        let _ = shared.thread.set(thread.thread().clone());
        Ok(Writer { shared, close_wait, thread: Some(thread) })
    }

    /// Has all written that was pushed, and ends the thread.
    fn close(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.shared.begin_close();
        thread.thread().unpark();
        let began = Instant::now();
        while !thread.is_finished() && began.elapsed() < self.close_wait {
            std::thread::sleep(CLOSE_PAUSE);
        }
        match thread.is_finished() {
            true => drop(thread.join()),
            false => stderr::line(format_args!(
                "the access log took nothing for {} s: lines are lost",
                self.close_wait.as_secs()
            )),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

/// The thread's own state.
struct Writing {
    shared: Arc<Shared>,
    rings: Vec<Consumer<u8>>,
    output: Output,
    opened: Box<dyn Write + Send>,
    reported: Option<Instant>,
    dropped_told: u64,
    failures: u64,
}

impl Writing {
    fn run(&mut self) {
        loop {
            // Before the look: what was pushed before the flag was raised is found by it.
            let closing = self.shared.closing.load(Ordering::Relaxed);
            if self.shared.reopen.swap(false, Ordering::Relaxed) {
                self.reopen();
            }
            let found = self.write_all();
            self.report(closing);
            match (closing, found) {
                (true, _) => return,
                (false, true) => std::thread::sleep(GATHER),
                (false, false) => std::thread::park(),
            }
        }
    }

    /// Writes all that is there now; false if there was nothing.
    fn write_all(&mut self) -> bool {
        self.rings.append(&mut self.shared.new_rings());
        let mut found = false;
        let (opened, shared, failures) = (&mut self.opened, &self.shared, &mut self.failures);
        self.rings.retain_mut(|ring| {
            // Looked at first: a thread that ends after it has pushed leaves a ring with lines.
            let gone = ring.is_abandoned();
            let count = ring.slots();
            if let Ok(chunk) = ring.read_chunk(count)
                && count > 0
            {
                found = true;
                let (first, second) = chunk.as_slices();
                let lines = first.iter().chain(second).filter(|&&byte| byte == b'\n').count();
                match opened.write_all(first).and_then(|()| opened.write_all(second)) {
                    Ok(()) => shared.written.fetch_add(lines as u64, Ordering::Relaxed),
                    Err(_) => {
                        *failures += 1;
                        shared.dropped.fetch_add(lines as u64, Ordering::Relaxed)
                    }
                };
                chunk.commit_all();
            }
            !gone || !ring.is_empty()
        });
        if found && opened.flush().is_err() {
            *failures += 1;
        }
        found
    }

    /// Goes on in a file of the same name; where it cannot be opened, in the one that is open.
    fn reopen(&mut self) {
        match self.output.open() {
            Ok(opened) => self.opened = opened,
            Err(error) => {
                stderr::line(format_args!(
                    "the access log cannot be opened again, and goes on: {error}"
                ));
            }
        }
    }

    /// Says what was dropped since it was last said.
    fn report(&mut self, closing: bool) {
        let dropped = self.shared.dropped();
        let is_soon = self.reported.is_some_and(|at| at.elapsed() < REPORT_PAUSE);
        if dropped == self.dropped_told || (is_soon && !closing) {
            return;
        }
        let why = match std::mem::take(&mut self.failures) {
            0 => "it comes faster than it is written",
            _ => "its file cannot be written: is the disk full?",
        };
        let count = dropped - self.dropped_told;
        stderr::line(format_args!("{count} lines of the access log were dropped: {why}"));
        (self.reported, self.dropped_told) = (Some(Instant::now()), dropped);
    }
}

impl Output {
    fn open(&self) -> io::Result<Box<dyn Write + Send>> {
        Ok(match self {
            Output::File(path) => {
                let file: File = OpenOptions::new().append(true).create(true).open(path)?;
                Box::new(file)
            }
            Output::Stdout => Box::new(io::stdout()),
            Output::Stderr => Box::new(io::stderr()),
        })
    }
}
