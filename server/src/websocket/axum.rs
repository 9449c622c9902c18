//! The upgrade as an extractor of axum.

use axum_core::extract::FromRequestParts;
use axum_core::response::{IntoResponse, Response};
use http::request::Parts;

use crate::websocket::{WebSocketRejection, WebSocketUpgrade};

impl<S: Sync> FromRequestParts<S> for WebSocketUpgrade {
    type Rejection = WebSocketRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, WebSocketRejection> {
        WebSocketUpgrade::from_parts(parts)
    }
}

impl IntoResponse for WebSocketRejection {
    fn into_response(self) -> Response {
        WebSocketRejection::into_response(self)
    }
}
