//! Lines on standard error, for the whole process: whoever writes one goes on at once.
//!
//! A line goes into a bounded queue, from which one thread writes. So a reader that does not read,
//! a terminal that is stopped and a disk that is stuck hold up nobody; a line that cannot be
//! written (no reader any more, no space) is lost, and so is one for which there is no room. What
//! was lost is counted ([`lost`]) and told with the next line that gets through.
//!
//! Whoever ends the process waits for the rest by [`flush`], for a time that he states.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

use crate::instant;

/// Bytes of lines that wait; more are lost. A line of more is cut.
const QUEUE_BYTES_MAX: usize = 256 << 10;
/// Bytes of one line.
const LINE_BYTES_MAX: usize = 16 << 10;

static QUEUE: Mutex<Queue> = Mutex::new(Queue::new());
/// There is a line to write, or none is left.
static CHANGED: Condvar = Condvar::new();
/// Lines that were not written.
static LOST: AtomicU64 = AtomicU64::new(0);

struct Queue {
    lines: VecDeque<String>,
    bytes: usize,
    /// The thread that writes is there.
    has_writer: bool,
    /// It writes a line now.
    is_writing: bool,
}

/// Writes a line that begins with `sidecore: `, soon.
///
/// ```
/// sidecore_runtime::stderr::line(format_args!("listening on {}", "127.0.0.1:8080"));
/// ```
pub fn line(text: fmt::Arguments<'_>) {
    // A `Display` of a user's may panic; the line is lost then, and nothing else.
    match crate::panics::catch(|| format!("sidecore: {text}")) {
        Some(line) => push(line),
        None => count_lost(1),
    }
}

/// Writes lines as they are, soon: what has a format of its own, such as a panic's report.
pub fn raw(text: String) {
    push(text);
}

/// Lines that could not be written, since the process began.
pub fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// Waits until all lines are written, `limit` at most. False: some are not.
pub fn flush(limit: Duration) -> bool {
    let end = instant::after(limit);
    let mut queue = lock();
    while !queue.lines.is_empty() || queue.is_writing {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        queue = CHANGED.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
    }
    true
}

/// Has the reports of panics go this way: std's own hook writes them where the panic is, and waits
/// there for a reader that does not read.
///
/// Replaces the process's panic hook, so it is for the one who owns the process.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|info| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("<unnamed>").to_owned();
        let backtrace = std::backtrace::Backtrace::capture();
        let mut report = format!("thread '{name}' {info}");
        if backtrace.status() == std::backtrace::BacktraceStatus::Captured {
            report.push_str(&format!("\n{backtrace}"));
        }
        raw(report);
    }));
}

impl Queue {
    const fn new() -> Self {
        Queue { lines: VecDeque::new(), bytes: 0, has_writer: false, is_writing: false }
    }
}

fn lock() -> MutexGuard<'static, Queue> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn count_lost(lines: u64) {
    LOST.fetch_add(lines, Ordering::Relaxed);
}

fn push(mut text: String) {
    if text.len() > LINE_BYTES_MAX {
        let cut = (0..=LINE_BYTES_MAX).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        text.truncate(cut);
        text.push('…');
    }
    text.push('\n');
    let mut queue = lock();
    if queue.bytes + text.len() > QUEUE_BYTES_MAX {
        return count_lost(1);
    }
    queue.bytes += text.len();
    queue.lines.push_back(text);
    if !queue.has_writer {
        let started = std::thread::Builder::new().name("stderr".into()).spawn(write_lines);
        if started.is_err() {
            // No thread is to be had now: the next line tries again.
            queue.bytes = 0;
            return count_lost(queue.lines.drain(..).len() as u64);
        }
        queue.has_writer = true;
    }
    drop(queue);
    CHANGED.notify_all();
}

/// The thread that writes: for the life of the process.
fn write_lines() {
    keep_off_pinned_cpus();
    let mut told = 0;
    loop {
        let line = next();
        let lost = lost();
        if lost > told
            && write(&format!("sidecore: {} lines before this one are lost\n", lost - told))
        {
            told = lost;
        }
        if !write(&line) {
            count_lost(1);
        }
        lock().is_writing = false;
        CHANGED.notify_all();
    }
}

fn next() -> String {
    let mut queue = lock();
    loop {
        if let Some(line) = queue.lines.pop_front() {
            queue.bytes -= line.len();
            queue.is_writing = true;
            return line;
        }
        queue = CHANGED.wait(queue).unwrap_or_else(PoisonError::into_inner);
    }
}

/// Whether it was written. One write where the kernel takes it whole, so that a line is whole
/// beside those of other processes.
fn write(text: &str) -> bool {
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        match io::stderr().write(rest) {
            Ok(0) => return false,
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Somebody who shares the descriptor has set O_NONBLOCK.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait_for_room(),
            Err(_) => return false,
        }
    }
    true
}

fn wait_for_room() {
    let stderr = io::stderr();
    let _ = poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], None);
}

/// A thread has the CPUs of the one that starts it, which may be one executor's only; this one
/// takes those of the process's first thread, as far as these can be told.
fn keep_off_pinned_cpus() {
    let first = rustix::process::getpid();
    if let Ok(cpus) = rustix::thread::sched_getaffinity(Some(first)) {
        let _ = rustix::thread::sched_setaffinity(None, &cpus);
    }
}
