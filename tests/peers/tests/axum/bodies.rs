//! Bodies both ways through axum, and handlers that fail.

use std::io::{Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use http::header::TRAILER;
use http::{HeaderMap, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt;

use crate::{Served, text};

const MIB: usize = 1024 * 1024;

/// So many MiB of zeros, then a trailer or a failure.
struct Zeros {
    mib: usize,
    end: End,
}

enum End {
    Trailers(Option<HeaderMap>),
    Error,
    Panic,
}

impl http_body::Body for Zeros {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        static BLOCK: [u8; MIB] = [0; MIB];
        if self.mib > 0 {
            self.mib -= 1;
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&BLOCK)))));
        }
        Poll::Ready(match &mut self.end {
            End::Trailers(trailers) => {
                trailers.take().map(|trailers| Ok(Frame::trailers(trailers)))
            }
            End::Error => Some(Err(std::io::Error::other("no more zeros"))),
            End::Panic => panic!("a body panics"),
        })
    }
}

fn zeros(mib: usize, end: End) -> Response {
    Response::new(Body::new(Zeros { mib, end }))
}

/// Counts a body; its trailers come back as trailers.
async fn count(mut body: Body) -> Result<Response, StatusCode> {
    let (mut bytes, mut trailers) = (0, None);
    while let Some(frame) = body.frame().await {
        match frame.map_err(|_| StatusCode::BAD_REQUEST)?.into_data() {
            Ok(data) => bytes += data.len(),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    let text = http_body_util::Full::from(bytes.to_string());
    let body = Body::new(text.with_trailers(async move { trailers.map(Ok) }));
    // Its length is known: the announcement is what makes room for trailers.
    Ok(([(TRAILER, "x-sum")], body).into_response())
}

fn app() -> Router {
    Router::new()
        .route("/count", post(count))
        .route("/zeros", get(|| async { zeros(512, End::Trailers(None)) }))
        .route("/broken", get(|| async { zeros(1, End::Error) }))
        .route("/panics-later", get(|| async { zeros(1, End::Panic) }))
        .route("/panics", get(|| async { panic!("a handler panics") as () }))
        .route("/swallows", post(|body: Body| async { drop(to_bytes(body, MIB).await) }))
        .route("/bytes", post(|body: Bytes| async move { body }))
        .route("/ok", get(|| async { "ok" }))
}

fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = text.split(' ').nth(1).and_then(|n| n.parse().ok()).unwrap();
    pages * rustix::param::page_size()
}

#[test]
fn a_large_upload_is_counted_in_constant_memory() {
    let served = Served::start(|_| app());
    let mut client = served.client();
    let (block, before, mut grown) = (vec![0; MIB], resident_bytes(), 0);
    client
        .send(format!("POST /count HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", 512 * MIB));
    for _ in 0..512 {
        client.send(&block);
        grown = grown.max(resident_bytes().saturating_sub(before));
    }
    assert_eq!(text(&client.answer()), (512 * MIB).to_string());
    // Other tests of this process need some memory too.
    assert!(grown < 64 * MIB, "{grown} bytes");
    served.stop();
}

#[test]
fn a_large_response_is_streamed_in_constant_memory() {
    let served = Served::start(|_| app());
    let mut client = served.client();
    client.send("GET /zeros HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let mut stream = client.stream();
    let (mut buffer, before, mut grown) = (vec![0; MIB], resident_bytes(), 0);
    let (mut zeros, mut all) = (0, 0);
    loop {
        let count = match stream.read(&mut buffer) {
            Ok(0) => break,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            read => read.unwrap(),
        };
        all += count;
        zeros += buffer[..count].iter().filter(|&&byte| byte == 0).count();
        grown = grown.max(resident_bytes().saturating_sub(before));
    }
    // The rest is the head and the sizes of chunks.
    assert!(zeros == 512 * MIB && all - zeros < MIB, "{zeros} of {all}");
    assert!(grown < 64 * MIB, "{grown} bytes");
    served.stop();
}

#[test]
fn trailers_pass_both_ways() {
    let served = Served::start(|_| app());
    let mut client = served.client();
    client.send(
        "POST /count HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
         5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n",
    );
    let answer = String::from_utf8(client.rest()).unwrap();
    assert!(answer.contains("\r\nTransfer-Encoding: chunked\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n1\r\n5\r\n0\r\nx-sum: 7\r\n\r\n"), "{answer}");
    served.stop();
}

#[test]
fn a_panic_costs_its_request_a_500_and_nothing_else() {
    let served = Served::start(|_| app());
    // On the same executor, a connection that is open before and after.
    let mut other = served.client();
    assert_eq!(other.request("GET", "/ok", "").status, 200);
    for _ in 0..3 {
        let mut client = served.client();
        client.send("GET /panics HTTP/1.1\r\nHost: h\r\n\r\n");
        let answer = client.answer();
        assert_eq!((answer.status, answer.field("connection")), (500, Some("close")));
        assert!(client.rest().is_empty());
        assert_eq!(other.request("GET", "/ok", "").status, 200);
    }
    // Before there is a future, and within a body: the first can still be answered.
    let direct = Served::start(|_| {
        tower::service_fn(|_: http::Request<sidecore::Incoming>| {
            panic!("a service panics");
            #[allow(unreachable_code)]
            std::future::ready(Ok::<_, std::convert::Infallible>(Response::new(Body::empty())))
        })
    });
    assert_eq!(direct.get("/").status, 500);
    assert_eq!(direct.get("/").status, 500);
    direct.stop();
    for path in ["/panics-later", "/broken"] {
        let mut client = served.client();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
        let answer = client.rest();
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
        assert!(!answer.ends_with(b"0\r\n\r\n"), "{path} was ended as if it were whole");
        assert_eq!(other.request("GET", "/ok", "").status, 200);
    }
    served.stop();
}

/// Whether the handler reports the error, hides it or never asks for the rest.
#[test]
fn a_body_that_breaks_its_framing_gets_400_whatever_the_handler_makes_of_it() {
    let served = Served::start(|_| app());
    let check = |path: &str, body: &[&str], half_close: bool| {
        let mut client = served.client();
        let head = format!("POST {path} HTTP/1.1\r\nHost: h\r\n");
        client.send(format!("{head}{}", body[0]));
        for rest in &body[1..] {
            std::thread::sleep(Duration::from_millis(20));
            client.stream().write_all(rest.as_bytes()).unwrap();
        }
        if half_close {
            client.end();
        }
        let answer = client.answer();
        assert_eq!((answer.status, answer.field("connection")), (400, Some("close")), "{path}");
        assert!(client.rest().is_empty(), "{path}: more than one answer");
    };
    let chunked = "Transfer-Encoding: chunked\r\n\r\n";
    for path in ["/swallows", "/bytes", "/count"] {
        check(path, &[&format!("{chunked}3\r\nabc\r\nzz\r\n")], false);
        check(path, &[chunked, "3\r\nabc\r\n", "zz\r\n"], false);
        check(path, &[chunked, "3\r\nabcd"], false);
        check(path, &[&format!("{chunked}3\r\nabc\r\n")], true);
        check(path, &["Content-Length: 10\r\n\r\nabc"], true);
    }
    served.stop();
}
