//! Asks a thread for its stack and makes frames of the answer; on a watchdog's thread.

use std::ffi::c_int;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::capture::Copied;
use super::{ANSWER_MAX, NoStacks, Stack, StackEnd, signal, unwind};
use crate::sys::instant::after;
use crate::sys::panics::catch;

/// Between two looks whether the thread has answered.
const LOOK: Duration = Duration::from_micros(100);

/// One asks at a time, whatever their pools.
static ASKER: Mutex<()> = Mutex::new(());

/// Reads the stacks of threads that have [published](super::publish) themselves.
pub(crate) struct Reader {
    signal: c_int,
}

impl Reader {
    /// Sets the handler of `SIGRTMIN+signal`.
    pub(crate) fn install(signal: u32) -> Result<Self, NoStacks> {
        signal::install(signal).map(|signal| Reader { signal })
    }

    /// The stack of a thread of this process, if it is `still` at the job when it has answered.
    /// Takes the time of an answer, and some milliseconds for names; longer for the first one,
    /// which reads the executable's tables.
    pub(crate) fn read(&self, thread_id: u32, still: impl FnOnce() -> bool) -> Stack {
        let over = || StackEnd::NotAsked("the job was over by then".to_owned());
        let copied =
            self.copy(thread_id).and_then(|copied| still().then_some(copied).ok_or_else(over));
        let copied = match copied {
            Ok(copied) => copied,
            Err(end) => return Stack { frames: Vec::new(), end },
        };
        // Tables of the executable's are read by others' code: a fault there costs the frames.
        catch(|| unwind::frames(&copied)).unwrap_or_else(|| {
            let end = StackEnd::Unreadable("the unwinder panicked".to_owned());
            Stack { frames: Vec::new(), end }
        })
    }

