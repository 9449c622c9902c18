//! What the process has allocated: its resident memory does not tell, as an allocator keeps much of
//! what was freed.

/// The allocator's own count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heap {
    /// Bytes that are allocated and not freed.
    pub in_use_bytes: u64,
    /// Bytes that the allocator has of the kernel.
    pub held_bytes: u64,
}

/// Asks the C library's allocator, which takes about a millisecond. None where it does not tell (it
/// is not GNU's), or serves nobody as the program has another one.
pub fn heap() -> Option<Heap> {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: it takes no arguments, returns its value, and takes the locks that it needs.
        let info = unsafe { libc::mallinfo2() };
        let heap = Heap {
            in_use_bytes: (info.uordblks + info.hblkhd) as u64,
            held_bytes: (info.arena + info.hblkhd) as u64,
        };
        (heap.in_use_bytes > 0).then_some(heap)
    }
    #[cfg(not(target_env = "gnu"))]
    None
}

#[cfg(all(test, target_env = "gnu"))]
mod tests {
    use super::*;

    #[test]
    fn what_is_allocated_is_counted_until_it_is_freed() {
        let before = heap().expect("the system's allocator").in_use_bytes;
        for size in [1 << 10, 64 << 20] {
            // Other tests allocate meanwhile, but nothing like this in all.
            let many: Vec<Vec<u8>> = (0..(64 << 20) / size).map(|_| vec![1; size]).collect();
            let with = heap().expect("the same").in_use_bytes;
            assert!(with > before + (48 << 20), "{before}, then {with}");
            drop(many);
            let after = heap().expect("the same").in_use_bytes;
            assert!(after + (48 << 20) < with, "{with}, then {after}");
        }
    }
}
