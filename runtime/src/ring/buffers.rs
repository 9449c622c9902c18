//! The provided buffer ring: memory the kernel picks receive buffers from.
//!
//! One ring of `count` buffers of `size_bytes` each serves every connection of an executor
//! (io_uring_register(2), `IORING_REGISTER_PBUF_RING`, Linux 5.19). A multishot receive takes a
//! buffer when bytes arrive and names it in its completion; the loop copies the bytes out and
//! gives the buffer back at once, so a connection that is idle holds none.
//!
//! Who writes what: this side writes entries and the tail, the kernel reads both. Entries are
//! written field by field, because the tail lives inside entry 0's `resv` field; the tail is
//! published once a turn ([`move_tail`]), for the kernel's acquire load.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU16;

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

use crate::sys::published::move_tail;

/// The one buffer group of an executor's ring.
pub(super) const BUFFER_GROUP: u16 = 0;
const PAGE_BYTES: usize = 4096;

/// A buffer that the kernel has taken and named in a completion: there is one of it until it is
/// [given back](BufferRing::give_back), by its one owner.
#[derive(Debug)]
pub(crate) struct Buffer(u16);

/// The buffers and the ring of entries that offers them to the kernel.
pub(super) struct BufferRing {
    entries: NonNull<BufRingEntry>,
    entries_layout: Layout,
    memory: NonNull<u8>,
    memory_layout: Layout,
    count: u16,
    size_bytes: u32,
    /// Entries written so far, modulo 2^16; the kernel sees it after [`publish`](Self::publish).
    tail: u16,
    published: u16,
}

impl BufferRing {
    /// Allocates `count` buffers (a power of two, at most 32,768) and registers them.
    pub(super) fn register(
        submitter: &Submitter<'_>,
        count: u16,
        size_bytes: u32,
    ) -> io::Result<Self> {
        let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
        if !count.is_power_of_two() || count > 1 << 15 || size_bytes == 0 {
            return Err(invalid());
        }
        let entries_layout = Layout::array::<BufRingEntry>(count.into())
            .and_then(|layout| layout.align_to(PAGE_BYTES))
            .map_err(|_| invalid())?;
        let memory_layout =
            Layout::from_size_align(usize::from(count) * size_bytes as usize, PAGE_BYTES)
                .map_err(|_| invalid())?;
        let mut ring = BufferRing {
            entries: allocate(entries_layout).cast(),
            entries_layout,
            memory: allocate(memory_layout),
            memory_layout,
            count,
            size_bytes,
            tail: 0,
            published: 0,
        };
        for id in 0..count {
            ring.give_back(Buffer(id));
        }
        // SAFETY: the entries are page aligned, `count` of them, and live until their registration
        // has ended: `Ring` ends it before it drops this value, or never drops it.
        unsafe {
            submitter.register_buf_ring_with_flags(
                ring.entries.as_ptr() as u64,
                count,
                BUFFER_GROUP,
                0,
            )?;
        }
        ring.publish();
        Ok(ring)
    }

    /// The buffer of a completion, which names it by `id`. Once for each.
    pub(super) fn taken(&self, id: u16) -> Buffer {
        assert!(id < self.count, "the kernel named a buffer that it was not given");
        Buffer(id)
    }

    /// The first `len` bytes of a buffer.
    pub(super) fn bytes(&self, buffer: &Buffer, len: usize) -> &[u8] {
        assert!(len <= self.size_bytes as usize);
        // SAFETY: in bounds by the assertion and by that of `taken`; initialised (zeroed at
        // allocation, then written by the kernel); the kernel writes a buffer only between
        // `give_back` and the completion that names it, and `give_back` takes the one that is
        // borrowed here.
        unsafe {
            let start = self.memory.as_ptr().add(self.offset(buffer));
            std::slice::from_raw_parts(start, len)
        }
    }

    /// Offers a buffer to the kernel again, from the next [`publish`](Self::publish) on.
    pub(super) fn give_back(&mut self, buffer: Buffer) {
        let slot = usize::from(self.tail & (self.count - 1));
        let address = self.memory.as_ptr() as u64 + self.offset(&buffer) as u64;
        // SAFETY: `slot < count`, so the entry is in bounds, and so is the buffer, which the kernel
        // writes to: its number was checked in `taken`, or counted in `register`. The kernel does
        // not read entries at or past the published tail, and the one that was here before it has
        // taken: of `count` buffers each is offered once, and anew only after it was taken.
        let entry = unsafe { &mut *self.entries.as_ptr().add(slot) };
        entry.set_addr(address);
        entry.set_len(self.size_bytes);
        entry.set_bid(buffer.0);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Makes the buffers given back since the last call visible to the kernel.
    pub(super) fn publish(&mut self) {
        if self.tail == self.published {
            return;
        }
        // SAFETY: `entries` is the base of the ring, page aligned and initialised; the tail is
        // only ever written here, and an AtomicU16 has the layout of the u16 behind it.
        let tail = unsafe { &*(BufRingEntry::tail(self.entries.as_ptr()) as *const AtomicU16) };
        move_tail(tail, self.tail);
        self.published = self.tail;
    }

    fn offset(&self, buffer: &Buffer) -> usize {
        usize::from(buffer.0) * self.size_bytes as usize
    }
}

impl Drop for BufferRing {
    fn drop(&mut self) {
        // SAFETY: allocated in `register` with these layouts, and freed only here. The kernel uses
        // neither any more: it has refused them, or `Ring` drops this, who proves it there.
        unsafe {
            dealloc(self.entries.as_ptr().cast(), self.entries_layout);
            dealloc(self.memory.as_ptr(), self.memory_layout);
        }
    }
}

fn allocate(layout: Layout) -> NonNull<u8> {
    // SAFETY: the callers' layouts are not of size zero: count and size are at least one.
    let start = unsafe { alloc_zeroed(layout) };
    NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout))
}
