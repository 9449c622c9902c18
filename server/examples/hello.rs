//! The least: one handler on every executor, and no tasks.
//!
//! ```sh
//! cargo run --release --example hello
//! curl http://127.0.0.1:8080/ada    # hello /ada, from executor 0
//! ```

use sidecore::{Config, Server, service_fn};

fn main() -> sidecore::Result<()> {
    // Defaults, then `sidecore.toml`, then variables such as SIDECORE_PORT.
    Server::new(Config::load()?).serve(|executor| {
        let executor = executor.index();
        service_fn(move |request| async move {
            format!("hello {}, from executor {executor}\n", request.uri().path())
        })
    })?;
    Ok(())
}
