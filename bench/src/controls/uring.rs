//! The raw io_uring loop: multishot accept, multishot receive into provided buffers, one send in
//! flight a connection, everything submitted with the wait. The same set-up flags as the product.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::Duration;

use io_uring::types::{BufRingEntry, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use rustix::net::sockopt::set_tcp_nodelay;
use slab::Slab;

use super::{Answer, HeadEnds};

const ENTRIES: u32 = 1024;
const BUFFERS: u16 = 1024;
const BUFFER_BYTES: usize = 4096;
const GROUP: u16 = 0;
const ACCEPT: u64 = u64::MAX;
/// In user data: a send, not a receive.
const SEND: u64 = 1 << 63;
/// How often the loop looks whether it shall stop.
const LOOK: Duration = Duration::from_millis(200);

struct Connection {
    socket: OwnedFd,
    heads: HeadEnds,
    out: Vec<u8>,
    /// What a send in flight reads.
    flying: Vec<u8>,
    sending: bool,
    receiving: bool,
    ended: bool,
}

struct Loop {
    uring: IoUring,
    buffers: Buffers,
    connections: Slab<Connection>,
    answer: Answer,
    listener: i32,
}

/// Serves on the calling thread until `stop`.
pub fn serve(listener: &TcpListener, stop: &AtomicBool) -> io::Result<()> {
    set_tcp_nodelay(listener, true)?;
    let uring: IoUring = IoUring::builder()
        .setup_submit_all()
        .setup_clamp()
        .setup_cqsize(ENTRIES * 4)
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_coop_taskrun()
        .setup_taskrun_flag()
        .build(ENTRIES)?;
    let buffers = Buffers::register(&uring)?;
    let mut this = Loop {
        uring,
        buffers,
        connections: Slab::new(),
        answer: Answer::new(),
        listener: listener.as_raw_fd(),
    };
    this.accept();
    let mut completions = Vec::new();
    let look = Timespec::from(LOOK);
    while !stop.load(Ordering::Relaxed) {
        let wait = SubmitArgs::new().timespec(&look);
        match this.uring.submitter().submit_with_args(1, &wait) {
            Ok(_) => {}
            Err(error) if matches!(error.raw_os_error(), Some(libc::ETIME | libc::EINTR)) => {}
            Err(error) => return Err(error),
        }
        this.answer.keep_fresh();
        completions.extend(this.uring.completion());
        for completion in completions.drain(..) {
            this.complete(&completion);
        }
        this.buffers.publish();
    }
    Ok(())
}

impl Loop {
    fn accept(&mut self) {
        let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        let entry = opcode::AcceptMulti::new(Fd(self.listener)).flags(flags).build();
        self.push(&entry.user_data(ACCEPT));
    }

    fn receive(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        connection.receiving = true;
        let entry = opcode::RecvMulti::new(Fd(connection.socket.as_raw_fd()), GROUP).build();
        self.push(&entry.user_data(index as u64));
    }

    fn complete(&mut self, completion: &cqueue::Entry) {
        let more = cqueue::more(completion.flags());
        match completion.user_data() {
            ACCEPT => {
                if completion.result() >= 0 {
                    self.accepted(completion.result());
                }
                if !more {
                    self.accept();
                }
            }
            data if data & SEND != 0 => self.sent((data & !SEND) as usize, completion.result()),
            data => self.received(data as usize, completion, more),
        }
    }

    fn accepted(&mut self, descriptor: i32) {
        // SAFETY: the accept has just made this descriptor, and nothing else knows of it.
        let socket = unsafe { OwnedFd::from_raw_fd(descriptor) };
        let index = self.connections.insert(Connection {
            socket,
            heads: HeadEnds::default(),
            out: Vec::new(),
            flying: Vec::new(),
            sending: false,
            receiving: false,
            ended: false,
        });
        self.receive(index);
    }

    fn received(&mut self, index: usize, completion: &cqueue::Entry, more: bool) {
        let connection = &mut self.connections[index];
        let result = completion.result();
        connection.receiving = more;
        if let Some(buffer) = cqueue::buffer_select(completion.flags()) {
            let bytes = self.buffers.bytes(buffer, usize::try_from(result).unwrap_or(0));
            self.answer.append(connection.heads.count(bytes), &mut connection.out);
            self.buffers.give_back(buffer);
        }
        connection.ended |= result == 0 || (result < 0 && result != -libc::ENOBUFS);
        let again = !more && !connection.ended;
        self.send(index);
        if again {
            self.receive(index);
        }
        self.settle(index);
    }

    fn send(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        if connection.sending || connection.out.is_empty() {
            return;
        }
        std::mem::swap(&mut connection.flying, &mut connection.out);
        connection.out.clear();
        connection.sending = true;
        let (start, len) = (connection.flying.as_ptr(), connection.flying.len() as u32);
        let entry = opcode::Send::new(Fd(connection.socket.as_raw_fd()), start, len)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build();
        self.push(&entry.user_data(index as u64 | SEND));
    }

    fn sent(&mut self, index: usize, result: i32) {
        let connection = &mut self.connections[index];
        connection.sending = false;
        if result < connection.flying.len() as i32 {
            // The peer is gone; its receive will say so.
            connection.out.clear();
        }
        self.send(index);
        self.settle(index);
    }

    /// Forgets a connection that is over, once nothing of it is in flight.
    fn settle(&mut self, index: usize) {
        let connection = &self.connections[index];
        if connection.ended && !connection.sending && !connection.receiving {
            self.connections.remove(index);
        }
    }

    fn push(&mut self, entry: &squeue::Entry) {
        loop {
            // SAFETY: a send reads `flying`, which is neither touched nor freed while `sending`
            // is set; no other entry points to memory of this process. The provided buffers are
            // never freed.
            if unsafe { self.uring.submission().push(entry) }.is_ok() {
                return;
            }
            self.uring.submit().expect("the kernel takes what is queued");
        }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        // Sends may be in flight: their memory is left behind with the process's end near.
        std::mem::forget(std::mem::take(&mut self.connections));
    }
}

/// The provided buffers. Never freed: a control lives as long as its process or bench.
struct Buffers {
    entries: *mut BufRingEntry,
    memory: *mut u8,
    tail: u16,
}

impl Buffers {
    fn register(uring: &IoUring) -> io::Result<Self> {
        let page = rustix::param::page_size();
        let entries_bytes = usize::from(BUFFERS) * size_of::<BufRingEntry>();
        let entries = allocate(entries_bytes, page).cast();
        let mut buffers = Buffers {
            entries,
            memory: allocate(usize::from(BUFFERS) * BUFFER_BYTES, page),
            tail: 0,
        };
        for id in 0..BUFFERS {
            buffers.give_back(id);
        }
        // SAFETY: page-aligned entries, `BUFFERS` of them, never freed.
        unsafe {
            uring.submitter().register_buf_ring_with_flags(entries as u64, BUFFERS, GROUP, 0)?;
        }
        buffers.publish();
        Ok(buffers)
    }

    fn bytes(&self, id: u16, len: usize) -> &[u8] {
        assert!(id < BUFFERS && len <= BUFFER_BYTES);
        // SAFETY: in bounds by the assertion, zeroed at allocation; the kernel does not write to
        // a buffer between its completion and `give_back`, which borrows `self` uniquely.
        unsafe { std::slice::from_raw_parts(self.memory.add(usize::from(id) * BUFFER_BYTES), len) }
    }

    fn give_back(&mut self, id: u16) {
        let slot = usize::from(self.tail & (BUFFERS - 1));
        // SAFETY: `slot` is in bounds, and the kernel reads no entry past the published tail.
        unsafe {
            let entry = &mut *self.entries.add(slot);
            entry.set_addr(self.memory.add(usize::from(id) * BUFFER_BYTES) as u64);
            entry.set_len(BUFFER_BYTES as u32);
            entry.set_bid(id);
        }
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&self) {
        // SAFETY: the ring's tail lies in entry 0 and is written here alone; an AtomicU16 has the
        // layout of a u16.
        unsafe {
            let tail = BufRingEntry::tail(self.entries) as *const AtomicU16;
            (*tail).store(self.tail, Ordering::Release);
        }
    }
}

fn allocate(bytes: usize, align: usize) -> *mut u8 {
    let layout = std::alloc::Layout::from_size_align(bytes, align).expect("a small layout");
    // SAFETY: the layout is not of size zero.
    let start = unsafe { std::alloc::alloc_zeroed(layout) };
    assert!(!start.is_null(), "no memory for the receive buffers");
    start
}
