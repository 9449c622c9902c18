//! Requests that are all there, and may be answered from their bytes.

use sidecore_runtime::sys::panics::catch;

use crate::app::service::{App, Plain};
use crate::codec::head::{Framing, RequestHead};
use crate::codec::reject::Reject;

/// The size of a request that is all there, head and body, and may be answered from its bytes.
pub(crate) fn whole_size(
    head: &RequestHead<'_>,
    arrived: usize,
    body_size_max: u64,
) -> Option<usize> {
    let body = match head.framing {
        Framing::None => 0,
        Framing::Length(length) if length <= body_size_max => usize::try_from(length).ok()?,
        _ => return None,
    };
    head.size_bytes.checked_add(body).filter(|whole| *whole <= arrived)
}

/// Asks for a direct answer; a panic costs this request its answer, no more.
pub(crate) fn direct<A: App>(
    app: &A,
    head: &RequestHead<'_>,
    body: &[u8],
) -> Result<Option<Plain>, Reject> {
    catch(|| app.direct(head, body)).ok_or_else(Reject::handler_failed)
}
