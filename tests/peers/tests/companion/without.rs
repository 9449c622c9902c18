//! Without the companion: a 500, one line that names the switch, and a server that goes on.

use std::process::Command;
use std::time::Duration;

use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::routing::{any, get};
use sidecore::Server;

use crate::{config, text};

const CHILD: &str = "SIDECORE_TEST_WITHOUT_COMPANION";

/// The standard error of this test, run in a process of its own.
fn log_of(test: &str) -> String {
    let output = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "--nocapture", "--test-threads=1", test])
        .env(CHILD, "1")
        .output()
        .expect("it runs");
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{log}");
    log
}

#[test]
fn what_needs_tokio_costs_its_request_a_500_and_the_log_names_the_switch() {
    if std::env::var_os(CHILD).is_some() {
        return serve();
    }
    let log =
        log_of("without::what_needs_tokio_costs_its_request_a_500_and_the_log_names_the_switch");
    let advice = log.lines().filter(|line| line.starts_with("sidecore: "));
    assert_eq!(advice.clone().count(), 3, "{log}");
    for line in advice {
        assert!(line.contains("`.with_tokio()`") && line.contains("feature `tokio`"), "{line}");
    }
}

/// axum's extractor finds no upgrade, which is its own error and no panic; ours needs no tokio.
#[test]
fn the_websocket_of_axum_is_refused_and_the_log_names_the_switch() {
    if std::env::var_os(CHILD).is_some() {
        return serve_websockets();
    }
    let log = log_of("without::the_websocket_of_axum_is_refused_and_the_log_names_the_switch");
    let advice: Vec<_> = log.lines().filter(|line| line.starts_with("sidecore: ")).collect();
    let [line] = advice[..] else { panic!("{log}") };
    assert!(line.contains("`.with_tokio()`") && line.contains("answered 426"), "{line}");
    assert!(!log.contains("panicked"), "{log}");
}

fn serve_websockets() {
    let axums = |upgrade: WebSocketUpgrade| async {
        upgrade.on_upgrade(|_| async { unreachable!("there is none") })
    };
    let own = |upgrade: sidecore::websocket::WebSocketUpgrade| async {
        upgrade.on_upgrade::<_, axum::body::Body>(|_| async {})
    };
    let running = Server::new(config())
        .start(move |_| Router::new().route("/axum", any(axums)).route("/own", any(own)))
        .expect("the server starts");
    let mut client = sidecore_tests::Client::connect(running.address());
    let request = |path: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
    };
    for _ in 0..2 {
        client.send(request("/axum"));
        assert_eq!(client.answer().status, 426);
    }
    client.send(request("/own"));
    assert_eq!(client.answer().status, 101);
    drop(client);
    running.shutdown().raise();
    running.wait().expect("it ends");
}

/// Asks for a timer in the handler, in its future and in the body of its answer.
fn serve() {
    let running = Server::new(config())
        .start(|_| {
            let sleeps = || async {
                tokio::time::sleep(Duration::from_millis(1)).await;
            };
            let body = || async { axum::body::Body::new(Sleeps) };
            let router = Router::new()
                .route("/sleep", get(sleeps))
                .route("/body", get(body))
                .route("/plain", get(|| async { "plain" }));
            tower::ServiceBuilder::new().layer(AtOnce).service(router)
        })
        .expect("the server starts");
    let address = running.address();
    for path in ["/sleep", "/at-once"] {
        let answer = sidecore_tests::get(address, path);
        assert_eq!((answer.status, text(&answer)), (500, "the handler failed"));
    }
    let mut client = sidecore_tests::Client::connect(address);
    client.send("GET /body HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(client.rest().starts_with(b"HTTP/1.1 200 OK\r\n"));
    assert_eq!(text(&sidecore_tests::get(address, "/plain")), "plain");
    running.shutdown().raise();
    running.wait().expect("it ends");
}

/// A body that needs a timer.
struct Sleeps;

impl http_body::Body for Sleeps {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, Self::Error>>> {
        drop(tokio::time::sleep(Duration::from_millis(1)));
        std::task::Poll::Ready(None)
    }
}

/// A layer whose service needs tokio in `call`, before there is a future.
#[derive(Clone)]
struct AtOnce;

impl<S> tower::Layer<S> for AtOnce {
    type Service = AtOnceService<S>;

    fn layer(&self, inner: S) -> AtOnceService<S> {
        AtOnceService(inner)
    }
}

#[derive(Clone)]
struct AtOnceService<S>(S);

impl<S, B> tower::Service<http::Request<B>> for AtOnceService<S>
where
    S: tower::Service<http::Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(
        &mut self,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<B>) -> S::Future {
        if request.uri().path() == "/at-once" {
            drop(tokio::spawn(async {}));
        }
        self.0.call(request)
    }
}
