//! What is measured in a future of the host, one operation after another for a window.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::routing::get;
use tower::ServiceExt;
use tower_http::timeout::TimeoutLayer;

/// Operations between two looks at the clock.
const BATCH: u32 = 64;
/// Of the time-outs, none of which is ever reached.
const FAR: Duration = Duration::from_secs(60);

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// A future that is pending once, and woken at once.
    Pending,
    /// The same within `tokio::time::timeout`.
    Timeout,
    /// A request through an axum `Router`, without a socket.
    Router,
    /// The same with tower-http's `TimeoutLayer` around.
    TimeoutLayer,
    /// `tokio::spawn` of a future that is ready, and its await.
    Spawn,
    /// `GET` by reqwest, on a connection that is kept.
    Reqwest,
    /// 64 bytes to a socket of the host and back, as a client outside sees it.
    Echo,
    /// `GET /` of the host, as a client outside sees it.
    Get,
}

impl Measure {
    pub(crate) const ALL: [(&'static str, Measure); 8] = [
        ("pending", Measure::Pending),
        ("timeout", Measure::Timeout),
        ("router", Measure::Router),
        ("timeout-layer", Measure::TimeoutLayer),
        ("spawn", Measure::Spawn),
        ("reqwest", Measure::Reqwest),
        ("echo", Measure::Echo),
        ("get", Measure::Get),
    ];

    pub(crate) fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(_, measure)| *measure == self);
        found.expect("each has a name").0
    }
}

/// Microseconds of one operation within the host that polls this.
pub(crate) async fn within(
    measure: Measure,
    window: Duration,
    peer: SocketAddr,
    yield_now: impl AsyncFn(),
) -> f64 {
    match measure {
        Measure::Pending => repeat(window, &yield_now).await,
        Measure::Timeout => {
            let operation = async || {
                let done = tokio::time::timeout(FAR, yield_now()).await;
                done.expect("it is not late");
            };
            repeat(window, operation).await
        }
        Measure::Router => through(window, router()).await,
        Measure::TimeoutLayer => {
            let layer = TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, FAR);
            through(window, router().layer(layer)).await
        }
        Measure::Spawn => {
            repeat(window, async || tokio::spawn(async {}).await.expect("it ends")).await
        }
        Measure::Reqwest => {
            let (client, url) = (reqwest::Client::new(), format!("http://{peer}/"));
            let operation = async || {
                let answer = client.get(&url).send().await.expect("an answer");
                assert_eq!(answer.bytes().await.expect("a body"), "OK");
            };
            repeat(window, operation).await
        }
        Measure::Echo | Measure::Get => unreachable!("a client outside measures these"),
    }
}

async fn repeat(window: Duration, mut operation: impl AsyncFnMut()) -> f64 {
    let (start, mut count) = (Instant::now(), 0_u64);
    loop {
        for _ in 0..BATCH {
            operation().await;
        }
        count += u64::from(BATCH);
        let elapsed = start.elapsed();
        if elapsed >= window {
            return elapsed.as_secs_f64() * 1e6 / count as f64;
        }
    }
}

fn router() -> Router {
    Router::new().route("/", get(async || "OK"))
}

async fn through(window: Duration, router: Router) -> f64 {
    let operation = async || {
        let answer: Result<_, Infallible> =
            router.clone().oneshot(Request::new(Body::empty())).await;
        assert_eq!(answer.expect("no error").status(), StatusCode::OK);
    };
    repeat(window, operation).await
}
