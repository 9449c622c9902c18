//! What an application can and cannot put on the wire: RFC 9112 §6 and RFC 9110 §15 from the
//! sender's side. The application runs in the test, the bytes go over sockets.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use sidecore::app::{Direct, Plain};
use sidecore::{Config, Incoming, Request, Response, Server, StatusCode};
use sidecore_tests::Client;
use sidecore_tests::wire::exchange;

type Body = UnsyncBoxBody<Bytes, String>;

fn full(text: &'static str) -> Body {
    Full::new(Bytes::from_static(text.as_bytes())).map_err(|never| match never {}).boxed_unsync()
}

/// A body of unknown length: two pieces, then trailers.
fn stream() -> Body {
    use http_body::Frame;
    let mut trailers = http::HeaderMap::new();
    for name in ["x-sum", "content-length", "transfer-encoding", "host"] {
        trailers.insert(name, "1".parse().unwrap());
    }
    let mut frames = vec![
        Frame::trailers(trailers),
        Frame::data(Bytes::from_static(b"cd")),
        Frame::data(Bytes::new()),
        Frame::data(Bytes::from_static(b"ab")),
    ];
    let stream = std::iter::from_fn(move || frames.pop().map(Ok));
    StreamBody::new(Iterate(stream)).boxed_unsync()
}

/// An iterator as a stream.
struct Iterate<I>(I);

impl<I: Iterator + Unpin> futures_core::Stream for Iterate<I> {
    type Item = I::Item;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<I::Item>> {
        Poll::Ready(self.0.next())
    }
}

/// Says that it has five bytes, and gives others.
struct Lying(Option<Bytes>);

impl http_body::Body for Lying {
    type Data = Bytes;
    type Error = String;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, String>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(http_body::Frame::data(bytes))))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(5)
    }
}

/// A body of five bytes that does not know its length.
struct Unmeasured(Option<Bytes>);

impl http_body::Body for Unmeasured {
    type Data = Bytes;
    type Error = String;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, String>>> {
        std::task::Poll::Ready(self.0.take().map(|bytes| Ok(http_body::Frame::data(bytes))))
    }
}

/// `/declared/A&B` answers with each as a Content-Length and a body of five bytes.
fn declared(values: &str) -> http::Result<Response<Body>> {
    let mut build = Response::builder();
    for value in values.split('&') {
        build = build.header("content-length", value);
    }
    build.body(Unmeasured(Some(Bytes::from_static(b"hello"))).boxed_unsync())
}

/// `/status/N` answers N with the body `body`; the other paths say what they do.
async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    let build = Response::builder();
    let response = match path.as_str() {
        "/stream" => build.body(stream()),
        "/short" => build.body(Lying(Some(Bytes::from_static(b"abc"))).boxed_unsync()),
        "/long" => build.body(Lying(Some(Bytes::from_static(b"abcdefgh"))).boxed_unsync()),
        "/panic" => panic!("a handler panics, as this test means it to"),
        "/framed" => build
            .header("content-length", "99")
            .header("transfer-encoding", "chunked")
            .header("connection", "x")
            .header("keep-alive", "timeout=1")
            .body(full("abc")),
        "/close" => build.header("connection", "x").header("connection", "Close").body(full("abc")),
        "/upgrade" => build.status(426).header("upgrade", "h2c").body(full("")),
        "/host" => {
            let host = request.headers()["host"].clone();
            build.header("x-host", host).header("x-uri", request.uri().to_string()).body(full(""))
        }
        "/direct" => {
            let body = request.into_body().map_err(|error| error.to_string());
            build.header("x-by", "service").body(body.boxed_unsync())
        }
        "/value" => build.header("x-value", request.headers()["x-value"].clone()).body(full("")),
        "/echo" => {
            build.body(request.into_body().map_err(|error| error.to_string()).boxed_unsync())
        }
        "/known" => build.status(304).header("content-length", "0").body(full("")),
        path if path.starts_with("/declared/") => declared(&path[10..]),
        path => build.status(path.strip_prefix("/status/").unwrap_or("404")).body(full("body")),
    };
    Ok(response.expect("a response"))
}

fn plain(head: &sidecore::codec::RequestHead<'_>, body: &[u8]) -> Option<Plain> {
    if head.target.path() == "/direct" {
        let field = Some(("x-by".parse().unwrap(), "direct".parse().unwrap()));
        return Some(Plain { field, body: Bytes::copy_from_slice(body), ..Plain::text("") });
    }
    let code = head.target.path().strip_prefix("/plain/")?;
    let status = StatusCode::from_bytes(code.as_bytes()).expect("a status");
    let content_type = if code == "200" { "a/b\r\nX-Injected: 1" } else { "a/b" };
    let field = None;
    Some(Plain { status, content_type, field, body: Bytes::from_static(b"body") })
}

