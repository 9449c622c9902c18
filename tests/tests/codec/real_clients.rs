//! What real clients send raw, byte by byte as they were recorded, and what the application sees of
//! it; and what looks like it and stays refused.
//!
//! Recorded with Chromium 156, Firefox 153, curl, node's `http`, Go's `net/http`, Python's
//! `http.client`, PHP, Ruby and Java; behind nginx and HAProxy.

use std::sync::mpsc::channel;

use bytes::Bytes;
use http_body_util::Full;
use sidecore::lifecycle::Shutdown;
use sidecore::{Config, Incoming, Request, Response, Server};
use sidecore_tests::Client;

/// Answers with what it sees: the method, the URI and Host, and how long the cookies are.
async fn mirror(
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
    let field = |name: &str| request.headers().get(name).map_or(&b""[..], |value| value.as_bytes());
    let (host, cookie) = (String::from_utf8_lossy(field("host")), field("cookie").len());
    let (method, uri) = (request.method(), request.uri());
    let seen = format!("{method} {uri} {host} {cookie}");
    Ok(Response::new(Full::new(Bytes::from(seen))))
}

struct Mirror {
    address: std::net::SocketAddr,
    shutdown: Shutdown,
    running: Option<sidecore::Running>,
}

impl Mirror {
    fn start(raw_utf8: bool) -> Mirror {
        let mut config = Config::default();
        config.port = 0;
        config.options.worker_num = Some(1);
        config.options.task_worker_num = Some(0);
        config.options.raw_utf8 = Some(raw_utf8);
        let running = Server::new(config).start(|_| tower::service_fn(mirror)).unwrap();
        let (address, shutdown) = (running.address(), running.shutdown());
        Mirror { address, shutdown, running: Some(running) }
    }

