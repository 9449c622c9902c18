//! Waiting for an address whose owner is about to end.

use std::time::{Duration, Instant};

use sidecore_runtime::net::BindError;

use crate::lifecycle::error::{Error, Result};
use crate::lifecycle::shutdown::Shutdown;

/// How long a start waits where somebody else listens and nobody is seen to live who does: the
/// listener of a process that was killed goes when the kernel has taken its rings apart. It mostly
/// takes some milliseconds.
const WAIT_MAX: Duration = Duration::from_secs(3);
/// A process that is seen to listen for so long is no dying one.
const LIVES_AFTER: Duration = Duration::from_millis(100);
/// Between two tries, at first and at most.
const PAUSE_FIRST: Duration = Duration::from_millis(2);
const PAUSE_LAST: Duration = Duration::from_millis(50);

/// Tries until it succeeds, fails for another reason than that the address is in use, or is in use
/// by who does not end. A shutdown ends the wait.
pub(crate) fn wait_for<T>(
    shutdown: &Shutdown,
    bind: impl Fn() -> std::result::Result<T, BindError>,
) -> Result<T> {
    let began = Instant::now();
    let mut seen = None;
    let mut pause = PAUSE_FIRST;
    loop {
        let error = match bind() {
            Ok(bound) => return Ok(bound),
            Err(error) if !error.is_in_use() => return Err(error.into()),
            Err(error) => error,
        };
        if shutdown.is_raised() {
            return Err(Error::told_to_end());
        }
        let owner = error.find_owner();
        seen = seen.filter(|(kept, _)| Some(kept) == owner.as_ref());
        if let Some(owner) = owner {
            let (owner, since) = seen.get_or_insert_with(|| (owner, Instant::now()));
            if since.elapsed() >= LIVES_AFTER {
                return Err(error.owned_by(owner.clone()).into());
            }
        }
        if began.elapsed() >= WAIT_MAX {
            return Err(error.after(WAIT_MAX).into());
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(PAUSE_LAST);
    }
}
