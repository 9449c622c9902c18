//! HTTPS beside HTTP, which only points to it.
//!
//! ```text
//! openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
//!     -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem
//! cargo run --features tls --example tls
//! curl --cacert cert.pem https://localhost:8443/
//! ```
//!
//! Put another certificate there and send SIGHUP: new connections get it, open ones go on.

use std::convert::Infallible;

use http::header::{HOST, LOCATION};
use sidecore::http::tls::Certificates;
use sidecore::{Config, Incoming, Request, Response, Server, StatusCode};

fn main() -> sidecore::Result<()> {
    let certificates = Certificates::from_pem_files("cert.pem", "key.pem")?;
    let report = Server::new(Config::load()?)
        .tls_certificates(certificates)
        .listen("127.0.0.1:8443 tls".parse()?)
        .on_task(|_task, line: String| println!("{line}"))
        .awaited()
        .serve(|_executor| {
            tower::service_fn(|request| async move { Ok::<_, Infallible>(answer(&request)) })
        })?;
    eprintln!("{report}");
    Ok(())
}

/// Which listener a request came by is seen by the port that it was sent to.
fn answer(request: &Request<Incoming>) -> Response<String> {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let (name, port) = host.rsplit_once(':').unwrap_or((host, ""));
    if port == "8443" {
        return Response::new("hello, and nobody else heard it\n".into());
    }
    let mut moved = Response::new(String::new());
    *moved.status_mut() = StatusCode::PERMANENT_REDIRECT;
    if let Ok(location) = format!("https://{name}:8443{}", request.uri()).parse() {
        moved.headers_mut().insert(LOCATION, location);
    }
    moved
}
