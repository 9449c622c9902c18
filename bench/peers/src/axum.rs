//! An axum `Router` on tokio's current-thread runtime, as `axum::serve` runs it, pinned to one CPU:
//! `peer-axum CPU SECONDS`. Its routes are those of sidecore's example `axum` that need no tasks.

use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;

#[derive(Clone)]
struct App {
    greeting: &'static str,
}

async fn hello(State(app): State<App>, Path(name): Path<String>) -> String {
    format!("{} {name}\n", app.greeting)
}

async fn serve() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    let listener = listener.tap_io(|socket| {
        // As the others here do; a peer that went away is found out when it is read from.
        let _ = socket.set_nodelay(true);
    });
    let nested = Router::new().route("/{name}", get(hello));
    let router = Router::new()
        .route("/", get(|| async { "OK" }))
        .route("/hello/{name}", get(hello))
        .nest("/nested", nested)
        .with_state(App { greeting: "hello" });
    axum::serve(listener, router).await
}

fn main() -> std::io::Result<()> {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let [cpu, seconds] = numbers[..] else {
        return Err(std::io::Error::other("usage: peer-axum CPU SECONDS"));
    };
    core_affinity::set_for_current(core_affinity::CoreId { id: cpu });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let limit = Duration::from_secs(seconds as u64);
        tokio::time::timeout(limit, serve()).await.unwrap_or(Ok(()))
    })
}
