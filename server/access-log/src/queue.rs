//! From the threads that log to the writer: a ring of bytes a thread.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;

use rtrb::{Consumer, Producer, RingBuffer};

/// Bytes that wait to be written, a thread that logs: about 8,000 lines of an ordinary format.
const RING_BYTES: usize = 1024 * 1024;

/// What who logs and the writer share.
pub(crate) struct LineQueue {
    /// Tells the rings of one log from those of another on the same thread.
    id: u64,
    /// Rings that the writer has not taken over yet.
    new_rings: Mutex<Vec<Consumer<u8>>>,
    pub(crate) thread: OnceLock<Thread>,
    pub(crate) closing: AtomicBool,
    /// Raised by who asks for it, and by SIGHUP. Relaxed: the file was moved away before by a system
    /// call, and is opened anew by another.
    pub(crate) reopen: Arc<AtomicBool>,
    /// Written by who logs, and by the writer where writing fails.
    pub(crate) dropped: AtomicU64,
    pub(crate) written: AtomicU64,
}

thread_local! {
    /// This thread's rings, by the id of their log.
    static RINGS: RefCell<Vec<(u64, Producer<u8>)>> = const { RefCell::new(Vec::new()) };
}

impl LineQueue {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        LineQueue {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            new_rings: Mutex::default(),
            thread: OnceLock::new(),
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
    pub(crate) fn begin_close(&self) {
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
    pub(crate) fn new_rings(&self) -> MutexGuard<'_, Vec<Consumer<u8>>> {
        self.new_rings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
