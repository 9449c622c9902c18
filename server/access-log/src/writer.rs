//! From the serving threads to the file: a ring of bytes a thread (`queue.rs`), one thread that writes.
//!
//! Each thread that logs has a ring of its own with the writer (single producer, single consumer,
//! rtrb), made at its first line. A line is pushed whole or not at all, so what the writer finds
//! ends with a line's end. Where there is no room the line is counted as dropped: no request ever
//! waits for a disk.
//!
//! Who has pushed unparks the writer. std's parker remembers that if the writer is not parked, and
//! pairs the unpark (Release) with the return of the park (Acquire): so a push is seen by the look
//! that follows it. The writer looks again every [`BATCH_INTERVAL`] while there are lines, without
//! being parked, and parks after a look that found none. A wake, which costs a system call, is so
//! needed at most once in that time.
//!
//! At the end the flag `closing` is raised before the last unpark; the writer looks once more
//! after it has seen the flag. What was pushed before [`Writer::close`] was called is written.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rtrb::Consumer;

use crate::queue::LineQueue;
use crate::server;

/// How long lines wait for others before they are written.
const BATCH_INTERVAL: Duration = Duration::from_millis(50);
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

/// The writing thread; dropping it closes it.
pub(crate) struct Writer {
    pub(crate) queue: Arc<LineQueue>,
    close_wait: Duration,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Opens the output and starts the thread.
    pub(crate) fn start(output: Output) -> io::Result<Self> {
        let opened = output.open()?;
        let close_wait = match output {
            Output::File(_) => CLOSE_WAIT,
            Output::Stdout | Output::Stderr => CLOSE_WAIT_STREAM,
        };
        let queue = Arc::new(LineQueue::new());
        let mut writer = WriterThread {
            queue: queue.clone(),
            rings: Vec::new(),
            output,
            opened,
            reported: None,
            dropped_reported: 0,
            failures: 0,
        };
        let thread =
            std::thread::Builder::new().name("access-log".into()).spawn(move || writer.run())?;
        // Nobody can have pushed before this.
        let _ = queue.thread.set(thread.thread().clone());
        Ok(Writer { queue, close_wait, thread: Some(thread) })
    }

    /// Has all written that was pushed, and ends the thread.
    fn close(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.queue.begin_close();
        thread.thread().unpark();
        let began = Instant::now();
        while !thread.is_finished() && began.elapsed() < self.close_wait {
            std::thread::sleep(CLOSE_PAUSE);
        }
        match thread.is_finished() {
            true => drop(thread.join()),
            false => server::report(format_args!(
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
struct WriterThread {
    queue: Arc<LineQueue>,
    rings: Vec<Consumer<u8>>,
    output: Output,
    opened: Box<dyn Write + Send>,
    reported: Option<Instant>,
    dropped_reported: u64,
    failures: u64,
}

impl WriterThread {
    fn run(&mut self) {
        loop {
            // Before the look: what was pushed before the flag was raised is found by it.
            let closing = self.queue.closing.load(Ordering::Relaxed);
            if self.queue.reopen.swap(false, Ordering::Relaxed) {
                self.reopen();
            }
            let found = self.write_all();
            self.report(closing);
            match (closing, found) {
                (true, _) => return,
                (false, true) => std::thread::sleep(BATCH_INTERVAL),
                (false, false) => std::thread::park(),
            }
        }
    }

    /// Writes all that is there now; false if there was nothing.
    fn write_all(&mut self) -> bool {
        self.rings.append(&mut self.queue.new_rings());
        let mut found = false;
        let (opened, queue, failures) = (&mut self.opened, &self.queue, &mut self.failures);
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
                    Ok(()) => queue.written.fetch_add(lines as u64, Ordering::Relaxed),
                    Err(_) => {
                        *failures += 1;
                        queue.dropped.fetch_add(lines as u64, Ordering::Relaxed)
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
                server::report(format_args!(
                    "the access log cannot be opened again, and goes on: {error}"
                ));
            }
        }
    }

    /// Says what was dropped since it was last said.
    fn report(&mut self, closing: bool) {
        let dropped = self.queue.dropped();
        let is_soon = self.reported.is_some_and(|at| at.elapsed() < REPORT_PAUSE);
        if dropped == self.dropped_reported || (is_soon && !closing) {
            return;
        }
        let why = match std::mem::take(&mut self.failures) {
            0 => "it comes faster than it is written",
            _ => "its file cannot be written: is the disk full?",
        };
        let count = dropped - self.dropped_reported;
        server::report(format_args!("{count} lines of the access log were dropped: {why}"));
        (self.reported, self.dropped_reported) = (Some(Instant::now()), dropped);
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
