//! A head as `http` types, which outlive the input that it was parsed from.

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};

use crate::app::service::{PeerAddress, Secured};
use crate::codec::body_decoder::BodyDecoder;
use crate::codec::head::{Framing, RequestHead, Version};
use crate::codec::reject::Reject;
use crate::codec::target::{Target, URI_MAX_BYTES, encode_path_and_query};

/// What of a head is needed to serve its request.
pub(crate) struct Started {
    pub(crate) request: Request<()>,
    pub(crate) version: Version,
    pub(crate) framing: Framing,
    pub(crate) body: BodyDecoder,
    pub(crate) keep_alive: bool,
    pub(crate) expect_continue: bool,
    pub(crate) upgrade: bool,
}

impl Started {
    /// Builds the `http` types; refuses what is too large before any of it is read.
    pub(crate) fn new(
        head: &RequestHead<'_>,
        keep_alive: bool,
        body_size_max: u64,
    ) -> Result<Self, Reject> {
        let body = BodyDecoder::new(head.framing, body_size_max)?;
        let mut request = Request::new(());
        *request.method_mut() = Method::from_bytes(head.method.as_bytes())
            .map_err(|_| Reject::bad("the method is no token"))?;
        *request.uri_mut() = build_uri(&head.target)?;
        *request.version_mut() = match head.version {
            Version::Http10 => http::Version::HTTP_10,
            Version::Http11 => http::Version::HTTP_11,
        };
        *request.headers_mut() = build_fields(head)?;
        if let Some(peer) = head.peer {
            request.extensions_mut().insert(PeerAddress(peer));
        }
        if head.is_secured {
            request.extensions_mut().insert(Secured);
        }
        Ok(Started {
            request,
            version: head.version,
            framing: head.framing,
            body,
            keep_alive,
            expect_continue: head.expect_continue,
            upgrade: head.upgrade,
        })
    }
}

fn build_uri(target: &Target<'_>) -> Result<Uri, Reject> {
    let invalid = Reject::bad("the target is no URI");
    match target {
        Target::Absolute { authority, is_https, .. } => Uri::builder()
            .scheme(if *is_https { "https" } else { "http" })
            .authority(*authority)
            .path_and_query(path_and_query(target)?)
            .build()
            .map_err(|_| invalid),
        _ => path_and_query(target).map(Uri::from),
    }
}

fn path_and_query(target: &Target<'_>) -> Result<PathAndQuery, Reject> {
    let sent = target.path_and_query();
    // `PathAndQuery` would take characters outside ASCII as they are, and applications hardly do.
    let plain = if sent.is_ascii() { PathAndQuery::try_from(sent).ok() } else { None };
    plain.map_or_else(
        || match encode_path_and_query(sent) {
            long if long.len() > URI_MAX_BYTES => Err(Reject::target_too_long()),
            encoded => {
                PathAndQuery::try_from(encoded).map_err(|_| Reject::bad("the target is no URI"))
            }
        },
        Ok,
    )
}

/// Copies the fields once: their values share one allocation.
fn build_fields(head: &RequestHead<'_>) -> Result<HeaderMap, Reject> {
    let invalid = Reject::bad("a field is not valid");
    let mut fields = HeaderMap::with_capacity(head.fields.len());
    let mut values = Vec::with_capacity(head.fields.iter().map(|field| field.value.len()).sum());
    head.fields.iter().for_each(|field| values.extend_from_slice(field.value));
    let values = Bytes::from(values);
    let mut at = 0;
    for field in head.fields {
        let value = values.slice(at..at + field.value.len());
        at += field.value.len();
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| invalid)?;
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| invalid)?;
        fields.append(name, value);
    }
    if let Some(authority) = head.target.authority() {
        // §3.2.2: the authority of an absolute target takes the place of Host.
        let host = HeaderValue::from_str(authority).map_err(|_| invalid)?;
        fields.insert(http::header::HOST, host);
    }
    Ok(fields)
}
