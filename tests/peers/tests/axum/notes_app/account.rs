//! Who asks: a login by form, a cookie, a bearer token.

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;

use super::error::ApiError;
use super::state::AppState;

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/login", post(login)).route("/me", get(me).delete(logout))
}

/// Whose token a request bears.
#[derive(Clone, Debug)]
pub(crate) struct User(pub(crate) String);

impl<S: Sync> FromRequestParts<S> for User {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        bearer(&parts.headers).map(User).ok_or(ApiError::Unauthorized)
    }
}

/// A token that is none is an error for who need not have one, too.
impl<S: Sync> OptionalFromRequestParts<S> for User {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, ApiError> {
        match parts.headers.contains_key(header::AUTHORIZATION) {
            true => bearer(&parts.headers).map(User).map(Some).ok_or(ApiError::Unauthorized),
            false => Ok(None),
        }
    }
}

fn bearer(fields: &HeaderMap) -> Option<String> {
    let value = fields.get(header::AUTHORIZATION)?.to_str().ok()?;
    let name = value.strip_prefix("Bearer token-of-")?;
    (!name.is_empty()).then(|| name.to_owned())
}

#[derive(Deserialize)]
struct Login {
    name: String,
    password: String,
    #[serde(default)]
    remember: bool,
}

async fn login(form: Result<Form<Login>, FormRejection>) -> Result<impl IntoResponse, ApiError> {
    let Form(Login { name, password, remember }) = form?;
    if password != format!("{name}'s secret") {
        return Err(ApiError::Unauthorized);
    }
    let age = if remember { "; Max-Age=86400" } else { "" };
    let cookie = format!("session={name}; HttpOnly{age}");
    let fields = [(header::SET_COOKIE, cookie), (header::CACHE_CONTROL, "no-store".to_owned())];
    Ok((fields, Json(json!({ "token": format!("token-of-{name}") }))))
}

async fn me(User(name): User, fields: HeaderMap) -> impl IntoResponse {
    let languages = fields.get_all(header::ACCEPT_LANGUAGE).iter();
    let languages: Vec<_> = languages.filter_map(|value| value.to_str().ok()).collect();
    Json(json!({ "name": name, "languages": languages }))
}

async fn logout(_: User) -> impl IntoResponse {
    [(header::SET_COOKIE, "session=; Max-Age=0"), (header::SET_COOKIE, "theme=; Max-Age=0")]
}