    /// The status and what the application saw.
    fn send(&self, bytes: &[u8]) -> (u16, String) {
        let mut client = Client::connect(self.address);
        client.send(bytes);
        let answer = client.answer();
        (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.shutdown.raise();
        if let Some(running) = self.running.take() {
            let _ = running.wait();
        }
    }
}

fn get(target: &str, host: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes()
}

#[test]
fn what_real_clients_send_is_served() {
    let mirror = Mirror::start(false);
    for (who, target, seen) in [
        ("browsers, Go, node, curl: a lone % in the query", "/?q=100%", "/?q=100%"),
        ("browsers: escape() of old scripts", "/?q=%u00e9", "/?q=%u00e9"),
        ("browsers, node, curl, Python, PHP: a lone % in the path", "/100%", "/100%"),
        ("browsers, Go, node, curl; nginx with a URI", "/a[1]/b", "/a[1]/b"),
        ("Firefox", "/a|b", "/a|b"),
        ("node, curl, Python, PHP, Java", "/a^{b}\\", "/a^{b}\\"),
        ("node, curl, Python, PHP, Java", "/\"a\"", "/\"a\""),
        ("curl, Go, Python, PHP", "/?a=\"<b>\"", "/?a=%22%3Cb%3E%22"),
        ("curl, Python, Java", "/<a>`", "/%3Ca%3E%60"),
        ("http.client, node, Ruby", "/a?b#c", "/a?b"),
        ("http.client, node, Ruby", "/a#", "/a"),
        ("browsers", "/?a[]={b}|^`\\", "/?a[]={b}|^`\\"),
    ] {
        let (status, text) = mirror.send(&get(target, "h"));
        assert_eq!((status, &*text), (200, &*format!("GET {seen} h 0")), "{who}: {target}");
    }
    // Python and node put a zone into Host.
    let (status, text) = mirror.send(&get("/", "[fe80::1%25eth0]:8080"));
    assert_eq!((status, &*text), (200, "GET / [fe80::1%25eth0]:8080 0"));
    // A browser with large cookies, and a page's fetch with many fields.
    let cookies = format!("GET / HTTP/1.1\r\nHost: h\r\nCookie: a={}\r\n\r\n", "b".repeat(42_000));
    assert_eq!(mirror.send(cookies.as_bytes()), (200, "GET / h 42002".to_owned()));
    let fields: String = (0..150).map(|number| format!("X-{number}: v\r\n")).collect();
    let many = format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
    assert_eq!(mirror.send(many.as_bytes()).0, 200);
    let (status, text) = mirror.send(&get(&format!("/?{}", "a".repeat(10_000)), "h"));
    assert_eq!((status, text.len()), (200, 10_000 + "GET /? h 0".len()));
    // RFC 9110 §2.5: a higher minor version; RFC 9112 §2.2: blank lines before a request.
    assert_eq!(mirror.send(b"GET / HTTP/1.2\r\nHost: h\r\n\r\n").0, 200);
    assert_eq!(mirror.send(b"\r\n\r\nGET / HTTP/1.9\r\nHost: h\r\n\r\n").0, 200);
    // RFC 9110 §5.6.1.2: an empty member of a list; a size with leading zeros.
    for coding in ["chunked,", ",chunked", " , chunked , "] {
        let head = format!("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: {coding}\r\n\r\n");
        let request = head + "0000000000000003\r\nabc\r\n0\r\n\r\n";
        assert_eq!(mirror.send(request.as_bytes()).0, 200, "{coding:?}");
    }
}

#[test]
fn characters_outside_ascii_are_served_where_the_operator_wants_it() {
    let mirror = Mirror::start(true);
    for (target, host, seen) in [
        ("/caf\u{e9}?\u{fc}", "h", "GET /caf%C3%A9?%C3%BC h 0"),
        ("/", "b\u{fc}cher.example", "GET / b\u{fc}cher.example 0"),
    ] {
        let (status, text) = mirror.send(&get(target, host));
        assert_eq!((status, &*text), (200, seen), "{target} {host}");
    }
    // Bytes that are no UTF-8 are no characters.
    assert_eq!(mirror.send(b"GET /\xe9 HTTP/1.1\r\nHost: h\r\n\r\n").0, 400);
    assert_eq!(mirror.send(b"GET / HTTP/1.1\r\nHost: \xfc\r\n\r\n").0, 400);
}

#[test]
fn what_could_mean_two_things_stays_refused() {
    let mirror = Mirror::start(false);
    let (status, reason) = mirror.send(&get("/caf\u{e9}", "h"));
    assert_eq!(status, 400);
    assert!(reason.contains("percent-encoded"), "{reason}");
    for (bytes, status) in [
        (get("/a%00", "h"), 400),
        (get("/a b", "h"), 400),
        (get("/", "http://localhost"), 400),
        (get("/", "[fe80::1%eth0]"), 400),
        (get("#a", "h"), 400),
        (b"GET / HTTP/1.1\nHost: h\n\n".to_vec(), 400),
        (b"GET / HTTP/2.1\r\nHost: h\r\n\r\n".to_vec(), 505),
        (b"GET / HTTP/1.10\r\nHost: h\r\n\r\n".to_vec(), 400),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: ,\r\n\r\n".to_vec(), 400),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, chunked\r\n\r\n".to_vec(), 400),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n00000000000000003\r\n"
                .to_vec(),
            400,
        ),
    ] {
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        assert_eq!(mirror.send(&bytes).0, status, "{shown:?}");
    }
}

/// A body that was moved into another task ends with an error where its exchange does.
#[test]
fn the_reader_of_a_body_learns_that_its_request_has_ended() {
    let (told, ended) = channel();
    let mut config = Config::default();
    config.port = 0;
    config.options.worker_num = Some(1);
    config.options.task_worker_num = Some(0);
    config.options.request_timeout_ms = 300;
    let running = Server::new(config)
        .start(move |_| {
            let told = told.clone();
            tower::service_fn(move |request: Request<Incoming>| {
                let (told, path) = (told.clone(), request.uri().path().to_owned());
                sidecore_runtime::executor::spawn_local(async move {
                    use http_body_util::BodyExt;
                    let read = request.into_body().collect().await;
                    let _ = told.send(read.is_err());
                });
                async move {
                    match &*path {
                        "/early" => {}
                        "/panic" => panic!("asked to"),
                        _ => std::future::pending().await,
                    }
                    Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::new())))
                }
            })
        })
        .unwrap();
    let mut kept = Vec::new();
    for path in ["/early", "/panic", "/slow", "/gone"] {
        let mut client = Client::connect(running.address());
        let head = format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 5000000\r\n\r\nabc");
        client.send(head.as_bytes());
        if path != "/gone" {
            kept.push(client);
        }
        let learned = ended.recv_timeout(std::time::Duration::from_secs(20));
        assert_eq!(learned, Ok(true), "{path}");
    }
    drop(kept);
    running.shutdown().raise();
    running.wait().unwrap();
}
