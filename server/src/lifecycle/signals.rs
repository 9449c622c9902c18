//! Signals of the process: SIGTERM and SIGINT begin the drain, and end the process when they come
//! again; SIGUSR1 and SIGUSR2 have the task workers made anew, SIGHUP the certificates read again.
//!
//! One thread waits for them, from [`catch_signals`] on to the end of the process, and calls nothing
//! that may take long: hooks of the application and the certificates' disk have another thread, once
//! there is a reload, so that an end is heard meanwhile. It knows the
//! servers that are served; what comes before the first of them is remembered. All are taken
//! whatever the process inherited: a parent that ignores or blocks SIGTERM (`trap '' TERM`) would
//! otherwise have a server that nothing but SIGKILL ends, and a SIGHUP that only reloads harms
//! nobody who was started by `nohup`.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sidecore_runtime::sys::panics;
use sidecore_runtime::sys::signals;
use sidecore_runtime::sys::stderr;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ};
use signal_hook::iterator::Signals;

use crate::lifecycle::error::{Error, Result};
use crate::lifecycle::reload::Reload;
use crate::lifecycle::shutdown::Shutdown;

/// Exit code of a process that was told twice: 128 + SIGTERM.
const EXIT_FORCED: i32 = 143;
/// What comes sooner after the first is the same wish: `timeout`, for one, signals its child and
/// then the child's process group.
const SECOND_AFTER: Duration = Duration::from_millis(500);
/// How long the forced end waits for who reads standard error.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// SIGXFSZ is taken to be ignored: a write past the limit of a file's size (`ulimit -f`) is then an
/// error of that write, instead of the end of the process.
const CAUGHT: [i32; 6] = [SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGHUP, SIGXFSZ];

/// Reloads that wait while one is under way: one of each signal, and some.
const RENEWALS_MAX: usize = 8;

static TOLD: Mutex<Notified> = Mutex::new(Notified::new());

/// What the process was told, and whom that concerns.
struct Notified {
    /// The thread is there.
    is_caught: bool,
    servers: Vec<Served>,
    /// A server was served.
    has_served: bool,
    /// When it was told to end, until the servers that this concerned have ended.
    ended: Option<Instant>,
    next_id: u64,
}

struct Served {
    id: u64,
    shutdown: Shutdown,
    has_certificates: bool,
    /// Certificates are to be read again as soon as that can be.
    renews: bool,
    /// Once it runs.
    reload: Option<Reload>,
}

/// A server that hears of signals, until this is dropped.
pub(crate) struct Attached {
    id: u64,
}

/// Takes the process's signals from now on, as [`Server::serve`](crate::Server::serve) does when it
/// is called: SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2 and SIGXFSZ, which is ignored. Call it first
/// thing where something that takes time comes before, such as the opening of a journal: a SIGTERM
/// that comes meanwhile then ends [`serve`](crate::Server::serve) when it is called, before it
/// listens. Without it such a signal kills the process, and as process 1 of a container it is lost.
///
/// Again does nothing. The error: no descriptor or thread is to be had.
///
/// # Errors
/// Where the thread that waits for signals cannot be made.
pub fn catch_signals() -> Result<()> {
    let mut told = told();
    if told.is_caught {
        return Ok(());
    }
    let mut signals =
        Signals::new(CAUGHT).map_err(|cause| Error::io("signals cannot be handled", cause))?;
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            signals::unblock(&CAUGHT);
            let mut renewing = None;
            for signal in signals.forever() {
                match signal {
                    SIGTERM | SIGINT => end(),
                    SIGHUP | SIGUSR1 | SIGUSR2 => hand_over(&mut renewing, signal),
                    _ => {}
                }
            }
        })
        .map_err(|cause| Error::thread("the signal thread cannot start", cause))?;
    told.is_caught = true;
    Ok(())
}

