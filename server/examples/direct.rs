//! The direct path, for those who count nanoseconds: an answer from the borrowed request, and a
//! task dispatched by it, without `http` types, a future or an allocation.
//!
//! `cargo run --release --example direct`, then
//!
//! ```sh
//! curl http://127.0.0.1:8080/         # OK
//! curl http://127.0.0.1:8080/hello    # OK, and a task has been dispatched
//! curl http://127.0.0.1:8080/else     # what is no direct path goes to the service
//! ```

use std::convert::Infallible;

use sidecore::app::{Direct, Plain};
use sidecore::{Config, Incoming, Request, Response, Server, StatusCode};

fn main() -> sidecore::Result<()> {
    let report = Server::new(Config::load()?)
        .on_task(|task, _: ()| task.id)
        .on_finish(|_, outcome| {
            if let Err(error) = outcome {
                eprintln!("{error}");
            }
        })
        .serve(|executor| {
            let tasks = executor.tasks();
            let service = tower::service_fn(async |request: Request<Incoming>| {
                let mut answer = Response::new(format!("{} is not here\n", request.uri().path()));
                *answer.status_mut() = StatusCode::NOT_FOUND;
                Ok::<_, Infallible>(answer)
            });
            Direct::new(service, move |head, _body| match head.target.path() {
                "/" => Some(Plain::text("OK")),
                "/hello" => Some(match tasks.dispatch(()) {
                    Ok(_) => Plain::text("OK"),
                    Err(refused) => Plain {
                        status: StatusCode::SERVICE_UNAVAILABLE,
                        body: refused.to_string().into(),
                        ..Plain::text("")
                    },
                }),
                _ => None,
            })
        })?;
    eprintln!("sidecore: ended: {report}");
    Ok(())
}
