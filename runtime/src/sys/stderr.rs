//! Lines on standard error, for the whole process: whoever writes one goes on at once.
//!
//! A line goes into a bounded queue, from which one thread writes. So a reader that does not read,
//! a terminal that is stopped and a disk that is stuck hold up nobody; a line that cannot be
//! written (no reader any more, no space) is lost, and so is one for which there is no room. What
//! was lost is counted ([`lost`]) and told with the next line that gets through.
//!
//! Where no thread is to be had, lines wait for the next one that is, or for [`flush`], which then
//! writes them itself. Whoever ends the process calls that, with a time that he is ready to wait.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::sys::instant;
use crate::sys::signals;

/// Bytes of lines that wait; more are lost. A line of more is cut.
const QUEUE_BYTES_MAX: usize = 256 << 10;
/// How long the end of a process waits for lines that nobody has flushed.
const EXIT_LIMIT: Duration = Duration::from_millis(100);
/// Bytes of one line.
const LINE_BYTES_MAX: usize = 16 << 10;
/// A write of so many bytes does not wait where poll(2) says that there is room (pipe(7), PIPE_BUF).
const PIECE_BYTES: usize = 4096;
/// How long a panic that ends the process waits for its report to be written.
const LAST_WORDS: Duration = Duration::from_millis(500);

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
    /// A line is being written, by that thread or by who flushes.
    is_writing: bool,
    /// Lost lines that were told.
    told: u64,
}

/// Writes a line that begins with `sidecore: `, soon.
///
/// ```
/// sidecore_runtime::sys::stderr::line(format_args!("listening on {}", "127.0.0.1:8080"));
/// ```
pub fn line(text: fmt::Arguments<'_>) {
    // A `Display` of a user's may panic; the line is lost then, and nothing else.
    match crate::sys::panics::catch(|| format!("sidecore: {text}")) {
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
        if !queue.start_writer() && !queue.is_writing {
            write_next(queue, Some(end));
            queue = lock();
            continue;
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
        if aborts(info) {
            flush(LAST_WORDS);
        }
    }));
}

/// Whether the process aborts when the hook returns, as far as that can be told: there is no stable
/// way to ask. A panic that cannot unwind, such as one of a destructor while another panic unwinds,
/// comes from core itself (`core::panicking::panic_nounwind`).
fn aborts(info: &std::panic::PanicHookInfo<'_>) -> bool {
    let place = info.location().map_or("", |location| location.file());
    cfg!(panic = "abort") || place.ends_with("core/src/panicking.rs")
}

impl Queue {
    const fn new() -> Self {
        Queue { lines: VecDeque::new(), bytes: 0, has_writer: false, is_writing: false, told: 0 }
    }

    fn pop(&mut self) -> Option<String> {
        let line = self.lines.pop_front()?;
        self.bytes -= line.len();
        self.is_writing = true;
        Some(line)
    }

    /// Whether the thread that writes is there.
    fn start_writer(&mut self) -> bool {
        if !self.has_writer {
            let thread = std::thread::Builder::new().name("stderr".into());
            self.has_writer = thread.spawn(write_lines).is_ok();
            if self.has_writer {
                // SAFETY: the function is there for the life of the process, takes nothing and
                // does not unwind. Where it cannot be registered, a process that does not flush
                // may end before its last lines.
                unsafe { libc::atexit(flush_at_exit) };
            }
        }
        self.has_writer
    }
}

/// Whoever ends the process without a [`flush`] of its own, as a program that uses a part of this
/// crate may, has its last lines all the same.
extern "C" fn flush_at_exit() {
    let _ = flush(EXIT_LIMIT);
}

fn lock() -> MutexGuard<'static, Queue> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn count_lost(lines: u64) {
    LOST.fetch_add(lines, Ordering::Relaxed);
}

/// A line as it is written: ended, and cut where it is too long.
fn cut(mut text: String) -> String {
    if text.len() > LINE_BYTES_MAX {
        let end = (0..=LINE_BYTES_MAX).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text.push('\n');
    text
}

fn push(text: String) {
    let text = cut(text);
    let mut queue = lock();
    if queue.bytes + text.len() > QUEUE_BYTES_MAX {
        return count_lost(1);
    }
    queue.bytes += text.len();
    queue.lines.push_back(text);
    // Where it cannot be started now, the next line tries again.
    queue.start_writer();
    drop(queue);
    CHANGED.notify_all();
}

/// The thread that writes: for the life of the process.
fn write_lines() {
    signals::block_all();
    keep_off_pinned_cpus();
    loop {
        let mut queue = lock();
        while queue.lines.is_empty() || queue.is_writing {
            queue = CHANGED.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        write_next(queue, None);
    }
}

/// Writes the next line, until `end` at most, and before it how many are missing.
fn write_next(mut queue: MutexGuard<'static, Queue>, end: Option<Instant>) {
    let told = queue.told;
    let Some(line) = queue.pop() else { return };
    drop(queue);
    let lost = lost();
    let tells = lost > told
        && write(&format!("sidecore: {} lines before this one are lost\n", lost - told), end);
    if !write(&line, end) {
        count_lost(1);
    }
    let mut queue = lock();
    if tells {
        queue.told = lost;
    }
    queue.is_writing = false;
    drop(queue);
    CHANGED.notify_all();
}

/// Whether it was written, before `end` if there is one. Without it one write where the kernel takes
/// it whole, so that a line is whole beside those of other processes.
fn write(text: &str, end: Option<Instant>) -> bool {
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let piece = if end.is_some() { rest.len().min(PIECE_BYTES) } else { rest.len() };
        if end.is_some() && !has_room(end) {
            return false;
        }
        match io::stderr().write(&rest[..piece]) {
            Ok(0) => return false,
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Somebody who shares the descriptor has set O_NONBLOCK.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if !has_room(end) {
                    return false;
                }
            }
            Err(_) => return false,
        }
    }
    true
}

/// Waits for room, until `end` if there is one.
fn has_room(end: Option<Instant>) -> bool {
    let left = end.map(|end| end.saturating_duration_since(Instant::now()));
    let limit = left.and_then(|left| Timespec::try_from(left).ok());
    let stderr = io::stderr();
    // An error of the poll is for the write to find.
    poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], limit.as_ref()) != Ok(0)
}

/// A thread has the CPUs of the one that starts it, which may be one executor's only; this one
/// takes those of the process's first thread, as far as these can be told.
fn keep_off_pinned_cpus() {
    let first = rustix::process::getpid();
    if let Ok(cpus) = rustix::thread::sched_getaffinity(Some(first)) {
        let _ = rustix::thread::sched_setaffinity(None, &cpus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_at_a_character_and_always_ended() {
        assert_eq!(cut("short".into()), "short\n");
        let long = cut("é".repeat(LINE_BYTES_MAX));
        assert_eq!(long.len(), LINE_BYTES_MAX + "…\n".len());
        assert!(long.ends_with("é…\n"));
    }

    #[test]
    fn a_text_that_panics_while_it_is_made_costs_a_line_and_no_more() {
        struct Panics;
        impl fmt::Display for Panics {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                panic!("a text that cannot be made")
            }
        }
        let before = lost();
        line(format_args!("{Panics}"));
        assert_eq!(lost(), before + 1);
    }

    #[test]
    fn what_was_written_is_flushed() {
        raw("a line of a test".to_owned());
        assert!(flush(Duration::from_secs(20)));
    }
}
