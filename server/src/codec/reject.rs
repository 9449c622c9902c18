//! Why a request is refused before any handler sees it.

use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};

/// A request that breaks the rules. It is answered with its status; then a connection of HTTP/1
/// closes, because where the next request would begin is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject {
    status: StatusCode,
    reason: &'static str,
    /// The client may try again soon (RFC 9110 §10.2.3).
    is_passing: bool,
}

impl Reject {
    const fn new(status: StatusCode, reason: &'static str) -> Self {
        Reject { status, reason, is_passing: false }
    }

    /// 400: the bytes are no request.
    pub(crate) const fn bad(reason: &'static str) -> Self {
        Reject::new(StatusCode::BAD_REQUEST, reason)
    }

    /// 408: the peer was too slow.
    pub(crate) const fn timeout(reason: &'static str) -> Self {
        Reject::new(StatusCode::REQUEST_TIMEOUT, reason)
    }

    /// 413: the body is larger than allowed.
    pub(crate) const fn body_too_large() -> Self {
        Reject::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than this server takes")
    }

    /// 414: the target is longer than allowed.
    pub(crate) const fn target_too_long() -> Self {
        Reject::new(StatusCode::URI_TOO_LONG, "the request target is longer than this server takes")
    }

    /// 417: an expectation other than 100-continue.
    pub(crate) const fn expectation() -> Self {
        Reject::new(StatusCode::EXPECTATION_FAILED, "the only expectation met is 100-continue")
    }

    /// 421: the request is for an origin that this connection cannot speak for.
    pub(crate) const fn misdirected() -> Self {
        Reject::new(StatusCode::MISDIRECTED_REQUEST, "https is not served on this connection")
    }

    /// 431: the head is larger than allowed, or has more fields.
    pub(crate) const fn head_too_large(reason: &'static str) -> Self {
        Reject::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, reason)
    }

    /// 500: the handler failed.
    pub(crate) const fn handler_failed() -> Self {
        Reject::new(StatusCode::INTERNAL_SERVER_ERROR, "the handler failed")
    }

    /// 501: a method or transfer coding that is not implemented.
    pub(crate) const fn not_implemented(reason: &'static str) -> Self {
        Reject::new(StatusCode::NOT_IMPLEMENTED, reason)
    }

    /// 503: the request took longer than allowed.
    pub(crate) const fn unavailable(reason: &'static str) -> Self {
        Reject::new(StatusCode::SERVICE_UNAVAILABLE, reason)
    }

    /// 503: the server has as many connections as it may.
    pub(crate) const fn no_room() -> Self {
        let reason = "this server has no room for a connection";
        Reject { status: StatusCode::SERVICE_UNAVAILABLE, reason, is_passing: true }
    }

    /// Whether the version is the cause.
    pub(crate) fn is_version(&self) -> bool {
        self.status == StatusCode::HTTP_VERSION_NOT_SUPPORTED
    }

    /// 505: another version than 1.0 and 1.1.
    pub(crate) const fn version() -> Self {
        Reject::new(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "this server speaks HTTP/1.0 and 1.1")
    }

    /// The fields of the answer.
    pub(crate) fn fields(&self) -> HeaderMap {
        let mut fields = HeaderMap::new();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        if self.is_passing {
            fields.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        fields
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The text of the answer: what was wrong.
    pub fn reason(&self) -> &'static str {
        self.reason
    }
}
