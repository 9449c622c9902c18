//! The companion: what needs tokio works in handlers, which stay on their executor.

mod axum_websocket;
mod ends;
mod hyper_upgrade;
mod postgres;
mod without;
mod works;

use std::sync::Arc;

use axum::Router;
use sidecore::{Config, Running, Server};
use sidecore_tests::{Answer, get};

/// A server with one executor, ended with the test.
struct Served {
    running: Option<Running>,
}

impl Served {
    /// With the companion.
    fn start(router: impl Fn() -> Router + Send + Sync + 'static) -> Served {
        Served::start_with(config(), router, |_| {})
    }

    fn start_with(
        config: Config,
        router: impl Fn() -> Router + Send + Sync + 'static,
        on_stop: impl Fn(usize) + Send + Sync + 'static,
    ) -> Served {
        let server = Server::new(config).with_tokio().on_executor_stop(on_stop);
        let running = server.start(move |_| router()).expect("the server starts");
        Served { running: Some(running) }
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("it runs")
    }

    fn get(&self, path: &str) -> Answer {
        get(self.running().address(), path)
    }

    /// Shuts down and waits for the end.
    fn stop(mut self) {
        let running = self.running.take().expect("it runs");
        running.shutdown().raise();
        running.wait().expect("it ends");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.shutdown().raise();
        }
    }
}

fn config() -> Config {
    let mut config = Config::default();
    config.port = 0;
    config.options.worker_num = Some(1);
    config.options.task_worker_num = Some(0);
    // Clients that read the end of their connection and keep it hold the drain up for so long.
    config.options.linger_timeout_ms = 300;
    config
}

/// The body as text.
fn text(answer: &Answer) -> &str {
    std::str::from_utf8(&answer.body).expect("text")
}

/// Says that it was dropped, and whether tokio could be reached then.
struct Dropped(Arc<dyn Fn(bool) + Send + Sync>);

impl Drop for Dropped {
    fn drop(&mut self) {
        (self.0)(tokio::runtime::Handle::try_current().is_ok());
    }
}
