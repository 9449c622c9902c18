//! The signal by which a thread is asked for its stack. All that is `unsafe` of it is here.
//!
//! The handler stays for the life of the process once it is set: by default the signal would end
//! the process, and one may come late.

use std::cell::Cell;
use std::ffi::{c_int, c_ulong, c_void};
use std::io;
use std::mem::{self, MaybeUninit};
use std::ops::Range;
use std::ptr;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::NoStacks;
use super::capture::{Capture, REGISTERS};
use crate::sys::sync::AtomicU64;

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!(
    "the feature `stacks` unwinds on x86_64 and aarch64 only: build without it, as by \
     `--no-default-features`"
);

/// Bytes of a stack that are copied, from its inner end. A frame has 100 B as a rule, 1 KiB in
/// builds that are not optimised.
const STACK_BYTES_MAX: usize = 128 * 1024;
const WORD: usize = mem::size_of::<u64>();

/// Of all pools: one watchdog asks at a time (`reader.rs`). Set before the handler is.
static CAPTURE: OnceLock<Capture> = OnceLock::new();
/// The signals whose handler is ours.
static INSTALLED: Mutex<Vec<c_int>> = Mutex::new(Vec::new());

thread_local! {
    /// This thread's own stack, from its lowest address; empty on threads that are no task workers.
    /// Without a destructor and set at compile time, so that a handler may read it.
    static STACK: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

/// What `rt_tgsigqueueinfo` takes: the kernel's `siginfo_t`, as far as it is of a queued signal.
#[repr(C)]
struct Queued {
    signal: c_int,
    errno: c_int,
    code: c_int,
    padding: c_int,
    process: libc::pid_t,
    user: libc::uid_t,
    value: usize,
    rest: [u64; 12],
}

const _: () = assert!(mem::size_of::<Queued>() == mem::size_of::<libc::siginfo_t>());
const _: () = assert!(mem::align_of::<Queued>() == mem::align_of::<libc::siginfo_t>());

/// Where the answers come.
pub(super) fn capture() -> &'static Capture {
    CAPTURE.get_or_init(|| Capture::new(STACK_BYTES_MAX / WORD))
}

/// Makes this thread one that answers: notes its stack, and lets the signals through.
pub(crate) fn publish() {
    STACK.set(own_stack().map_or((0, 0), |stack| (stack.start, stack.end)));
    let signals = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: `set` is a place for a set, which `sigemptyset` fills before it is read; the signals
    // are valid (`number` has checked them); a mask of this thread alone is changed, of signals
    // that are handled.
    unsafe {
        let mut set = MaybeUninit::uninit();
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals.iter() {
            libc::sigaddset(set.as_mut_ptr(), *signal);
        }
        libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), ptr::null_mut());
    }
}

/// The addresses of this thread's stack.
fn own_stack() -> Option<Range<usize>> {
    let mut attributes = MaybeUninit::uninit();
    let (mut lowest, mut size) = (ptr::null_mut(), 0);
    // SAFETY: `pthread_getattr_np` fills the attributes of a live thread, this one, or says that it
    // has not; they are read and given back only where it has. The other places are our own.
    let known = unsafe {
        libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) == 0 && {
            let read = libc::pthread_attr_getstack(attributes.as_ptr(), &mut lowest, &mut size);
            libc::pthread_attr_destroy(attributes.as_mut_ptr());
            read == 0
        }
    };
    let start = lowest.addr();
    known.then(|| start..start + size)
}

/// `SIGRTMIN+signal`, which differs between C libraries.
fn number(signal: u32) -> Result<c_int, NoStacks> {
    let (min, max) = (libc::SIGRTMIN(), libc::SIGRTMAX());
    let no_such = NoStacks::NoSuchSignal { signal, max: (max - min) as u32 };
    match c_int::try_from(signal) {
        Ok(signal) if signal <= max - min => Ok(min + signal),
        _ => Err(no_such),
    }
}

/// Sets the handler of `SIGRTMIN+signal`, unless another is set; returns the signal's number.
pub(super) fn install(signal: u32) -> Result<c_int, NoStacks> {
    let number = number(signal)?;
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    capture();
    let current = handler_of(number).map_err(NoStacks::Refused)?;
    if current == ours() {
        return Ok(number);
    }
    if current != libc::SIG_DFL {
        return Err(NoStacks::Taken { signal });
    }
    // SAFETY: a `sigaction` of zeroes is a valid one, with an empty mask; the handler has the
    // signature that SA_SIGINFO calls it with, and does only what a handler may (see there).
    let set = unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = ours();
        // The alternate stack, where the thread has one: a job may be near its stack's end.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK;
        libc::sigaction(number, &action, ptr::null_mut())
    };
    if set != 0 {
        return Err(NoStacks::Refused(io::Error::last_os_error()));
    }
    installed.push(number);
    Ok(number)
}

/// Whether the handler of a signal that was installed is still ours.
pub(super) fn is_ours(number: c_int) -> bool {
    handler_of(number).is_ok_and(|handler| handler == ours())
}

fn ours() -> libc::sighandler_t {
    let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = handle;
    handler as libc::sighandler_t
}

fn handler_of(number: c_int) -> io::Result<libc::sighandler_t> {
    let mut current = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: only asks; `current` is a place for the answer, and zeroes are a valid one.
    let (asked, current) = unsafe {
        (libc::sigaction(number, ptr::null(), current.as_mut_ptr()), current.assume_init())
    };
    if asked != 0 { Err(io::Error::last_os_error()) } else { Ok(current.sa_sigaction) }
}

