//! Reports of stuck jobs say where in its code the job is, and asking disturbs no job.

use std::hint::black_box;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use sidecore_runtime::pool::{Kinds, Notice, PoolConfig, PoolError, Stuck, TaskContext};

use sidecore_runtime::stack::{NoStacks, STACK_FRAMES_MAX, Stack, StackEnd};

use super::{SOON, Started, config};

/// Counted from SIGRTMIN; each test that takes one away has one of its own.
const SIGNAL: u32 = 10;

/// What a job does until it is let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hang {
    Spin,
    Sleep,
    Clock,
    Receive,
    Deep(u32),
    Masked,
}

/// The jobs that run, let go by their tests.
struct Held {
    hang: Hang,
    until: mpsc::Receiver<()>,
}

#[inline(never)]
fn hang_outer(held: &Held) -> u32 {
    black_box(hang_inner(held)) + 1
}

#[inline(never)]
fn hang_inner(held: &Held) -> u32 {
    // Looked at, so that no call is the last thing that is done: it would be a jump.
    black_box(match held.hang {
        Hang::Spin => hang_spinning(held),
        Hang::Sleep | Hang::Masked => hang_asleep(held),
        Hang::Clock => hang_at_clock(held),
        Hang::Receive => hang_receiving(held),
        Hang::Deep(depth) => hang_deep(held, depth),
    })
}

/// A leaf, as soon as the look at the channel is over: most of the time it calls nothing.
#[inline(never)]
fn hang_spinning(held: &Held) -> u32 {
    let mut turns = 0_u32;
    loop {
        for _ in 0..10_000_000 {
            turns = black_box(turns).wrapping_add(1);
        }
        if held.until.try_recv().is_ok() {
            return 1;
        }
    }
}

#[inline(never)]
fn hang_asleep(held: &Held) -> u32 {
    while held.until.try_recv().is_err() {
        std::thread::sleep(Duration::from_millis(300));
    }
    1
}

/// In the kernel's vDSO most of the time, which has no file.
#[inline(never)]
fn hang_at_clock(held: &Held) -> u32 {
    let mut last = Instant::now();
    while held.until.try_recv().is_err() {
        for _ in 0..1_000_000 {
            last = black_box(Instant::now()).max(last);
        }
    }
    1
}

/// In a function of the C library that keeps no frame pointer: there are its tables or nothing.
#[inline(never)]
fn hang_receiving(held: &Held) -> u32 {
    let (mut here, _there) = UnixStream::pair().unwrap();
    here.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    while held.until.try_recv().is_err() {
        // The limit passes, or the signal interrupts it: see `Stack`.
        assert!(here.read(&mut [0]).is_err());
    }
    1
}

#[inline(never)]
fn hang_deep(held: &Held, depth: u32) -> u32 {
    if depth == 0 { hang_asleep(held) } else { black_box(hang_deep(held, depth - 1)) }
}

/// Of the signals of a job's own thread.
fn mask(how: i32) {
    // SAFETY: the set is made before it is read; only the mask of this thread changes.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGRTMIN() + SIGNAL as i32);
        assert_eq!(libc::pthread_sigmask(how, &set, std::ptr::null_mut()), 0);
    }
}

fn job(_: &TaskContext, held: Held) -> Result<u32, sidecore_runtime::pool::Failure> {
    if held.hang == Hang::Masked {
        mask(libc::SIG_BLOCK);
    }
    let output = hang_outer(&held);
    if held.hang == Hang::Masked {
        // The signal that waited is delivered here: too late for who has asked.
        mask(libc::SIG_UNBLOCK);
    }
    Ok(output)
}

fn start(signal: Option<u32>) -> Result<Started<Held, u32>, PoolError> {
    let stuck_after = Some(Duration::from_millis(50));
    let config = PoolConfig { stuck_after, stack_signal: signal, ..config(1) };
    Started::start(&config, Kinds::one(), |_| Ok(job))
}

/// The report of a job that hangs so; on a loaded machine its thread may not answer at first.
fn answered(started: &Started<Held, u32>, hang: Hang) -> Stuck {
    let is_answered = |stuck: &Stuck| !matches!(stuck.stack.end, StackEnd::NoAnswer(_));
    (0..20).map(|_| report(started, hang)).find(is_answered).expect("an answer")
}

/// The report of a job that hangs so, which then ends well.
fn report(started: &Started<Held, u32>, hang: Hang) -> Stuck {
    let (release, until) = mpsc::channel();
    started.dispatch(Held { hang, until });
    let Notice::Stuck(stuck) = started.notice() else { panic!("a stuck job") };
    release.send(()).unwrap();
    assert_eq!(started.finish().outcome.unwrap(), 2, "{stuck}");
    assert!(matches!(started.notice(), Notice::Unstuck { .. }));
    stuck
}

/// Where a function of this file stands on a stack, from the innermost frame.
fn place(stack: &Stack, function: &str) -> usize {
    // With line tables alone a function that others were inlined into has no path.
    let name = format!("stacks::{function}");
    let is = |frame: &&sidecore_runtime::stack::StackFrame| {
        frame.function.as_deref().is_some_and(|found| found == function || found.ends_with(&name))
    };
    let frame = stack.frames.iter().find(is).unwrap_or_else(|| panic!("no {function}: {stack}"));
    let file = frame.file.as_deref().unwrap_or_default();
    assert!(file.ends_with("task_workers/stacks.rs") && frame.line > Some(30), "{frame}");
    stack.frames.iter().position(|other| other == frame).unwrap()
}

