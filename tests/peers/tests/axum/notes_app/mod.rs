//! A service of notes as one writes it for `axum::serve`: it knows axum, tower-http and tokio, and
//! nothing of the server that it runs on.
//!
//! ```text
//!  /api/v1/login, /me          a form; a bearer token
//!  /api/v1/notes…              JSON: list, create, read, replace, delete, publish in the background
//!  /api/v1/notes/{id}/files…   multipart in, bytes out
//!  /api/v1/export, /import     lines of JSON, streamed both ways
//!  /api/v1/events, /chat/…     server-sent events, a WebSocket
//!  /api/v1/admin/…             behind a key
//!  /static/…                   files
//! ```

mod account;
mod admin;
mod error;
mod files;
mod live;
mod notes;
mod stack;
mod state;
mod streams;

use std::path::Path;

use axum::Router;
use axum::extract::{MatchedPath, OriginalUri};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;
use tower::Layer;
use tower_http::normalize_path::{NormalizePath, NormalizePathLayer};
use tower_http::services::ServeDir;

use self::error::ApiError;
pub(crate) use self::state::AppState;

/// The whole service. `static_files` is the directory of `/static`.
pub(crate) fn app(state: AppState, static_files: &Path) -> NormalizePath<Router> {
    let api = Router::new()
        .merge(account::routes())
        .nest("/notes", notes::routes().merge(files::routes()))
        .merge(streams::routes())
        .merge(live::routes())
        .nest("/admin", admin::routes())
        .route("/where/{*rest}", get(where_am_i))
        .fallback(|| async { ApiError::NotFound("endpoint") });
    let router = Router::new()
        .nest("/api/v1", api)
        .route("/", get(|| async { "notes" }))
        .route("/old", get(|| async { Redirect::permanent("/api/v1/notes") }))
        .nest_service("/static", ServeDir::new(static_files).precompressed_gzip())
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .with_state(state.clone());
    NormalizePathLayer::trim_trailing_slash().layer(stack::wrap(router, state))
}

/// What routing tells a handler.
async fn where_am_i(path: MatchedPath, OriginalUri(uri): OriginalUri) -> String {
    format!("{} {uri}", path.as_str())
}

async fn not_found(uri: axum::http::Uri) -> impl IntoResponse {
    (StatusCode::NOT_FOUND, format!("nothing is at {uri}"))
}

async fn not_allowed(method: Method, uri: axum::http::Uri) -> impl IntoResponse {
    (StatusCode::METHOD_NOT_ALLOWED, format!("{method} is not for {}", uri.path()))
}
