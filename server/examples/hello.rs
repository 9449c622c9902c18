//! The least: one handler on every executor, and no tasks.
//!
//! ```sh
//! cargo run --release --example hello
//! curl http://127.0.0.1:8080/ada    # hello /ada, from executor 0
//! ```

use std::convert::Infallible;

use sidecore::{Config, Incoming, Request, Response, Server};

fn main() -> sidecore::Result<()> {
    // Defaults, then `sidecore.toml`, then variables such as SIDECORE_PORT.
    let mut config = Config::load()?;
    // Without task workers no callback is needed.
    config.options.task_worker_num.get_or_insert(0);
    Server::new(config).serve(|worker| {
        let executor = worker.index();
        tower::service_fn(move |request: Request<Incoming>| async move {
            let said = format!("hello {}, from executor {executor}\n", request.uri().path());
            Ok::<_, Infallible>(Response::new(said))
        })
    })?;
    Ok(())
}
