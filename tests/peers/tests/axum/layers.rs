//! The layers of tower-http that need no timer, as they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response};
use tower::Layer;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::cors::CorsLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::normalize_path::NormalizePathLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::trace::TraceLayer;

use crate::{Served, text};

fn router() -> Router {
    Router::new()
        .route("/hello", get(|| async { "hello" }))
        .route("/long", get(|| async { "abcdefgh".repeat(10_000) }))
        .route("/upload", post(|body: Bytes| async move { body.len().to_string() }))
        .route("/panics", get(|| async { panic!("a handler panics") as () }))
}

#[test]
fn compression_streams_and_says_so() {
    let served = Served::start(|_| router().layer(CompressionLayer::new()));
    let answer = served.send("GET /long", "Accept-Encoding: gzip\r\n", "");
    assert_eq!(answer.field("content-encoding"), Some("gzip"));
    assert_eq!(answer.field("transfer-encoding"), Some("chunked"));
    // RFC 1952: the magic bytes, and at the end the length of what is in it.
    let length = answer.body.last_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes));
    assert!(answer.body.starts_with(&[0x1f, 0x8b]) && answer.body.len() < 5_000);
    assert_eq!(length, Some(80_000));
    assert_eq!(served.get("/long").body.len(), 80_000);
    served.stop();
}

#[test]
fn cors_answers_a_preflight() {
    let served = Served::start(|_| router().layer(CorsLayer::permissive()));
    let fields = "Origin: http://a\r\nAccess-Control-Request-Method: POST\r\n";
    let answer = served.send("OPTIONS /upload", fields, "");
    assert_eq!((answer.status, answer.field("access-control-allow-origin")), (200, Some("*")));
    let answer = served.send("GET /hello", "Origin: http://a\r\n", "");
    assert_eq!(answer.field("access-control-allow-origin"), Some("*"));
    served.stop();
}

#[test]
fn the_body_limit_binds_lengths_and_chunks() {
    let served = Served::start(|_| {
        router().layer(DefaultBodyLimit::disable()).layer(RequestBodyLimitLayer::new(10))
    });
    assert_eq!(text(&served.send("POST /upload", "", "0123456789")), "10");
    assert_eq!(served.send("POST /upload", "", "0123456789a").status, 413);
    let mut client = served.client();
    client.send(
        "POST /upload HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
         8\r\n01234567\r\n8\r\n01234567\r\n0\r\n\r\n",
    );
    assert_eq!(client.answer().status, 413);
    // The connection is in step: the rest of the body was not taken for a request.
    assert_eq!(client.request("GET", "/hello", "").status, 200);
    served.stop();
}

#[test]
fn request_ids_are_made_and_propagated() {
    let served = Served::start(|_| {
        let router = router().layer(PropagateRequestIdLayer::x_request_id());
        router.layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
    });
    assert_eq!(served.get("/hello").field("x-request-id").map(str::len), Some(36));
    let answer = served.send("GET /hello", "X-Request-Id: mine\r\n", "");
    assert_eq!(answer.field("x-request-id"), Some("mine"));
    served.stop();
}

#[test]
fn panics_are_caught_within_the_stack_and_keep_the_connection() {
    let served = Served::start(|_| router().layer(CatchPanicLayer::new()));
    let mut client = served.client();
    let answer = client.request("GET", "/panics", "");
    assert_eq!((answer.status, answer.field("connection")), (500, None));
    assert_eq!(client.request("GET", "/hello", "").status, 200);
    served.stop();
}

#[test]
fn headers_are_set_and_responses_traced() {
    let traced = Arc::new(AtomicU64::new(0));
    let seen = traced.clone();
    let served = Served::start(move |_| {
        let seen = seen.clone();
        let count = move |_: &Response<_>, _, _: &tracing::Span| {
            seen.fetch_add(1, Ordering::Relaxed);
        };
        let (name, value) = (HeaderName::from_static("x-set"), HeaderValue::from_static("yes"));
        router()
            .layer(SetResponseHeaderLayer::overriding(name, value))
            .layer(TraceLayer::new_for_http().on_response(count))
    });
    assert_eq!(served.get("/hello").field("x-set"), Some("yes"));
    assert_eq!(served.get("/nowhere").status, 404);
    assert_eq!(traced.load(Ordering::Relaxed), 2);
    served.stop();
}

/// A layer around the whole router, which is then no router any more but a service.
#[test]
fn paths_are_normalised_before_they_are_routed() {
    let served = Served::start(|_| NormalizePathLayer::trim_trailing_slash().layer(router()));
    assert_eq!(text(&served.get("/hello/")), "hello");
    assert_eq!(served.get("/nowhere/").status, 404);
    served.stop();
}