fn with_server(test: impl FnOnce(SocketAddr)) {
    let mut config = Config::default();
    config.port = 0;
    config.options.task_worker_num = Some(0);
    let running = Server::new(config)
        .start(|_| Direct::new(tower::service_fn(answer), plain))
        .expect("the server starts");
    test(running.address());
    running.shutdown().raise();
    running.wait().expect("the server ends");
}

/// All that comes back to `request`, but for Date.
fn raw(address: SocketAddr, request: &str) -> String {
    let received = exchange(address, &[request.as_bytes()]).expect("an end");
    let text = String::from_utf8(received).expect("text");
    text.split_inclusive("\r\n").filter(|line| !line.starts_with("Date: ")).collect()
}

fn request(method_and_path: &str) -> String {
    format!("{method_and_path} HTTP/1.1\r\nHost: h\r\n\r\n")
}

#[test]
fn a_status_that_is_not_final_is_an_error_of_the_application() {
    with_server(|address| {
        let failed = "HTTP/1.1 500 Internal Server Error\r\ncontent-type: text/plain\r\n\
                      Content-Length: 18\r\nConnection: close\r\n\r\nthe handler failed";
        for kind in ["status", "plain"] {
            for status in [100, 101, 102, 103, 199, 600, 999] {
                let sent = request(&format!("GET /{kind}/{status}")).repeat(2);
                assert_eq!(raw(address, &sent), failed, "{kind} {status}");
            }
        }
        assert_eq!(raw(address, &request("GET /panic").repeat(2)), failed);
        let (head, _) = failed.split_at(failed.len() - 18);
        assert_eq!(raw(address, &request("HEAD /panic")), head);
        assert_eq!(raw(address, &request("HEAD /status/101")), head);
    });
}

#[test]
fn an_answer_without_content_has_none_whatever_the_application_gives() {
    with_server(|address| {
        let check = |status: u16, fields: &str| {
            for (kind, content_type) in [("status", ""), ("plain", "Content-Type: a/b\r\n")] {
                let sent = request(&format!("GET /{kind}/{status}"));
                let reason = StatusCode::from_u16(status).unwrap().canonical_reason().unwrap();
                let fields = if kind == "plain" && status == 304 { "" } else { fields };
                let one = format!("HTTP/1.1 {status} {reason}\r\n{fields}{content_type}\r\n");
                assert_eq!(raw(address, &sent.repeat(2)), one.repeat(2), "{kind} {status}");
            }
        };
        check(204, "");
        check(205, "Content-Length: 0\r\n");
        // RFC 9110 §8.6: a 304 may tell the length that a 200 would have.
        check(304, "Content-Length: 4\r\n");
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n";
        assert_eq!(raw(address, &request("HEAD /status/200").repeat(2)), head.repeat(2));
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(raw(address, &request("HEAD /stream").repeat(2)), chunked.repeat(2));
    });
}

#[test]
fn an_application_frames_no_message() {
    with_server(|address| {
        let framed = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(raw(address, &request("GET /framed").repeat(2)), framed.repeat(2));
        // RFC 9110 §5.5: CR and LF end no field within a value.
        let plain = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody";
        assert_eq!(raw(address, &request("GET /plain/200").repeat(2)), plain.repeat(2));
        // A body that is not as long as it said ends the connection, and nothing follows.
        let broken = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(raw(address, &request("GET /short").repeat(2)), format!("{broken}abc"));
        assert_eq!(raw(address, &request("GET /long").repeat(2)), broken);
        // What was answered before it still arrives.
        let both = request("GET /framed") + &request("GET /short");
        assert_eq!(raw(address, &both), format!("{framed}{broken}abc"));
    });
}

