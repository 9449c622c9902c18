//! Extractors, nested routers, fallbacks, middleware, and tasks in handlers.

use axum::extract::{Form, Path, Query, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri, Version};
use serde::{Deserialize, Serialize};
use sidecore::Tasks;

use crate::{Served, text};

#[derive(Deserialize, Serialize)]
struct Point {
    x: i32,
    y: i32,
}

#[derive(Clone)]
struct Named(&'static str);

fn extractors() -> Router {
    Router::new()
        .route(
            "/path/{id}/{name}",
            get(|Path((id, name)): Path<(u32, String)>| async move { format!("{id} {name}") }),
        )
        .route("/rest/{*rest}", get(|Path(rest): Path<String>| async move { rest }))
        .route(
            "/query",
            get(|Query(point): Query<Point>| async move { format!("{} {}", point.x, point.y) }),
        )
        .route("/state", get(|State(Named(name)): State<Named>| async move { name }))
        .route(
            "/json",
            post(|Json(Point { x, y }): Json<Point>| async move { Json(Point { x: y, y: x }) }),
        )
        .route(
            "/form",
            post(|Form(point): Form<Point>| async move { format!("{} {}", point.x, point.y) }),
        )
        .route("/bytes", post(|body: Bytes| async move { body.len().to_string() }))
        .route("/text", post(|body: String| async move { body }))
        .route("/headers", get(headers))
        .route("/head", get(head).head(|| async { [("x-head", "own")] }))
        .with_state(Named("state"))
}

async fn headers(fields: HeaderMap) -> impl IntoResponse {
    let values: Vec<_> = fields.get_all("x-many").iter().map(|v| v.as_bytes().to_vec()).collect();
    let mut answer = HeaderMap::new();
    answer.append("x-many", "1".parse().unwrap());
    answer.append("x-many", "2".parse().unwrap());
    (answer, values.concat())
}

async fn head(method: Method, uri: Uri, version: Version) -> String {
    format!("{method} {uri} {version:?}")
}

#[test]
fn extractors_see_what_was_sent() {
    let served = Served::start(|_| extractors());
    let get = |path: &str| text(&served.get(path)).to_owned();
    assert_eq!(get("/path/7/a%20b%C3%A9"), "7 a b\u{e9}");
    assert_eq!(served.get("/path/x/y").status, 400);
    assert_eq!(get("/rest/a/b/c"), "a/b/c");
    assert_eq!(get("/query?y=2&x=-1"), "-1 2");
    assert_eq!(served.get("/query?x=1").status, 400);
    assert_eq!(get("/state"), "state");
    assert_eq!(get("/head?a=%41"), "GET /head?a=%41 HTTP/1.1");

    let json = "Content-Type: application/json\r\n";
    let answer = served.send("POST /json", json, r#"{"x":1,"y":2}"#);
    assert_eq!((answer.status, text(&answer)), (200, r#"{"x":2,"y":1}"#));
    assert_eq!(answer.field("content-type"), Some("application/json"));
    assert_eq!(served.send("POST /json", "", r#"{"x":1,"y":2}"#).status, 415);
    assert_eq!(served.send("POST /json", json, r#"{"x":1,"#).status, 400);
    assert_eq!(served.send("POST /json", json, r#"{"x":1}"#).status, 422);

    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    assert_eq!(text(&served.send("POST /form", form, "x=3&y=4")), "3 4");
    assert_eq!(text(&served.send("POST /bytes", "", &"a".repeat(100_000))), "100000");
    // axum's own limit, of 2 MB.
    assert_eq!(served.send("POST /bytes", "", &"a".repeat(3_000_000)).status, 413);
    assert_eq!(text(&served.send("POST /text", "", "h\u{e9}")), "h\u{e9}");

    let answer = served.send("GET /headers", "X-Many: a\r\nx-many: \t b\r\n", "");
    assert_eq!(text(&answer), "ab");
    let many = answer.head.lines().filter(|line| line.starts_with("x-many: "));
    assert_eq!(many.collect::<Vec<_>>(), ["x-many: 1", "x-many: 2"]);
    let answer = served.send("HEAD /head", "", "");
    assert_eq!((answer.status, answer.field("x-head")), (200, Some("own")));
    let answer = served.send("HEAD /state", "", "");
    assert_eq!((answer.status, answer.field("content-length")), (200, Some("5")));
    served.stop();
}

#[test]
fn routers_nest_merge_and_fall_back() {
    let served = Served::start(|_| {
        let deep = Router::new().route("/uri", get(|uri: Uri| async move { uri.to_string() }));
        let inner = Router::new()
            .route("/", get(|| async { "inner" }))
            .fallback(|| async { (StatusCode::IM_A_TEAPOT, "inner fallback") });
        let merged = Router::new().route("/merged", get(|| async { "merged" }));
        Router::new()
            .nest("/api", Router::new().nest("/v1", deep).merge(inner))
            .merge(merged)
            .route_service("/service", tower::service_fn(service))
            .fallback(|| async { (StatusCode::NOT_FOUND, "outer fallback") })
    });
    assert_eq!(text(&served.get("/api")), "inner");
    assert_eq!(text(&served.get("/api/v1/uri?q")), "/uri?q");
    let answer = served.get("/api/nowhere");
    assert_eq!((answer.status, text(&answer)), (418, "inner fallback"));
    assert_eq!(text(&served.get("/merged")), "merged");
    assert_eq!(text(&served.get("/service")), "service");
    let answer = served.get("/nowhere");
    assert_eq!((answer.status, text(&answer)), (404, "outer fallback"));
    let answer = served.send("DELETE /merged", "", "");
    assert_eq!((answer.status, answer.field("allow")), (405, Some("GET,HEAD")));
    served.stop();
}

async fn service(_: Request) -> Result<Response, std::convert::Infallible> {
    Ok("service".into_response())
}

async fn authorise(request: Request, next: Next) -> Result<Response, StatusCode> {
    if !request.headers().contains_key("authorization") {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let mut answer = next.run(request).await;
    answer.headers_mut().insert("x-authorised", "yes".parse().unwrap());
    Ok(answer)
}

/// Awaits a task before the handler runs, and hands its output on.
async fn square(
    State(tasks): State<Tasks<u64, u64>>,
    mut request: Request,
    next: Next,
) -> Response {
    let output = tasks.run(12).await.expect("a task worker is there");
    request.extensions_mut().insert(output);
    next.run(request).await
}

#[test]
fn middleware_answers_instead_changes_answers_and_awaits_tasks() {
    let served = Served::start(|executor| {
        let squared = |axum::Extension(n): axum::Extension<u64>| async move { n.to_string() };
        Router::new()
            .route("/squared", get(squared))
            .layer(middleware::from_fn_with_state(executor.tasks(), square))
            .layer(middleware::from_fn(authorise))
    });
    assert_eq!(served.get("/squared").status, 401);
    let answer = served.send("GET /squared", "Authorization: x\r\n", "");
    assert_eq!((text(&answer), answer.field("x-authorised")), ("144", Some("yes")));
    let report = served.stop();
    assert_eq!((report.accepted, report.lost), (1, 0));
}

async fn run(
    State(tasks): State<Tasks<u64, u64>>,
    Path(number): Path<u64>,
) -> Result<String, (StatusCode, String)> {
    match is_send(tasks.run(number)).await {
        Ok(output) => Ok(output.to_string()),
        Err(error) => Err((StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}

fn is_send<T: Send>(value: T) -> T {
    value
}

fn is_state<T: Clone + Send + Sync + 'static>() {}

#[test]
fn a_handle_to_tasks_is_state_and_awaiting_one_is_send() {
    is_state::<Tasks<u64, u64>>();
    let served = Served::start(|executor| {
        let dispatch = |State(tasks): State<Tasks<u64, u64>>| async move {
            tasks.dispatch(3).expect("there is room").to_string()
        };
        Router::new()
            .route("/run/{number}", post(run))
            .route("/dispatch", post(dispatch))
            .with_state(executor.tasks())
    });
    assert_eq!(text(&served.send("POST /run/9", "", "")), "81");
    // A task that panics is an error of its request, and the worker lives on.
    let answer = served.send("POST /run/18446744073709551615", "", "");
    assert!(answer.status == 500 && text(&answer).contains("a small number"), "{answer:?}");
    assert_eq!(text(&served.send("POST /run/10", "", "")), "100");
    assert!(text(&served.send("POST /dispatch", "", "")).parse::<u64>().is_ok());
    // Twenty at once on one executor: none waits for another's answer to be read.
    let mut clients: Vec<_> = (0..20).map(|_| served.client()).collect();
    clients.iter_mut().for_each(|c| c.send("POST /run/5 HTTP/1.1\r\nHost: h\r\n\r\n"));
    assert!(clients.iter_mut().all(|client| client.answer().body == b"25"));
    let report = served.stop();
    assert_eq!((report.accepted, report.panicked, report.lost), (24, 1, 0));
}
