//! SIGTERM and SIGINT: the first begins the drain, the second ends the process. SIGUSR1 and SIGUSR2
//! have the task workers made anew, SIGHUP the certificates read again where the server has any.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

use crate::error::{Error, Result};
use crate::reload::Reload;
use crate::shutdown::Shutdown;

/// Exit code of a process that was told twice: 128 + SIGTERM.
const EXIT_FORCED: i32 = 143;

/// What a signal reloads, once the server runs.
#[derive(Clone, Default)]
pub(crate) struct Reloaded(Arc<Told>);

#[derive(Default)]
struct Told {
    reload: OnceLock<Reload>,
    /// Certificates are to be read again. Set before the look for `reload`, taken after it was set:
    /// so one side sees the other.
    renews: AtomicBool,
}

impl Reloaded {
    pub(crate) fn set(&self, reload: Reload) {
        let _ = self.0.reload.set(reload);
        self.0.renew();
    }
}

impl Told {
    /// Reads the certificates again, if that is to be done and the server runs.
    fn renew(&self) {
        let Some(reload) = self.reload.get() else { return };
        if self.renews.swap(false, Ordering::SeqCst) {
            match reload.certificates() {
                Ok(()) => eprintln!("sidecore: the certificates are read again"),
                Err(error) => eprintln!("sidecore: the certificates stay as they were: {error}"),
            }
        }
    }
}

/// Raises `shutdown` on the first signal, from a thread of its own.
pub(crate) fn listen(shutdown: Shutdown, has_certificates: bool) -> Result<Reloaded> {
    let hangup = has_certificates.then_some(SIGHUP);
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGUSR1, SIGUSR2].into_iter().chain(hangup))
        .map_err(|cause| Error::io("signals cannot be handled", cause))?;
    let reloaded = Reloaded::default();
    let told = reloaded.clone();
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for signal in signals.forever() {
                match signal {
                    SIGUSR1 | SIGUSR2 => reload(&told),
                    SIGHUP => {
                        told.0.renews.store(true, Ordering::SeqCst);
                        told.0.renew();
                    }
                    _ => end(&shutdown),
                }
            }
        })
        .map_err(|cause| Error::io("the signal thread cannot start", cause))?;
    Ok(reloaded)
}

fn reload(reloaded: &Reloaded) {
    if let Some(reload) = reloaded.0.reload.get() {
        eprintln!("sidecore: the task workers are made anew");
        reload.task_workers();
    }
}

fn end(shutdown: &Shutdown) {
    if shutdown.is_raised() {
        eprintln!("sidecore: a second signal: ending without the drain");
        std::process::exit(EXIT_FORCED);
    }
    eprintln!("sidecore: draining; a second signal ends at once");
    shutdown.raise();
}
