//! Files of a directory, before an application: what is no file is the application's.
//!
//! ```sh
//! cargo run --release --example static_files -- server/src
//! curl -i http://127.0.0.1:8080/a.css
//! curl -i -H 'Range: bytes=0-99' http://127.0.0.1:8080/a.css
//! curl -i http://127.0.0.1:8080/no/such/file
//! ```

use axum::Router;
use axum::routing::get;
use sidecore::tasks::TaskPool;
use sidecore::{Config, Server};
use sidecore_static_files::StaticFiles;
use tower::Layer;

fn main() -> sidecore::Result<()> {
    let root = std::env::args().nth(1).unwrap_or_else(|| "public".to_owned());
    // What would wait for a disk does so there, and not on the executors.
    let readers = TaskPool::named("files").task_worker_num(1).on_closures().awaited().build();
    let pool = readers.clone();
    // A root that is not there is told before the server starts.
    StaticFiles::of(&root).build()?;
    let report = Server::new(Config::load()?).with_pool(&readers).serve(move |_executor| {
        let files = StaticFiles::of(&root)
            .cache_control("/assets/*", "public, max-age=31536000, immutable")
            .cache_control("*", "no-cache")
            .precompressed()
            .waiting_on(pool.tasks())
            .build()
            .expect("the root was there a moment ago");
        files.layer(Router::new().route("/hello", get(async || "made here\n")))
    })?;
    eprintln!("sidecore: {report}");
    Ok(())
}
