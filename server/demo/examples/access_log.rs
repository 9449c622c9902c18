//! An access log around a router, direct answers and request ids.
//!
//! ```sh
//! cargo run --release --example access_log -- access.log combined   # common, json, or a format
//! curl -i http://127.0.0.1:8080/hello
//! curl -i http://127.0.0.1:8080/health                  # a direct answer, logged as well
//! mv access.log access.log.1 && kill -HUP $(pidof access_log) && curl http://127.0.0.1:8080/hello
//! cargo run --release --example access_log -- - '%h %m %U %>s %D us %{X-Request-Id}o'
//! ```

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use sidecore::app::{Direct, Plain};
use sidecore::lifecycle::stderr;
use sidecore::{Config, Server};
use sidecore_access_log::{AccessLog, Format};
use sidecore_request_id::RequestIds;

fn main() -> sidecore::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let output = arguments.next().unwrap_or_else(|| "-".to_owned());
    let format = match arguments.next().as_deref() {
        None | Some("combined") => Format::combined(),
        Some("common") => Format::common(),
        Some("json") => Format::json(),
        Some(format) => Format::parse(format)?,
    };
    let log = match &*output {
        "-" => AccessLog::to_stdout(format)?,
        path => AccessLog::to_file(path, format)?,
    };
    log.reopen_on_sighup()?;
    let logging = log.clone();
    let report = Server::new(Config::load()?).serve(move |_executor| {
        let router =
            Router::new().route("/hello", get(async || "hello\n")).layer(RequestIds::new());
        logging.app(Direct::new(router, |head, _body| match head.target.path() {
            "/health" if matches!(head.method, "GET" | "HEAD") => Some(Plain::text("OK")),
            _ => None,
        }))
    })?;
    drop(log);
    stderr::line(format_args!("{report}"));
    stderr::flush(Duration::from_secs(1));
    Ok(())
}
