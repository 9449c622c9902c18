//! Limits of the process: locked memory and descriptors. Soft limits are raised; a hard limit is
//! somebody's decision and is left alone.
//!
//! Locked memory: the host of an executor refuses to start below 512 KiB, root or not, and since
//! Linux 6.14 rings count, for all processes of the user together. Measured on 6.18 without
//! `CAP_IPC_LOCK`: a network ring of 1,024 entries and buffers takes 152 KiB, an executor as a
//! whole 392 KiB, and 8 KiB more are needed once. The sums below give the same.

use std::fs;

use rustix::param::page_size;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities};

use super::{Needs, ProbeError, kernel};

/// The host of an executor refuses to start below this, whoever runs it.
const HOST_LOCKED_BYTES_MIN: u64 = 512 * 1024;
/// The host's rings: how many, and their submission entries (its defaults).
const HOST_RINGS: u64 = 3;
const HOST_RING_ENTRIES: u64 = 128;
/// The host registers its I/O memory, which is set to this, with each of its rings.
const HOST_REGISTERED_BYTES: u64 = 64 * 1024;
/// The rings of this probe and of the host's own may still be counted when executors start: the
/// kernel frees a ring some time after it is closed.
const PROBE_RINGS: u64 = 4;
const PROBE_RING_ENTRIES: u64 = 8;

/// Raises the limit on descriptors as far as it goes: each connection needs one, and the usual soft
/// limit of 1,024 is there for programs that use select(2), which this one does not.
pub(super) fn descriptors(needs: &Needs) -> Result<(), ProbeError> {
    let needed = needs.descriptors;
    let limit = getrlimit(Resource::Nofile);
    match limit.maximum {
        Some(hard) if hard < needed => Err(ProbeError::Descriptors { needed, hard }),
        hard => raise(Resource::Nofile, "nofile", limit, hard),
    }
}

/// Raises the limit on locked memory as far as it goes: it is the user's, not this process's
/// alone, so what is needed here may not be enough.
pub(super) fn locked_memory(needs: &Needs) -> Result<(), ProbeError> {
    let needed = locked_bytes(needs, rings_are_counted());
    let limit = getrlimit(Resource::Memlock);
    match limit.maximum {
        Some(hard) if hard < needed => {
            let executors = needs.executors;
            Err(ProbeError::LockedMemory { needed, hard, executors })
        }
        hard => raise(Resource::Memlock, "memlock", limit, hard),
    }
}

/// What the rings lock, or the least the host of an executor insists on.
fn locked_bytes(needs: &Needs, rings_are_counted: bool) -> u64 {
    if !rings_are_counted {
        return HOST_LOCKED_BYTES_MIN;
    }
    let host = HOST_RINGS * (ring_bytes(HOST_RING_ENTRIES, 2) + whole_pages(HOST_REGISTERED_BYTES));
    let network = ring_bytes(u64::from(needs.ring_entries), 4)
        + whole_pages(u64::from(needs.recv_buffers) * 16);
    let executors = needs.executors as u64;
    let hosts = executors.saturating_add(needs.async_workers as u64);
    let rings = hosts
        .saturating_mul(host)
        .saturating_add(executors.saturating_mul(network))
        .saturating_add(PROBE_RINGS * ring_bytes(PROBE_RING_ENTRIES, 4));
    rings.max(HOST_LOCKED_BYTES_MIN)
}

/// What io_uring allocates for a ring: 64 B a submission, and in one mapping a head of under
/// 1 KiB, 16 B a completion and 4 B a submission for its index.
fn ring_bytes(entries: u64, completions_per_entry: u64) -> u64 {
    let queues = 1024 + entries * (16 * completions_per_entry + 4);
    whole_pages(entries * 64) + whole_pages(queues)
}

fn whole_pages(bytes: u64) -> u64 {
    bytes.next_multiple_of(page_size() as u64)
}

/// Whether the kernel counts rings against the limit of this process: since 6.14, unless it has
/// `CAP_IPC_LOCK` over the whole machine rather than in a user namespace of its own.
fn rings_are_counted() -> bool {
    let old = kernel::Release::running().is_some_and(|release| release < kernel::RINGS_ARE_LOCKED);
    let exempt = capabilities(None)
        .is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK))
        && fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| is_first_namespace(&map));
    !old && !exempt
}

/// Only the first user namespace maps every user to itself.
fn is_first_namespace(uid_map: &str) -> bool {
    uid_map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// Raises the soft limit to `wanted`, where it is lower.
fn raise(
    resource: Resource,
    name: &'static str,
    limit: Rlimit,
    wanted: Option<u64>,
) -> Result<(), ProbeError> {
    if !is_below(limit.current, wanted) {
        return Ok(());
    }
    let raised = Rlimit { current: wanted, maximum: limit.maximum };
    setrlimit(resource, raised).map_err(|errno| ProbeError::LimitNotRaised { limit: name, errno })
}

/// Compares limits, of which `None` is infinity.
fn is_below(limit: Option<u64>, other: Option<u64>) -> bool {
    limit.is_some_and(|limit| other.is_none_or(|other| limit < other))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDS: Needs = Needs {
        executors: 2,
        async_workers: 1,
        ring_entries: 1024,
        recv_buffers: 1024,
        descriptors: 0,
    };

    #[test]
    fn no_limit_is_above_every_limit() {
        let check = |limit, other, expected| assert_eq!(is_below(limit, other), expected);
        check(Some(99), Some(100), true);
        check(Some(100), Some(100), false);
        check(Some(101), Some(100), false);
        check(Some(u64::MAX), None, true);
        check(None, Some(100), false);
        check(None, None, false);
    }

    #[test]
    fn locked_memory_grows_with_the_rings_where_they_are_counted() {
        let small = Needs { executors: 1, async_workers: 0, ..NEEDS };
        assert_eq!(locked_bytes(&small, false), HOST_LOCKED_BYTES_MIN);
        assert_eq!(locked_bytes(&small, true), HOST_LOCKED_BYTES_MIN);
        assert_eq!(locked_bytes(&Needs { executors: 64, ..NEEDS }, false), HOST_LOCKED_BYTES_MIN);
        let two = locked_bytes(&NEEDS, true);
        let six = locked_bytes(&Needs { executors: 6, async_workers: 3, ..NEEDS }, true);
        let ten = locked_bytes(&Needs { executors: 10, async_workers: 5, ..NEEDS }, true);
        assert!(two > HOST_LOCKED_BYTES_MIN && ten - six == six - two);
        let absurd = Needs { executors: usize::MAX, async_workers: usize::MAX, ..NEEDS };
        assert_eq!(locked_bytes(&absurd, true), u64::MAX);
    }

    #[test]
    fn locked_memory_covers_what_was_measured_on_pages_of_4_kib() {
        if page_size() == 4096 {
            for (executors, measured_kib) in [(2, 792), (4, 1576), (8, 3144)] {
                let needs = Needs { executors, async_workers: 0, ..NEEDS };
                let bytes = locked_bytes(&needs, true);
                assert!((measured_kib..measured_kib + 64).contains(&(bytes / 1024)), "{bytes}");
            }
        }
    }

    #[test]
    fn a_namespace_with_a_map_of_its_own_is_not_the_first() {
        assert!(is_first_namespace("         0          0 4294967295\n"));
        assert!(!is_first_namespace("         0       1000          1\n"));
        assert!(!is_first_namespace("0 0 1\n1 100000 65536\n"));
        assert!(!is_first_namespace(""));
    }
}
