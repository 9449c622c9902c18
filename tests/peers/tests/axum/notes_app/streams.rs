//! Bodies that are streamed: lines of JSON both ways, and an echo.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::{StreamExt, stream};
use serde_json::json;

use super::account::User;
use super::error::ApiError;
use super::state::{AppState, Note};

const LINES: &str = "application/x-ndjson";

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/export", get(export))
        .route("/import", post(import))
        .route("/echo", post(echo))
        .route("/lorem/{lines}", get(lorem))
        .route("/breaks", get(breaks))
}

/// A line each note, made as it is taken.
async fn export(State(state): State<AppState>, User(user): User) -> impl IntoResponse {
    let notes = stream::iter(state.visible(Some(&user)));
    let lines = notes.map(|note| serde_json::to_string(&note).map(|line| line + "\n"));
    ([(header::CONTENT_TYPE, LINES)], Body::from_stream(lines))
}

/// Takes lines as they come, however they are cut.
async fn import(
    State(state): State<AppState>,
    User(user): User,
    request: Request,
) -> Result<impl IntoResponse, ApiError> {
    let mut pieces = request.into_body().into_data_stream();
    let (mut rest, mut created) = (Vec::new(), 0_u64);
    while let Some(piece) = pieces.next().await {
        rest.extend_from_slice(&piece?);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            let note: Note = serde_json::from_slice(&line)
                .map_err(|error| ApiError::Invalid(format!("line {}: {error}", created + 1)))?;
            state.create(&user, note)?;
            created += 1;
        }
    }
    match rest.is_empty() {
        true => Ok(Json(json!({ "created": created }))),
        false => Err(ApiError::Invalid("the last line has no end".to_owned())),
    }
}

/// The request's body is the answer's, piece by piece.
async fn echo(request: Request) -> impl IntoResponse {
    let content_type = request.headers().get(header::CONTENT_TYPE).cloned();
    let mut response = request.into_body().into_response();
    if let Some(content_type) = content_type {
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    }
    response
}

/// A text of so many lines, each a piece of its own.
async fn lorem(Path(lines): Path<u32>) -> impl IntoResponse {
    let line = |number| Ok::<_, Infallible>(Bytes::from(format!("{number}: lorem ipsum dolor\n")));
    let lines = stream::iter((0..lines).map(line));
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], Body::from_stream(lines))
}

/// A body that fails when its beginning is on its way.
async fn breaks() -> impl IntoResponse {
    let beginning = stream::once(async { Ok(Bytes::from_static(b"a beginning")) });
    let end = stream::once(async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Err(std::io::Error::other("no end"))
    });
    Body::from_stream(beginning.chain(end))
}
