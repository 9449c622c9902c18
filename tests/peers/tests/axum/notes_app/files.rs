//! Attachments: multipart in, bytes out.

use axum::extract::{DefaultBodyLimit, Multipart, Path, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;

use super::account::User;
use super::error::ApiError;
use super::state::{AppState, Attachment};

/// Bytes of an upload, all of its files together; other bodies have axum's default.
const UPLOAD_MAX_BYTES: usize = 4 << 20;

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/{id}/files", post(upload).layer(DefaultBodyLimit::max(UPLOAD_MAX_BYTES)))
        .route("/{id}/files/{name}", get(download))
}

async fn upload(
    State(state): State<AppState>,
    User(owner): User,
    Path(id): Path<u64>,
    mut form: Multipart,
) -> Result<impl IntoResponse, ApiError> {
    state.change(id, &owner, |_| {})?;
    let (mut files, mut comment) = (Vec::new(), None);
    while let Some(field) = form.next_field().await? {
        let content_type = field.content_type().unwrap_or("application/octet-stream").to_owned();
        match field.file_name().map(str::to_owned) {
            Some(name) => {
                let bytes = field.bytes().await?;
                files.push(json!({ "name": name, "size": bytes.len(), "type": content_type }));
                state.attach(id, name, Attachment { content_type, bytes });
            }
            None => comment = Some(field.text().await?),
        }
    }
    Ok((StatusCode::CREATED, Json(json!({ "files": files, "comment": comment }))))
}

async fn download(
    State(state): State<AppState>,
    user: Option<User>,
    Path((id, name)): Path<(u64, String)>,
) -> Result<impl IntoResponse, ApiError> {
    state.get(id, user.as_ref().map(|user| user.0.as_str()))?;
    let Attachment { content_type, bytes } = state.attachment(id, &name)?;
    Ok(([(header::CONTENT_TYPE, content_type)], bytes))
}
