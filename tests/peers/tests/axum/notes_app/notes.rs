//! Notes: list, create, read, replace, delete, and publish in the background.

use std::time::Duration;

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;

use super::account::User;
use super::error::ApiError;
use super::state::{AppState, Note};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/", get(list).post(create))
        .route("/{id}", get(read).put(replace).delete(delete))
        .route("/{id}/publish", post(publish))
}

#[derive(Deserialize)]
struct Page {
    tag: Option<String>,
    #[serde(default)]
    offset: usize,
    limit: Option<usize>,
}

async fn list(
    State(state): State<AppState>,
    user: Option<User>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<impl IntoResponse, ApiError> {
    let Query(Page { tag, offset, limit }) = page?;
    let mut notes = state.visible(user.as_ref().map(|user| user.0.as_str()));
    notes.retain(|note| tag.as_ref().is_none_or(|tag| note.tags.contains(tag)));
    let total = notes.len();
    let notes: Vec<_> = notes.into_iter().skip(offset).take(limit.unwrap_or(50)).collect();
    Ok(([("x-total-count", total.to_string())], Json(notes)))
}

async fn create(
    State(state): State<AppState>,
    User(owner): User,
    note: Result<Json<Note>, JsonRejection>,
) -> Result<impl IntoResponse, ApiError> {
    let Json(note) = note?;
    check(&note)?;
    let note = state.create(&owner, note)?;
    let _ = state.room("events").send(format!("created {}", note.id));
    let location = [(header::LOCATION, format!("/api/v1/notes/{}", note.id))];
    Ok((StatusCode::CREATED, location, Json(note)))
}

fn check(note: &Note) -> Result<(), ApiError> {
    match note.title.chars().count() {
        0 => Err(ApiError::Invalid("a note has a title".to_owned())),
        1..=200 => Ok(()),
        count => Err(ApiError::Invalid(format!("{count} characters are no title"))),
    }
}

async fn read(
    State(state): State<AppState>,
    user: Option<User>,
    id: Result<Path<u64>, PathRejection>,
    fields: HeaderMap,
) -> Result<Response, ApiError> {
    let Path(id) = id?;
    let note = state.get(id, user.as_ref().map(|user| user.0.as_str()))?;
    let tag = format!("\"{}.{}\"", note.id, note.revision);
    let known = fields.get(header::IF_NONE_MATCH).is_some_and(|known| *known == *tag);
    let tag = [(header::ETAG, tag)];
    Ok(match known {
        true => (StatusCode::NOT_MODIFIED, tag).into_response(),
        false => (tag, Json(note)).into_response(),
    })
}

async fn replace(
    State(state): State<AppState>,
    User(owner): User,
    Path(id): Path<u64>,
    note: Result<Json<Note>, JsonRejection>,
) -> Result<Json<Note>, ApiError> {
    let Json(next) = note?;
    check(&next)?;
    let note = state.change(id, &owner, |note| {
        let Note { title, body, tags, .. } = next;
        (note.title, note.body, note.tags) = (title, body, tags);
    })?;
    Ok(Json(note))
}

async fn delete(
    State(state): State<AppState>,
    User(owner): User,
    Path(id): Path<u64>,
) -> Result<StatusCode, ApiError> {
    state.delete(id, &owner)?;
    let _ = state.room("events").send(format!("deleted {id}"));
    Ok(StatusCode::NO_CONTENT)
}

/// Answered at once; done later, by a task of its own.
async fn publish(
    State(state): State<AppState>,
    User(owner): User,
    Path(id): Path<u64>,
) -> Result<impl IntoResponse, ApiError> {
    state.change(id, &owner, |_| {})?;
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if state.change(id, &owner, |note| note.is_public = true).is_ok() {
            let _ = state.room("events").send(format!("published {id}"));
        }
    });
    Ok((StatusCode::ACCEPTED, Json(json!({ "publishing": id }))))
}
