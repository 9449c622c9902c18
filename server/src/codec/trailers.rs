//! The fields behind a chunked body (RFC 9112 §7.1.2): which may stand there, in both directions.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::codec::reject::Reject;

/// Bytes of a body's trailers.
pub(crate) const TRAILERS_MAX_BYTES: usize = 8192;
/// Number of a body's trailers.
const TRAILERS_MAX: usize = 64;

/// The trailers of all the bytes behind the last chunk; none where that is a blank line alone.
/// They are never merged into the fields of the head,
/// and those that only describe what has been read are left out.
pub(crate) fn parse_trailers(bytes: &[u8]) -> Result<Option<HeaderMap>, Reject> {
    if bytes.len() <= 2 {
        return Ok(None);
    }
    let mut slots = [httparse::EMPTY_HEADER; TRAILERS_MAX];
    let parsed = httparse::parse_headers(bytes, &mut slots).map_err(|error| match error {
        httparse::Error::TooManyHeaders => too_many_trailers(),
        _ => Reject::bad("a trailer is no field"),
    })?;
    let httparse::Status::Complete((_, fields)) = parsed else {
        return Err(Reject::bad("the trailers are incomplete"));
    };
    let mut trailers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        if is_refused_trailer(field.name) {
            return Err(refused_trailer());
        }
        if is_dropped_trailer(field.name) {
            continue;
        }
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_bytes(field.value);
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(Reject::bad("a trailer is no field"));
        };
        trailers.append(name, value);
    }
    Ok((!trailers.is_empty()).then_some(trailers))
}

/// The same of trailers that come as fields.
#[cfg(feature = "http2")]
pub(crate) fn sift_trailers(mut trailers: HeaderMap) -> Result<Option<HeaderMap>, Reject> {
    let size: usize = trailers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if trailers.len() > TRAILERS_MAX || size > TRAILERS_MAX_BYTES {
        return Err(too_many_trailers());
    }
    if trailers.keys().any(|name| is_refused_trailer(name.as_str())) {
        return Err(refused_trailer());
    }
    let dropped: Vec<_> =
        trailers.keys().filter(|name| is_dropped_trailer(name.as_str())).cloned().collect();
    for name in dropped {
        trailers.remove(name);
    }
    Ok((!trailers.is_empty()).then_some(trailers))
}

fn refused_trailer() -> Reject {
    Reject::bad("a trailer may not frame or route the message")
}

/// 431, as for a head.
pub(crate) fn too_many_trailers() -> Reject {
    Reject::head_too_large("the trailers are larger than this server takes")
}

/// RFC 9110 §6.5.1: fields that frame, route, authorise or describe the message come before it.
pub(crate) fn is_forbidden_trailer(name: &str) -> bool {
    is_refused_trailer(name) || is_dropped_trailer(name)
}

/// A client that sends these after a message wants it understood in two ways.
fn is_refused_trailer(name: &str) -> bool {
    const REFUSED: [&str; 14] = [
        "authorization",
        "connection",
        "content-length",
        "cookie",
        "expect",
        "host",
        "keep-alive",
        "max-forwards",
        "proxy-authorization",
        "range",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    REFUSED.iter().any(|refused| name.eq_ignore_ascii_case(refused))
}

/// These come too late to describe a message that was read, which is no harm to it.
fn is_dropped_trailer(name: &str) -> bool {
    const DROPPED: [&str; 5] =
        ["cache-control", "content-encoding", "content-range", "content-type", "set-cookie"];
    DROPPED.iter().any(|dropped| name.eq_ignore_ascii_case(dropped))
}
