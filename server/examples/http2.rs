//! HTTP/2: many requests at once over one connection.
//!
//! ```text
//! openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
//!     -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem
//! cargo run --features http2 --example http2
//! curl --cacert cert.pem https://localhost:8080/           # HTTP/2.0, for https://localhost:8080/
//! curl --cacert cert.pem --http1.1 https://localhost:8080/ # HTTP/1.1, for /
//! curl --cacert cert.pem --parallel --parallel-max 50 'https://localhost:8080/nap/[1-50]'
//! ```
//!
//! Nothing of it is in the application: a client that speaks TLS and asks for HTTP/2 gets it, unless
//! `http2 = "off"`. The naps are tasks that wait for each other in one queue; the requests do not.

use std::convert::Infallible;
use std::time::Duration;

use sidecore::http::tls::Certificates;
use sidecore::{Config, Incoming, Request, Response, Server};

fn main() -> sidecore::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let chain = arguments.next().unwrap_or("cert.pem".into());
    let key = arguments.next().unwrap_or("key.pem".into());
    let report = Server::new(Config::load()?)
        .tls(Certificates::from_pem_files(chain, key)?)
        .on_task(|_task, nap: Duration| std::thread::sleep(nap))
        .awaited()
        .serve(|executor| {
            let tasks = executor.tasks();
            tower::service_fn(move |request: Request<Incoming>| {
                let tasks = tasks.clone();
                async move {
                    if !request.uri().path().starts_with("/nap") {
                        let said = format!("{:?}, for {}\n", request.version(), request.uri());
                        return Ok::<_, Infallible>(Response::new(said));
                    }
                    let nap = tasks.run(Duration::from_millis(10)).await;
                    Ok(Response::new(
                        nap.map_or_else(|error| error.to_string(), |()| "napped\n".into()),
                    ))
                }
            })
        })?;
    eprintln!("{report}");
    Ok(())
}
