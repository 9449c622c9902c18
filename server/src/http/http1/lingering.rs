//! How long a peer that still sends is listened to after the last answer: a close would reset it,
//! and destroy the answer of one that reads only once it has sent its body (RFC 9112 §9.6).

use std::task::Context;
use std::time::Duration;

use sidecore_runtime::executor::Deadline;

/// Bytes thrown away.
const DISCARDED_MAX_BYTES: usize = 64 * 1024 * 1024;
/// Time for that in all; `linger_timeout_ms` bounds each silence within it.
const TIME_MAX: Duration = Duration::from_secs(30);

/// What a connection has thrown away since its half-close.
#[derive(Default)]
pub(crate) struct Lingering {
    discarded: usize,
    /// Set with the first bytes: most peers send none.
    end: Option<Deadline>,
}

impl Lingering {
    /// Whether the peer has sent too much, or for too long, with so many bytes more.
    pub(crate) fn is_over(&mut self, bytes: usize, context: &mut Context<'_>) -> bool {
        self.discarded += bytes;
        if self.discarded == 0 {
            return false;
        }
        let end = self.end.get_or_insert_with(|| {
            let mut end = Deadline::unset();
            end.set(TIME_MAX);
            end
        });
        self.discarded > DISCARDED_MAX_BYTES || end.poll(context).is_ready()
    }
}
