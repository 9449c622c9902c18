//! The layers around all routes.

use std::any::Any;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::IntoResponse;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::decompression::RequestDecompressionLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::sensitive_headers::SetSensitiveHeadersLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;

use super::error::ApiError;
use super::state::AppState;

const TIME_LIMIT: Duration = Duration::from_millis(400);
/// Bytes of any request's body, as it is sent.
const BODY_MAX_BYTES: usize = 16 << 20;

pub(super) fn wrap(router: Router, state: AppState) -> Router {
    let outer = ServiceBuilder::new()
        .layer(SetSensitiveHeadersLayer::new([header::AUTHORIZATION, header::COOKIE]))
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
        .layer(TraceLayer::new_for_http())
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(CatchPanicLayer::custom(panicked))
        .layer(cors())
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, TIME_LIMIT));
    let inner = ServiceBuilder::new()
        .layer(RequestBodyLimitLayer::new(BODY_MAX_BYTES))
        .layer(RequestDecompressionLayer::new())
        .layer(CompressionLayer::new())
        .layer(SetResponseHeaderLayer::if_not_present(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ));
    router.layer(middleware::from_fn_with_state(state, names_the_route)).layer(inner).layer(outer)
}

fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::exact(HeaderValue::from_static("https://notes.example")))
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE])
        .expose_headers([HeaderName::from_static("x-total-count")])
        .allow_credentials(true)
        .max_age(Duration::from_secs(600))
}

/// Counts the requests, and says in each answer what was asked.
async fn names_the_route(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> impl IntoResponse {
    state.count();
    let asked = format!("{} {}", request.method(), request.uri().path());
    let mut response = next.run(request).await;
    if let Ok(asked) = HeaderValue::try_from(asked) {
        response.headers_mut().insert("x-asked", asked);
    }
    response
}

fn panicked(panic: Box<dyn Any + Send>) -> Response<Body> {
    let text = panic.downcast_ref::<&str>().copied().unwrap_or("something");
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    ApiError::Rejected(status, format!("panicked: {text}")).into_response()
}