/// What a file's length is, only the application knows.
#[test]
fn a_length_that_the_application_declares_is_taken_where_the_body_has_none() {
    with_server(|address| {
        let head = |length: u64| format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        let whole = head(5) + "hello";
        assert_eq!(raw(address, &request("GET /declared/5").repeat(2)), whole.repeat(2));
        assert_eq!(raw(address, &request("HEAD /declared/5").repeat(2)), head(5).repeat(2));
        // A body that does not keep it ends the connection.
        assert_eq!(raw(address, &request("GET /declared/6").repeat(2)), head(6) + "hello");
        assert_eq!(raw(address, &request("GET /declared/4").repeat(2)), head(4));
        // What is no single number says nothing, nor does a 0 of a body that there is.
        let chunked =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        for values in ["+5", "-5", "5,5", "5&5", "five", "5.0", "0", "", "99999999999999999999"] {
            let sent = request(&format!("GET /declared/{values}"));
            assert_eq!(raw(address, &sent.repeat(2)), chunked.repeat(2), "{values}");
        }
        // RFC 9110 §8.6: a 304 tells the length of a 200, or none.
        let known = "HTTP/1.1 304 Not Modified\r\n\r\n";
        assert_eq!(raw(address, &request("GET /known").repeat(2)), known.repeat(2));
        let close = "GET /declared/5 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".repeat(2);
        let answers = raw(address, &close);
        assert_eq!(answers.matches("Content-Length: 5\r\n").count(), 2, "{answers}");
    });
}

#[test]
fn a_direct_answer_sees_a_whole_request_or_none() {
    with_server(|address| {
        let post = "POST /direct HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";
        let direct = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nx-by: direct\r\n\
                      Content-Type: text/plain\r\n\r\nabc";
        // The body is the request's own and no byte of the next one's.
        assert_eq!(raw(address, &post.repeat(3)), direct.repeat(3));
        let empty = "POST /direct HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n";
        let none = direct.replace("abc", "").replace("h: 3", "h: 0");
        assert_eq!(raw(address, &(empty.to_owned() + post)), none.clone() + direct);
        assert_eq!(raw(address, &request("GET /direct")), none);

        let mut client = Client::connect(address);
        let (first, last) = post.split_at(post.len() - 1);
        client.send(first);
        std::thread::sleep(std::time::Duration::from_millis(50));
        client.send(last);
        let answer = client.answer();
        assert_eq!((answer.field("x-by"), &*answer.body), (Some("service"), &b"abc"[..]));
        let chunked = "POST /direct HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
                       3\r\nabc\r\n0\r\n\r\n";
        let by_service = raw(address, chunked);
        assert!(by_service.contains("x-by: service") && by_service.contains("abc"), "{by_service}");
    });
}

#[test]
fn a_body_of_unknown_length_is_chunked_or_ends_with_the_connection() {
    with_server(|address| {
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                       2\r\nab\r\n2\r\ncd\r\n0\r\nx-sum: 1\r\n\r\n";
        assert_eq!(raw(address, &request("GET /stream").repeat(2)), chunked.repeat(2));
        // RFC 9112 §6.1: never to a 1.0 client.
        let old = "GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
        let until_close = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcd";
        assert_eq!(raw(address, &old.repeat(2)), until_close);
    });
}

#[test]
fn the_application_may_close_and_name_an_upgrade() {
    with_server(|address| {
        let close = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc";
        assert_eq!(raw(address, &request("GET /close").repeat(2)), close);
        let upgrade = "HTTP/1.1 426 Upgrade Required\r\nupgrade: h2c\r\nContent-Length: 0\r\n\
                       Connection: upgrade\r\n\r\n";
        assert_eq!(raw(address, &request("GET /upgrade").repeat(2)), upgrade.repeat(2));
    });
}

/// RFC 9112 §3.2.2, and RFC 9110 §5.5: what a handler sees of the request.
#[test]
fn a_handler_sees_the_absolute_target_and_opaque_values() {
    with_server(|address| {
        let got = raw(address, &request("GET http://other:81/host?q"));
        assert!(got.contains("x-host: other:81\r\nx-uri: http://other:81/host?q\r\n"), "{got}");
        let got = raw(address, &request("GET /host"));
        assert!(got.contains("x-host: h\r\nx-uri: /host\r\n"), "{got}");
        let sent = b"GET /value HTTP/1.1\r\nHost: h\r\nX-Value: \ta\x80\xff\tb \r\n\r\n";
        let got = exchange(address, &[sent]).expect("an end");
        let value = b"x-value: a\x80\xff\tb\r\n";
        assert!(got.windows(value.len()).any(|window| window == value));
    });
}

/// RFC 9110 §10.1.1: the interim response comes before the answer, never within it.
#[test]
fn an_answer_that_streams_the_request_back_is_asked_for_first() {
    with_server(|address| {
        let fields = "Host: h\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut client = Client::connect(address);
        client.send(format!("POST /echo HTTP/1.1\r\n{fields}"));
        assert_eq!(client.answer().status, 100);
        client.send("3\r\nabc\r\n0\r\n\r\n");
        let answer = client.answer();
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"abc"[..]));
        client.send(request("GET /status/200"));
        assert_eq!(client.answer().body, b"body");
    });
}
