//! RFC 9110: methods, expectations and what answers consist of.

use sidecore_tests::wire::Table;
use sidecore_tests::{Client, ServerProcess};

use super::{get, line, post};

fn server() -> ServerProcess {
    ServerProcess::start(&[("SIDECORE_TASK_WORKER_NUM", "1")])
}

#[test]
fn rfc_9110_9_3_methods() {
    let mut table = Table::default();
    table.check(line("HEAD / HTTP/1.1"), "200= open");
    table.check(line("HEAD /nowhere HTTP/1.1"), "404= open");
    table.check(line("HEAD /tasks HTTP/1.1"), "405= open");
    // A refusal of HEAD has no content either, nor has one whose head was not complete.
    table.check("HEAD / HTTP/1.1\r\n\r\n", "400= close");
    table.check("HEAD / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n", "400= close");
    table.check(line("HEAD /%00 HTTP/1.1"), "400= close");
    table.check_end("HEAD / HT", "400= close");
    table.check(line("OPTIONS / HTTP/1.1"), "200 open");
    table.check("OPTIONS / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab", "200 open");
    // §9.3.8: TRACE is not served, so no request is reflected; a body of it is skipped.
    table.check(line("TRACE / HTTP/1.1"), "405 open");
    table.check("TRACE / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab\r\nc", "405 open");
    table.check(line("CONNECT h:80 HTTP/1.1"), "501 close");
    table.run();
}

#[test]
fn rfc_9110_10_1_1_expectations() {
    let mut table = Table::default();
    let hi = |expect: &str| post(&format!("Expect:{expect}\r\nContent-Length: 2\r\n"), "hi");
    // Without a body there is nothing to wait for.
    table.check(get("Expect: 100-continue\r\n"), "200 open");
    table.check(get("Expect: 100-continue\r\nExpect: 100-continue\r\n"), "200 open");
    table.check(hi(""), "200=hi open");
    for other in [
        " 200-ok",
        " 100-continue, 200-ok",
        " 200-ok, 100-continue",
        " 100-continue;q=1",
        " 100",
        " \"100-continue\"",
        " 100-continue 100-continue",
        " x=\"100-continue\"",
        " 100 -continue",
    ] {
        table.check(hi(other), "417 close");
    }
    table.check(hi(" 100-continue\r\nExpect: x"), "417 close");
    // A 1.0 client's is ignored: it would take an interim answer for the answer.
    let old = "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi";
    table.check(old, "200=hi close");
    table.run();
}

#[test]
fn rfc_9110_10_1_1_a_body_is_asked_for_once() {
    let server = server();
    for expect in ["100-continue", "100-Continue", "100-continue, 100-continue", "100-continue,"] {
        for (framing, body) in
            [("Content-Length: 2", "hi"), ("Transfer-Encoding: chunked", "2\r\nhi\r\n0\r\n\r\n")]
        {
            let mut client = Client::connect(server.address());
            client.send(post(&format!("Expect: {expect}\r\n{framing}\r\n"), ""));
            let interim = client.answer();
            assert_eq!(interim.head, "HTTP/1.1 100 Continue\r\n\r\n", "{expect:?} {framing:?}");
            client.send(body);
            let answer = client.answer();
            assert_eq!((answer.status, answer.body.as_slice()), (200, &b"hi"[..]));
            client.send(get(""));
            assert_eq!(client.answer().status, 200);
        }
    }
    // §10.1.1: a refusal comes instead, and what follows is not read as a request.
    for (line, status) in [("POST /nowhere", 404), ("DELETE /", 405), ("POST /tasks/1", 405)] {
        let mut client = Client::connect(server.address());
        let fields = "Host: h\r\nExpect: 100-continue\r\nContent-Length: 30\r\n\r\n";
        client.send(format!("{line} HTTP/1.1\r\n{fields}"));
        let answer = client.answer();
        assert_eq!((answer.status, answer.field("connection")), (status, Some("close")), "{line}");
        client.try_send(get("").repeat(5));
        assert!(client.rest().is_empty(), "{line}");
    }
    server.stop();
}

/// §6.6.1 Date, §8.3 Content-Type, §10.2.1 Allow, §8.6 Content-Length.
#[test]
fn rfc_9110_fields_of_answers() {
    let server = server();
    let check = |request: &str, name: &str, expected: Option<&str>| {
        let mut client = Client::connect(server.address());
        client.send(request);
        let answer = client.answer_to(request.starts_with("HEAD"));
        let date = answer.field("date").unwrap_or("");
        assert!(date.len() == 29 && date.ends_with(" GMT"), "{request:?}: Date {date:?}");
        assert_eq!(answer.field(name), expected, "{request:?}");
        assert_eq!(answer.head.matches("Content-Length").count(), 1, "{request:?}");
    };
    check(&get(""), "content-type", Some("text/plain"));
    check(&get(""), "content-length", Some("2"));
    check(&line("HEAD / HTTP/1.1"), "content-length", Some("2"));
    check(&line("DELETE / HTTP/1.1"), "allow", Some("GET, HEAD, OPTIONS, POST"));
    check(&line("GET /tasks HTTP/1.1"), "allow", Some("POST"));
    check(&line("POST /tasks/1 HTTP/1.1"), "allow", Some("GET, HEAD, DELETE"));
    check(&line("NONSENSE / HTTP/1.1"), "allow", None);
    check("GET / HTTP/1.1\r\n\r\n", "content-type", Some("text/plain"));
    check("GET / HTTP/1.0\r\n\r\n", "transfer-encoding", None);
    server.stop();
}

/// RFC 9110 §15 and RFC 9112 §4: a status line of three parts, the version the server's own.
#[test]
fn rfc_9112_4_status_lines() {
    let server = server();
    for (request, expected) in [
        (get(""), "HTTP/1.1 200 OK"),
        ("GET / HTTP/1.0\r\n\r\n".to_owned(), "HTTP/1.1 200 OK"),
        (line("GET /nowhere HTTP/1.1"), "HTTP/1.1 404 Not Found"),
        (line("GET / HTTP/7.0"), "HTTP/1.1 505 HTTP Version Not Supported"),
        (line("GET https://h/ HTTP/1.1"), "HTTP/1.1 421 Misdirected Request"),
        (get("Expect: x\r\n"), "HTTP/1.1 417 Expectation Failed"),
    ] {
        let mut client = Client::connect(server.address());
        client.send(&request);
        assert_eq!(client.answer().head.lines().next(), Some(expected), "{request:?}");
    }
    server.stop();
}
