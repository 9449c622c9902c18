//! Byte buffers that pass from connection to connection, so that an idle one owns none.

/// A buffer starts with this capacity: one head, or one small answer, without growing.
const BUFFER_BYTES: usize = 4096;
/// A buffer that grew past this is freed rather than kept.
const KEPT_MAX_BYTES: usize = 64 * 1024;
/// Buffers kept at once. With `KEPT_MAX_BYTES` this bounds the pool at 16 MiB.
const KEPT_MAX: usize = 256;

/// The buffers of one executor that no connection uses at the moment.
pub(super) struct BufferPool {
    free: Vec<Vec<u8>>,
}

impl BufferPool {
    pub(super) fn new() -> Self {
        BufferPool { free: Vec::new() }
    }

    /// An empty buffer.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.free.pop().unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES))
    }

    /// Takes `buffer`'s memory and leaves it empty, without capacity.
    pub(super) fn give_back(&mut self, buffer: &mut Vec<u8>) {
        let mut buffer = std::mem::take(buffer);
        if (1..=KEPT_MAX_BYTES).contains(&buffer.capacity()) && self.free.len() < KEPT_MAX {
            buffer.clear();
            self.free.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_empty_and_large_ones_do_not_come_back() {
        let mut pool = BufferPool::new();
        let mut buffer = pool.take();
        buffer.extend_from_slice(b"secret");
        pool.give_back(&mut buffer);
        assert_eq!(buffer.capacity(), 0);
        assert!(pool.take().is_empty());

        let mut grown = Vec::with_capacity(KEPT_MAX_BYTES + 1);
        pool.give_back(&mut grown);
        assert!(pool.free.is_empty());
    }
}
