//! For who has the key: counters, and handlers that misbehave.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use tower_http::validate_request::ValidateRequestHeaderLayer;

use super::state::AppState;

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/stats", get(stats))
        .route("/panic", get(panics))
        .route("/slow", get(slow))
        .route_layer(middleware::from_fn(clearance))
        .route_layer(ValidateRequestHeaderLayer::custom(has_key))
}

#[expect(clippy::result_large_err, reason = "it is what the layer asks for")]
fn has_key(request: &mut Request) -> Result<(), Response> {
    match request.headers().get("x-admin-key").map(|key| key.as_bytes()) {
        Some(b"open sesame" | b"root") => Ok(()),
        Some(_) => Err(StatusCode::FORBIDDEN.into_response()),
        None => Err((StatusCode::UNAUTHORIZED, Body::from("a key is needed")).into_response()),
    }
}

/// How much an administrator may see.
#[derive(Clone, Copy)]
struct Clearance(&'static str);

async fn clearance(mut request: Request, next: Next) -> Response {
    let is_root = request.headers().get("x-admin-key").is_some_and(|key| key == "root");
    let clearance = Clearance(if is_root { "all" } else { "some" });
    request.extensions_mut().insert(clearance);
    next.run(request).await
}

async fn stats(
    State(state): State<AppState>,
    Extension(Clearance(clearance)): Extension<Clearance>,
) -> impl IntoResponse {
    let requests = state.requests.load(Ordering::Relaxed);
    Json(json!({ "clearance": clearance, "requests": requests, "notes": state.visible(None) }))
}

async fn panics() -> StatusCode {
    panic!("a handler panics, as its test means it to")
}

/// Later than the service's time limit.
async fn slow() -> &'static str {
    tokio::time::sleep(Duration::from_secs(30)).await;
    "too late"
}