/// Has a server hear of signals, also of those that came before.
pub(crate) fn attach(shutdown: &Shutdown, has_certificates: bool) -> Result<Attached> {
    catch_signals()?;
    let mut told = told();
    let (id, shutdown) = (told.next_id, shutdown.clone());
    told.next_id += 1;
    if told.ended.is_some() {
        shutdown.raise();
    }
    told.servers.push(Served { id, shutdown, has_certificates, renews: false, reload: None });
    Ok(Attached { id })
}

impl Attached {
    /// It runs, and this renews its parts.
    pub(crate) fn reloads_by(&self, reload: Reload) {
        let mut told = told();
        let Some(served) = told.servers.iter_mut().find(|served| served.id == self.id) else {
            return;
        };
        served.reload = Some(reload.clone());
        let renews = std::mem::take(&mut served.renews);
        drop(told);
        if renews {
            renew(&reload);
        }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let mut told = told();
        told.servers.retain(|served| served.id != self.id);
        told.has_served = true;
        if told.servers.is_empty() {
            told.ended = None;
        }
    }
}

impl Notified {
    const fn new() -> Self {
        Notified {
            is_caught: false,
            servers: Vec::new(),
            has_served: false,
            ended: None,
            next_id: 0,
        }
    }

    /// What reloads the servers that run.
    fn reloads(&self) -> Vec<Reload> {
        self.servers.iter().filter_map(|served| served.reload.clone()).collect()
    }
}

fn told() -> MutexGuard<'static, Notified> {
    TOLD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has what a signal renews be renewed by the thread for that, which is started for the first one.
/// With so many waiting a further one would change nothing.
fn hand_over(renewing: &mut Option<SyncSender<i32>>, signal: i32) {
    if renewing.is_none() {
        let (tell, told) = sync_channel(RENEWALS_MAX);
        let thread = std::thread::Builder::new().name("renew".into());
        let live = move || told.into_iter().for_each(renew_for);
        match thread.spawn(live) {
            Ok(_) => *renewing = Some(tell),
            Err(cause) => {
                let line = format_args!("no thread for what signal {signal} asks for: {cause}");
                return stderr::line(line);
            }
        }
    }
    if let Some(renewing) = renewing {
        let _ = renewing.try_send(signal);
    }
}

fn renew_for(signal: i32) {
    let renew = if signal == SIGHUP { hang_up } else { reload };
    // What is called may be the application's.
    if panics::catch(renew).is_none() {
        stderr::line(format_args!("what signal {signal} asks for panicked"));
    }
}

fn end() {
    let mut told = told();
    match told.ended {
        Some(first) if first.elapsed() < SECOND_AFTER => return,
        Some(_) => {
            stderr::line(format_args!("a second signal: ending without the drain"));
            stderr::flush(LAST_WORDS);
            std::process::exit(EXIT_FORCED);
        }
        None => told.ended = Some(Instant::now()),
    }
    told.servers.iter().for_each(|served| served.shutdown.raise());
    match told.servers.is_empty() {
        // It ends already.
        true if told.has_served => {}
        true => {
            stderr::line(format_args!("told to end before it serves; a second signal ends at once"))
        }
        false => stderr::line(format_args!("draining; a second signal ends at once")),
    }
}

fn reload() {
    // Not under the lock: hooks of the application are told.
    let reloads = told().reloads();
    if !reloads.is_empty() {
        reloads.iter().for_each(Reload::task_workers);
        stderr::line(format_args!("the task workers are made anew"));
    }
}

fn hang_up() {
    let mut told = told();
    let mut reloads = Vec::new();
    let mut has_none = !told.servers.is_empty();
    for served in told.servers.iter_mut().filter(|served| served.has_certificates) {
        has_none = false;
        match &served.reload {
            Some(reload) => reloads.push(reload.clone()),
            None => served.renews = true,
        }
    }
    drop(told);
    if has_none {
        stderr::line(format_args!("SIGHUP: there are no certificates to read again"));
    }
    reloads.iter().for_each(renew);
}

fn renew(reload: &Reload) {
    match reload.certificates() {
        Ok(()) => stderr::line(format_args!("the certificates are read again")),
        Err(error) => stderr::line(format_args!("the certificates stay as they were: {error}")),
    }
}
