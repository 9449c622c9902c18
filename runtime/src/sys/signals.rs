//! The signal mask of a thread, which a process inherits from its parent as it is.

use std::mem::MaybeUninit;

use libc::c_int;

/// Has the calling thread take no signal: neither those that another thread of the process waits
/// for, nor the SIGPIPE of a reader that has gone, where the process does not ignore it.
pub(crate) fn block_all() {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset initialises `set` before pthread_sigmask reads it; the old mask is not
    // asked for.
    unsafe {
        libc::sigfillset(set.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
    }
}

/// Has the calling thread take these signals, also where the process was started with them blocked:
/// the kernel gives a signal of the process to any thread that takes it.
pub fn unblock(signals: &[c_int]) {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises `set` before the others use it; sigaddset refuses a number
    // that is no signal's, and changes nothing then; the old mask is not asked for.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), *signal);
        }
        libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), std::ptr::null_mut());
    }
}
