//! An axum `Router` as the application, unchanged: on executors that run no tokio, and, with the
//! companion, a whole service whose tests pass on `axum::serve` and here alike.

mod bodies;
mod layers;
mod notes;
mod notes_app;
mod routing;

use std::sync::Once;

use sidecore::lifecycle::Report;
use sidecore::test_server::TestServer;
use sidecore::{App, Config, Executor, Server};
use sidecore_tests::{Answer, Client};

/// A server whose tasks square numbers, ended with the test.
struct Served(TestServer<u64, u64>);

impl Served {
    fn start<A: App>(
        make_app: impl Fn(&Executor<u64, u64>) -> A + Send + Sync + 'static,
    ) -> Served {
        without_backtraces();
        let mut config = Config::default();
        config.options.worker_num = Some(1);
        config.options.task_worker_num = Some(1);
        config.options.body_size_max_bytes = 1 << 40;
        let server = Server::new(config)
            .on_task(|_, number: u64| number.checked_mul(number).expect("a small number"))
            .awaited();
        Served(TestServer::start(server, make_app).expect("the server starts"))
    }

    fn client(&self) -> Client {
        Client::connect(self.0.address())
    }

    /// One request without a body on a connection of its own.
    fn get(&self, path: &str) -> Answer {
        self.client().request("GET", path, "")
    }

    /// One request with fields, each ended by CRLF, and a body.
    fn send(&self, line: &str, fields: &str, body: &str) -> Answer {
        let mut client = self.client();
        let length = body.len();
        client.send(format!(
            "{line} HTTP/1.1\r\nHost: h\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
        ));
        client.answer_to(line.starts_with("HEAD "))
    }

    fn stop(self) -> Report {
        self.0.stop().expect("it ends")
    }
}

/// Has panics, which some handlers here are meant to, be reported in a line: what a backtrace is
/// made from takes more memory than the tests that measure it allow for.
fn without_backtraces() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(|panic| eprintln!("{panic}"))));
}

/// The body as text.
fn text(answer: &Answer) -> &str {
    std::str::from_utf8(&answer.body).expect("text")
}