    fn copy(&self, thread_id: u32) -> Result<Copied, StackEnd> {
        let _one = ASKER.lock().unwrap_or_else(PoisonError::into_inner);
        if !signal::is_ours(self.signal) {
            let cause = "the handler of its signal was replaced by another of this process";
            return Err(StackEnd::NotAsked(cause.to_owned()));
        }
        let capture = signal::capture();
        let Some(ask) = capture.ask() else { return Err(StackEnd::NoAnswer(ANSWER_MAX)) };
        if let Err(cause) = signal::send(self.signal, thread_id, ask) {
            capture.withdraw(ask);
            return Err(StackEnd::NotAsked(format!("the thread could not be asked: {cause}")));
        }
        let end = after(ANSWER_MAX);
        loop {
            if let Some(copied) = capture.take(ask) {
                return Ok(copied);
            }
            if Instant::now() >= end {
                break;
            }
            std::thread::sleep(LOOK);
        }
        if capture.withdraw(ask) {
            return Err(StackEnd::NoAnswer(ANSWER_MAX));
        }
        // It has begun in the last moment, or lost its CPU: it may have ended by now.
        capture.take(ask).ok_or(StackEnd::NoAnswer(ANSWER_MAX))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// As in any program's: some is recursion, some is in the kernel, and all has one result.
    fn work(round: u64, depth: u32, pipe: &mut (impl Read + Write)) -> u64 {
        let mut local = [round; 32];
        for (index, word) in local.iter_mut().enumerate() {
            *word = word.rotate_left(index as u32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        let sum = local.iter().fold(0, |sum: u64, word| sum.rotate_left(7) ^ word);
        if depth > 0 {
            return work(sum, depth - 1, pipe) ^ local[7];
        }
        let mut back = [0; 8];
        pipe.write_all(&sum.to_le_bytes()).expect("a socket that is read");
        pipe.read_exact(&mut back).expect("what was written");
        u64::from_le_bytes(back)
    }

    /// On a loaded machine a thread may not answer at first.
    fn answer(reader: &Reader, thread: u32) -> Copied {
        (0..50).find_map(|_| reader.copy(thread).ok()).expect("an answer")
    }

    /// A socket whose other end sends back what it gets.
    fn echo() -> std::os::unix::net::UnixStream {
        let (here, mut there) = std::os::unix::net::UnixStream::pair().expect("sockets");
        std::thread::spawn(move || {
            let mut bytes = [0; 8];
            while there.read_exact(&mut bytes).is_ok() && there.write_all(&bytes).is_ok() {}
        });
        here
    }

    #[test]
    fn a_thousand_captures_of_a_running_job_do_not_change_its_result() {
        static ENOUGH: AtomicBool = AtomicBool::new(false);
        let reader = Reader::install(10).expect("a signal that nobody has");
        let (tell, told) = std::sync::mpsc::channel();
        let job = std::thread::spawn(move || {
            signal::publish();
            tell.send(rustix::thread::gettid().as_raw_nonzero().get() as u32).expect("asked for");
            let (mut pipe, mut sums) = (echo(), Vec::new());
            for round in 0.. {
                sums.push(work(round, 20, &mut pipe));
                if ENOUGH.load(Ordering::Relaxed) {
                    break;
                }
            }
            sums
        });
        let thread = told.recv().expect("a thread");
        let mut copied = 0;
        for round in 0..1000 {
            // On a loaded machine it may get no CPU for so long.
            let Ok(answer) = reader.copy(thread) else { continue };
            assert!(answer.words.len() > 8, "a thread has some stack");
            if round % 100 == 0 {
                let stack = unwind::frames(&answer);
                let found = stack.frames.iter().any(|frame| {
                    frame.file.as_ref().is_some_and(|file| file.ends_with("stack/reader.rs"))
                });
                assert!(found, "{stack}");
            }
            copied += 1;
        }
        ENOUGH.store(true, Ordering::Relaxed);
        let sums = job.join().expect("a job that nothing disturbed");
        assert!(copied >= 900, "{copied} answers");
        let mut pipe = echo();
        for (round, sum) in sums.iter().enumerate() {
            assert_eq!(*sum, work(round as u64, 20, &mut pipe), "of round {round}");
        }
        // It is over: the number may be another's one day, but it is nobody's now.
        assert!(matches!(reader.copy(thread), Err(StackEnd::NotAsked(_))));
    }

    #[test]
    fn the_stack_of_another_job_is_not_reported() {
        let reader = Reader::install(10).expect("a signal that nobody has");
        let (release, until) = std::sync::mpsc::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let job = std::thread::spawn(move || {
            signal::publish();
            tell.send(rustix::thread::gettid().as_raw_nonzero().get() as u32).expect("asked for");
            let _ = until.recv();
        });
        let thread = told.recv().expect("a thread");
        assert!(!unwind::frames(&answer(&reader, thread)).frames.is_empty());
        let is_late = |stack: &Stack| matches!(stack.end, StackEnd::NoAnswer(_));
        let mut stacks = (0..50).map(|_| reader.read(thread, || false));
        let stack = stacks.find(|stack| !is_late(stack)).expect("an answer");
        assert!(stack.frames.is_empty() && stack.to_string().contains("was over"), "{stack}");
        drop(release);
        job.join().expect("a thread that waits");
    }

    /// Has the kernel refuse this thread the call by which its stack is copied.
    fn forbid_copies() {
        const NUMBER_AT: u32 = 0;
        let load = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
        let is = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
        let answer = (libc::BPF_RET | libc::BPF_K) as u16;
        let number = libc::SYS_process_vm_readv as u32;
        let refused = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
        let mut filter = [
            libc::sock_filter { code: load, jt: 0, jf: 0, k: NUMBER_AT },
            libc::sock_filter { code: is, jt: 0, jf: 1, k: number },
            libc::sock_filter { code: answer, jt: 0, jf: 0, k: refused },
            libc::sock_filter { code: answer, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW },
        ];
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
        // SAFETY: both calls change this thread alone; the second reads the program, which lives.
        let set = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program)
                    == 0
        };
        assert!(set, "{}", std::io::Error::last_os_error());
    }

    #[test]
    fn a_stack_that_may_not_be_copied_says_so_and_has_its_innermost_function() {
        let reader = Reader::install(10).expect("a signal that nobody has");
        let (release, until) = std::sync::mpsc::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let job = std::thread::spawn(move || {
            forbid_copies();
            signal::publish();
            tell.send(rustix::thread::gettid().as_raw_nonzero().get() as u32).expect("asked for");
            let _ = until.recv();
        });
        let copied = answer(&reader, told.recv().expect("a thread"));
        assert_eq!((copied.words.len(), copied.error), (0, Some(libc::EPERM as u32)));
        let stack = unwind::frames(&copied);
        assert_eq!(stack.frames.len(), 1, "{stack}");
        assert!(stack.to_string().contains("process_vm_readv"), "{stack}");
        drop(release);
        job.join().expect("a thread that waits");
    }

    #[test]
    fn threads_that_have_not_published_themselves_hand_no_stack_over() {
        let reader = Reader::install(10).expect("a signal that nobody has");
        let (release, until) = std::sync::mpsc::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let other = std::thread::spawn(move || {
            tell.send(rustix::thread::gettid().as_raw_nonzero().get() as u32).expect("asked for");
            let _ = until.recv();
        });
        let copied = answer(&reader, told.recv().expect("a thread"));
        assert!(copied.words.is_empty() && copied.registers[0] != 0, "{copied:?}");
        drop(release);
        other.join().expect("a thread that waits");
    }
}