#[test]
fn a_report_names_the_jobs_functions_in_order_and_none_of_the_pools() {
    let started = start(Some(SIGNAL)).unwrap();
    for (hang, innermost) in [
        (Hang::Spin, "hang_spinning"),
        (Hang::Sleep, "hang_asleep"),
        (Hang::Clock, "hang_at_clock"),
        (Hang::Receive, "hang_receiving"),
    ] {
        let stuck = answered(&started, hang);
        let stack = &stuck.stack;
        let places = [innermost, "hang_inner", "hang_outer", "job"].map(|name| place(stack, name));
        assert!(places.is_sorted(), "{stuck}");
        assert_eq!(stack.end, StackEnd::Job, "{stuck}");
        let of_pool = |frame: &sidecore_runtime::stack::StackFrame| {
            frame.function.as_deref().is_some_and(|name| name.contains("::worker::"))
        };
        assert!(!stack.frames.iter().any(of_pool), "{stuck}");
        let text = stuck.to_string();
        assert!(text.contains("\n    at ") && text.contains("hang_inner ("), "{text}");
    }
    started.close();
}

#[test]
fn a_deep_stack_is_cut() {
    let started = start(Some(SIGNAL)).unwrap();
    let stuck = answered(&started, Hang::Deep(500));
    assert_eq!((stuck.stack.frames.len(), &stuck.stack.end), (STACK_FRAMES_MAX, &StackEnd::Cut));
    assert!(place(&stuck.stack, "hang_asleep") < place(&stuck.stack, "hang_deep"), "{stuck}");
    started.close();
}

#[test]
fn a_thread_that_does_not_answer_is_given_up_and_a_late_answer_harms_none() {
    let started = start(Some(SIGNAL)).unwrap();
    for _ in 0..3 {
        let stuck = report(&started, Hang::Masked);
        assert!(matches!(stuck.stack.end, StackEnd::NoAnswer(_)), "{stuck}");
        assert!(stuck.stack.frames.is_empty() && stuck.to_string().contains("did not answer"));
        let stuck = answered(&started, Hang::Sleep);
        assert!(place(&stuck.stack, "hang_asleep") < place(&stuck.stack, "hang_outer"), "{stuck}");
    }
    started.close();
}

#[test]
fn without_a_signal_a_report_has_no_stack() {
    let started = start(None).unwrap();
    let stuck = report(&started, Hang::Sleep);
    assert_eq!(stuck.stack, Stack::default());
    assert!(!stuck.to_string().contains('\n'), "{stuck}");
    started.close();
}

#[test]
fn a_signal_that_is_taken_or_does_not_exist_is_refused() {
    const TAKEN: u32 = 12;
    static CALLED: AtomicBool = AtomicBool::new(false);
    extern "C" fn anothers(_: i32) {
        CALLED.store(true, Ordering::Relaxed);
    }
    let number = libc::SIGRTMIN() + TAKEN as i32;
    // SAFETY: a handler that only stores an atomic, of a signal that no other test has.
    unsafe { libc::signal(number, anothers as extern "C" fn(i32) as libc::sighandler_t) };
    let refused = start(Some(TAKEN)).err().unwrap();
    assert!(matches!(refused, PoolError::Stacks(NoStacks::Taken { signal: TAKEN })), "{refused}");
    assert!(refused.to_string().contains("SIGRTMIN+12"), "{refused}");
    // SAFETY: it raises a signal whose handler is set above.
    unsafe { libc::raise(number) };
    assert!(CALLED.load(Ordering::Relaxed), "the other's handler is still there");

    let refused = start(Some(1000)).err().unwrap();
    assert!(matches!(refused, PoolError::Stacks(NoStacks::NoSuchSignal { .. })), "{refused}");
}

#[test]
fn a_handler_that_was_replaced_is_seen_and_its_signal_not_sent() {
    const REPLACED: u32 = 14;
    let started = start(Some(REPLACED)).unwrap();
    // SAFETY: with this disposition the signal would end the process if it were sent.
    unsafe { libc::signal(libc::SIGRTMIN() + REPLACED as i32, libc::SIG_DFL) };
    let stuck = report(&started, Hang::Sleep);
    assert!(matches!(stuck.stack.end, StackEnd::NotAsked(_)), "{stuck}");
    started.close();
}

/// Signals from outside end nothing, though by default they would.
#[test]
fn the_signal_from_elsewhere_does_nothing() {
    let started = start(Some(SIGNAL)).unwrap();
    let (release, until) = mpsc::channel();
    started.dispatch(Held { hang: Hang::Sleep, until });
    let Notice::Stuck(stuck) = started.notice() else { panic!("a stuck job") };
    for _ in 0..100 {
        // SAFETY: a signal to a thread of this process, whose handler is set.
        let sent = unsafe {
            let (process, thread) = (libc::getpid(), stuck.thread_id as libc::pid_t);
            libc::syscall(libc::SYS_tgkill, process, thread, libc::SIGRTMIN() + SIGNAL as i32)
        };
        assert_eq!(sent, 0);
    }
    release.send(()).unwrap();
    assert_eq!(started.finishes.recv_timeout(SOON).unwrap().outcome.unwrap(), 2);
    started.close();
}
