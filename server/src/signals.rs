//! SIGTERM and SIGINT: the first begins the drain, the second ends the process.

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::error::{Error, Result};
use crate::shutdown::Shutdown;

/// Exit code of a process that was told twice: 128 + SIGTERM.
const EXIT_FORCED: i32 = 143;

/// Raises `shutdown` on the first signal, from a thread of its own.
pub(crate) fn listen(shutdown: Shutdown) -> Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT])
        .map_err(|cause| Error::io("signals cannot be handled", cause))?;
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for _ in signals.forever() {
                if shutdown.is_raised() {
                    eprintln!("sidecore: a second signal: ending without the drain");
                    std::process::exit(EXIT_FORCED);
                }
                eprintln!("sidecore: draining; a second signal ends at once");
                shutdown.raise();
            }
        })
        .map_err(|cause| Error::io("the signal thread cannot start", cause))?;
    Ok(())
}
