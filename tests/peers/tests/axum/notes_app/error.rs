//! Whatever goes wrong, as an answer.

use axum::Json;
use axum::extract::multipart::MultipartError;
use axum::extract::rejection::{FormRejection, JsonRejection, PathRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

#[derive(Debug)]
pub(crate) enum ApiError {
    NotFound(&'static str),
    Unauthorized,
    Forbidden,
    Conflict(&'static str),
    Invalid(String),
    /// What an extractor or a body says, with its own status.
    Rejected(StatusCode, String),
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, reason) = match self {
            ApiError::NotFound(what) => (StatusCode::NOT_FOUND, format!("no such {what}")),
            ApiError::Unauthorized => (StatusCode::UNAUTHORIZED, "who are you?".to_owned()),
            ApiError::Forbidden => (StatusCode::FORBIDDEN, "it is not yours".to_owned()),
            ApiError::Conflict(why) => (StatusCode::CONFLICT, why.to_owned()),
            ApiError::Invalid(why) => (StatusCode::UNPROCESSABLE_ENTITY, why),
            ApiError::Rejected(status, why) => (status, why),
        };
        let problem = json!({ "status": status.as_u16(), "reason": reason });
        let mut response = (status, Json(problem)).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"notes\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

macro_rules! from {
    ($($rejection:ty),*) => {
        $(impl From<$rejection> for ApiError {
            fn from(rejection: $rejection) -> Self {
                ApiError::Rejected(rejection.status(), rejection.body_text())
            }
        })*
    };
}

from!(JsonRejection, FormRejection, QueryRejection, PathRejection, MultipartError);

impl From<axum::Error> for ApiError {
    fn from(error: axum::Error) -> Self {
        ApiError::Rejected(StatusCode::BAD_REQUEST, error.to_string())
    }
}
