//! Answers, as this server writes them.

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;
use serde_json::json;
use sidecore::app::Plain;
use sidecore::durable::DurableError;
use sidecore::tasks::{DispatchError, TaskError};

pub(crate) type Answer = Response<Full<Bytes>>;

/// Seconds after which a client may try again when the queue was full.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("1");

pub(crate) fn text(text: &'static str) -> Answer {
    with_type(Bytes::from_static(text.as_bytes()), HeaderValue::from_static("text/plain"))
}

pub(crate) fn with_type(body: Bytes, content_type: HeaderValue) -> Answer {
    let mut answer = Response::new(Full::new(body));
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}

pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    of_plain(plain_json(status, value))
}

pub(crate) fn error(status: StatusCode, cause: &str) -> Answer {
    of_plain(plain_error(status, cause))
}

pub(crate) fn plain_json(status: StatusCode, value: &impl Serialize) -> Plain {
    let (status, body) = match serde_json::to_vec(value) {
        Ok(body) => (status, body),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, b"{}".to_vec()),
    };
    Plain { status, content_type: "application/json", field: None, body: body.into() }
}

pub(crate) fn plain_error(status: StatusCode, cause: &str) -> Plain {
    plain_json(status, &json!({ "error": cause }))
}

/// The same answer in `http` types.
pub(crate) fn of_plain(plain: Plain) -> Answer {
    let Plain { status, content_type, field, body } = plain;
    let mut answer = with_type(body, HeaderValue::from_static(content_type));
    *answer.status_mut() = status;
    answer.headers_mut().extend(field);
    answer
}

/// RFC 9110 §15.5.6 and §15.6.2: known methods get 405 with Allow, others 501.
pub(crate) fn refuse_method(method: &Method, allow: &'static str) -> Answer {
    let known = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "CONNECT"];
    if !known.contains(&method.as_str()) {
        return error(StatusCode::NOT_IMPLEMENTED, "no such method");
    }
    let mut answer = error(StatusCode::METHOD_NOT_ALLOWED, "this method is not allowed here");
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    answer
}

/// Of a task that was awaited and did not finish.
pub(crate) fn status_of(cause: &TaskError) -> StatusCode {
    match cause {
        TaskError::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

pub(crate) fn refuse_dispatch<J>(refused: &DispatchError<J>) -> Plain {
    let status = match refused {
        DispatchError::NoSuchTaskWorker(_) => StatusCode::BAD_REQUEST,
        DispatchError::TimedOut(_) => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut answer = plain_error(status, &refused.to_string());
    answer.field = refused.is_full().then_some((RETRY_AFTER, RETRY_AFTER_S));
    answer
}

pub(crate) fn refuse_durable<J>(refused: &DurableError<J>) -> Plain {
    let status = match refused {
        DurableError::Refused(refused) => return refuse_dispatch(refused),
        DurableError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        DurableError::Full(_) | DurableError::Ended => StatusCode::SERVICE_UNAVAILABLE,
        DurableError::Unwritable(..) | DurableError::Journal(..) => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    };
    let mut answer = plain_error(status, &refused.to_string());
    answer.field = refused.is_full().then_some((RETRY_AFTER, RETRY_AFTER_S));
    answer
}
