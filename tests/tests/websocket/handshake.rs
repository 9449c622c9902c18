//! The opening handshake: RFC 6455 §4.2, by the byte.

use sidecore_tests::Client;

use crate::{ACCEPT, KEY, Served, TEXT, frame, request};

#[test]
fn the_answer_is_the_one_of_the_rfc() {
    let served = Served::start();
    let mut client = Client::connect(served.running().address());
    client.send(request("/echo"));
    let answer = client.answer();
    let lines: Vec<&str> = answer.head.lines().filter(|line| !line.starts_with("Date: ")).collect();
    let accept = format!("sec-websocket-accept: {ACCEPT}");
    let expected = [
        "HTTP/1.1 101 Switching Protocols",
        "upgrade: websocket",
        &accept,
        "Connection: upgrade",
        "",
    ];
    assert_eq!(lines, expected);
    drop(client);
    served.stop();
}

/// The status of the answer to these lines, and the fields of it that say how to do better.
fn check(served: &Served, lines: &[&str], expected: &str) {
    let mut client = Client::connect(served.running().address());
    client.send(format!("{}\r\n\r\n", lines.join("\r\n")));
    let answer = client.answer();
    let fields = ["allow", "upgrade", "sec-websocket-version", "connection"];
    let fields = fields.iter().filter_map(|name| Some(format!(" {name}={}", answer.field(name)?)));
    assert_eq!(format!("{}{}", answer.status, fields.collect::<String>()), expected, "{lines:?}");
    // Refused or not, the connection goes on as HTTP where it is none of WebSocket's.
    if answer.status != 101 {
        assert_eq!(client.request("GET", "/plain", "").status, 200);
    }
}

#[test]
fn what_is_no_handshake_is_told_why() {
    let served = Served::start();
    let check = |lines: &[&str], expected: &str| check(&served, lines, expected);
    let get = "GET /echo HTTP/1.1";
    let key = &*format!("Sec-WebSocket-Key: {KEY}");
    let (connection, upgrade, version) =
        ("Connection: Upgrade", "Upgrade: WebSocket", "Sec-WebSocket-Version: 13");
    let not_asked = "426 upgrade=websocket sec-websocket-version=13 connection=upgrade";
    let accepted = "101 upgrade=websocket connection=upgrade";
    check(&[get, "Host: h", connection, upgrade, key, version], accepted);
    check(&[get, "Host: h", "connection: a, UPGRADE", upgrade, key, version], accepted);
    check(&[get, "Host: h", connection, "Upgrade: h2c, websocket", key, version], accepted);
    let post = "POST /echo HTTP/1.1";
    check(&[post, "Host: h", connection, upgrade, key, version], "405 allow=GET");
    check(&[get, "Host: h"], not_asked);
    check(&[get, "Host: h", upgrade, key, version], not_asked);
    check(&[get, "Host: h", connection, key, version], not_asked);
    check(&[get, "Host: h", connection, "Upgrade: h2c", key, version], not_asked);
    check(&[get, "Host: h", connection, upgrade, key], not_asked);
    for other in ["8", "013", "14", "13, 8", ""] {
        let other = &*format!("Sec-WebSocket-Version: {other}");
        check(&[get, "Host: h", connection, upgrade, key, other], not_asked);
    }
    check(&[get, "Host: h", connection, upgrade, key, version, version], not_asked);
    check(&[get, "Host: h", connection, upgrade, version], "400");
    check(&[get, "Host: h", connection, upgrade, key, key, version], "400");
    for other in [
        "",
        "AAAA",
        "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25j????",
        "dGhlIHNhbXBsZSBub25jZQAA",
    ] {
        let other = &*format!("Sec-WebSocket-Key: {other}");
        check(&[get, "Host: h", connection, upgrade, other, version], "400");
    }
    served.stop();
}

/// Another message would follow the request's body: it is no time to change the protocol.
#[test]
fn a_request_of_http_1_0_or_with_a_body_has_no_upgrade() {
    let served = Served::start();
    let rest = request("/echo");
    let rest = rest.strip_prefix("GET /echo HTTP/1.1\r\n").expect("its line").trim_end();
    for (line, body) in [
        ("GET /echo HTTP/1.0", "\r\n\r\n"),
        ("GET /echo HTTP/1.1", "\r\nContent-Length: 4\r\n\r\nbody"),
        ("GET /echo HTTP/1.1", "\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ] {
        let mut client = Client::connect(served.running().address());
        client.send(format!("{line}\r\n{rest}{body}"));
        assert_eq!(client.answer().status, 400, "{line} {body:?}");
    }
    served.stop();
}

#[test]
fn what_comes_with_the_request_is_not_lost() {
    let served = Served::start();
    let mut bytes = request("/echo").into_bytes();
    bytes.extend(frame(TEXT, b"first"));
    bytes.extend(&frame(TEXT, b"second")[..5]);
    // In one piece; in two, within the frame; behind another request.
    let plain = b"GET /plain HTTP/1.1\r\nHost: h\r\n\r\n".to_vec();
    for before in [Vec::new(), plain] {
        let mut client = Client::connect(served.running().address());
        client.send([&before[..], &bytes].concat());
        if !before.is_empty() {
            assert_eq!(client.answer().body, b"plain");
        }
        assert_eq!(client.answer().status, 101);
        assert_eq!(client.exactly(7), b"\x81\x05first");
        client.send(&frame(TEXT, b"second")[5..]);
        assert_eq!(client.exactly(8), b"\x81\x06second");
    }
    served.stop();
}

#[test]
fn a_request_that_comes_byte_by_byte_is_the_same() {
    let served = Served::start();
    let mut client = Client::connect(served.running().address());
    let bytes = [request("/echo").as_bytes(), &frame(TEXT, b"Hello")].concat();
    bytes.iter().for_each(|byte| client.send([*byte]));
    assert_eq!(client.answer().status, 101);
    assert_eq!(client.exactly(7), b"\x81\x05Hello");
    drop(client);
    served.stop();
}

#[test]
fn the_server_chooses_among_the_protocols_that_are_offered() {
    let served = Served::start();
    for (offered, chosen) in [("v1, v2", Some("v2")), ("v0,v1", Some("v1")), ("v0", None)] {
        let mut client = Client::connect(served.running().address());
        let field = format!("Sec-WebSocket-Protocol: {offered}\r\n\r\n");
        client.send(request("/protocols").replace("\r\n\r\n", &format!("\r\n{field}")));
        let answer = client.answer();
        assert_eq!((answer.status, answer.field("sec-websocket-protocol")), (101, chosen));
    }
    served.stop();
}

#[test]
fn another_answer_than_101_leaves_the_connection_to_http() {
    let served = Served::start();
    let mut client = Client::connect(served.running().address());
    client.send(request("/denied"));
    assert_eq!(client.answer().status, 403);
    assert_eq!(client.request("GET", "/plain", "").body, b"plain");
    served.stop();
}

/// A 101 that nothing goes on from would leave the client waiting for good.
#[test]
fn a_forged_101_is_an_error_of_the_application() {
    let served = Served::start();
    let mut client = Client::connect(served.running().address());
    client.send(request("/forged"));
    assert_eq!(client.answer().status, 500);
    assert_eq!(client.rest(), b"");
    served.stop();
}