/// Sends the signal to a thread of this process, with the number of an ask.
pub(super) fn send(number: c_int, thread_id: u32, ask: u32) -> io::Result<()> {
    let process = std::process::id() as libc::pid_t;
    let queued = Queued {
        signal: number,
        errno: 0,
        code: libc::SI_QUEUE,
        padding: 0,
        process,
        user: 0,
        value: ask as usize,
        rest: [0; 12],
    };
    // SAFETY: the call reads a `siginfo_t`, which `Queued` is laid out as (size and alignment are
    // asserted); the kernel refuses a thread that is none of this process.
    let sent = unsafe {
        libc::syscall(
            libc::SYS_rt_tgsigqueueinfo,
            process,
            thread_id as libc::pid_t,
            number,
            ptr::from_ref(&queued),
        )
    };
    if sent == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Copies registers and stack of the thread that it interrupts, if this process asked for them.
///
/// It reads constants, atomics and a thread-local that was there before the thread was asked; it
/// neither allocates, locks nor waits, makes two plain system calls, and leaves `errno`.
extern "C" fn handle(_: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel calls a handler with SA_SIGINFO with pointers to both, which live as long
    // as it runs; `si_pid` and `si_value` are those fields for signals with SI_QUEUE, and only then
    // read.
    let (ask, context) = unsafe {
        let (info, context) = (&*info, &*context.cast::<libc::ucontext_t>());
        if info.si_code != libc::SI_QUEUE || info.si_pid() != libc::getpid() {
            return;
        }
        (info.si_value().sival_ptr.addr() as u32, context)
    };
    let Some(capture) = CAPTURE.get() else { return };
    let registers = registers_of(context);
    capture.answer(ask, registers, |words| copy_stack(registers[1] as usize, words));
}

#[cfg(target_arch = "x86_64")]
fn registers_of(context: &libc::ucontext_t) -> [u64; REGISTERS] {
    let register = |index: c_int| context.uc_mcontext.gregs[index as usize] as u64;
    [register(libc::REG_RIP), register(libc::REG_RSP), register(libc::REG_RBP), 0]
}

#[cfg(target_arch = "aarch64")]
fn registers_of(context: &libc::ucontext_t) -> [u64; REGISTERS] {
    let machine = &context.uc_mcontext;
    [machine.pc, machine.sp, machine.regs[29], machine.regs[30]]
}

/// Copies this thread's stack, from `pointer` to its end or as much as there is room for; returns how
/// many words. None where `pointer` is not within it: the job runs on a stack of its own, or this
/// thread is no task worker.
fn copy_stack(pointer: usize, into: &[AtomicU64]) -> Result<usize, u32> {
    let (start, end) = STACK.get();
    if !(start..end).contains(&pointer) {
        return Ok(0);
    }
    let first = pointer.next_multiple_of(WORD);
    let length = into.len().min(end.saturating_sub(first) / WORD);
    copy(first, &into[..length])
}

/// Has the kernel copy words of this process's memory; returns how many, or the errno.
///
/// A stack is not this thread's alone: the job may have lent a part of it to other threads, which
/// write there now, and some of its bytes are padding, which has no value. A load of this thread's
/// own would be a data race, and of no value. The kernel's copy is neither, as it is no access of
/// this program's: of bytes that change it has some, and nothing is concluded from them.
fn copy(address: usize, into: &[AtomicU64]) -> Result<usize, u32> {
    let bytes = size_of_val(into);
    let to = libc::iovec { iov_base: into.as_ptr().cast_mut().cast(), iov_len: bytes };
    let from = libc::iovec { iov_base: ptr::without_provenance_mut(address), iov_len: bytes };
    let (one, none): (c_ulong, c_ulong) = (1, 0);
    // SAFETY: the call reads two vectors, of one element each, that outlive it. It writes `bytes` to
    // `into` at most: atomics, which may be written behind a shared borrow and hold any value, and
    // which nobody reads or writes meanwhile (`Capture::answer`). What it reads may be anything: an
    // address that is not mapped is an error. `errno` is this thread's own.
    let (copied, error) = unsafe {
        let errno = libc::__errno_location();
        let before = *errno;
        let number = libc::SYS_process_vm_readv;
        let copied =
            libc::syscall(number, libc::getpid(), &raw const to, one, &raw const from, one, none);
        (copied, mem::replace(&mut *errno, before))
    };
    usize::try_from(copied).map(|bytes| bytes / WORD).map_err(|_| error as u32)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn what_is_not_mapped_is_an_error_and_errno_is_left() {
        let words: Vec<_> = (0..4).map(|_| AtomicU64::new(0)).collect();
        let from = [1_u64, 2, 3, 4];
        assert_eq!(copy(from.as_ptr().expose_provenance(), &words), Ok(4));
        assert_eq!(words.iter().map(|word| word.load(Ordering::Relaxed)).collect::<Vec<_>>(), from);
        // SAFETY: `errno` is this thread's own.
        unsafe { *libc::__errno_location() = libc::EXDEV };
        assert_eq!(copy(WORD, &words), Err(libc::EFAULT as u32));
        assert_eq!(io::Error::last_os_error().raw_os_error(), Some(libc::EXDEV));
    }
}
