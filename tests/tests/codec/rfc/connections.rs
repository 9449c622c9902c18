//! RFC 9112 §9 and RFC 9110 §7.6.1, §7.8: which connections persist, and in which order answers come.

use std::time::Duration;

use sidecore_tests::wire::Table;
use sidecore_tests::{Client, ServerProcess};

use super::{chunked, get, post};

fn http10(fields: &str) -> String {
    format!("GET / HTTP/1.0\r\n{fields}\r\n")
}

#[test]
fn rfc_9112_9_3_persistence() {
    let mut table = Table::default();
    table.check(get(""), "200 open");
    for closes in [
        "close",
        "Close",
        "CLOSE",
        "close, x",
        "x, close",
        "x,close",
        "keep-alive, close",
        " close ",
        "close,",
        ", close",
        "\tclose",
        "close\t, x",
        "close, keep-alive",
    ] {
        table.check(get(&format!("Connection: {closes}\r\n")), "200 close");
    }
    for stays in ["keep-alive", "x", "closed", "xclose", "clo se", "", ",", "\"close\"", "close;x"]
    {
        table.check(get(&format!("Connection: {stays}\r\n")), "200 open");
    }
    table.check(get("Connection: x\r\nConnection: close\r\n"), "200 close");
    table.check(get("Connection: close\r\nConnection: keep-alive\r\n"), "200 close");
    table.check(get("Connection: keep-alive\r\nA: b\r\nconnection: Close\r\n"), "200 close");
    table.check(http10(""), "200 close");
    table.check(http10("Connection: keep-alive\r\n"), "200 open");
    table.check(http10("Connection: Keep-Alive\r\n"), "200 open");
    table.check(http10("Connection: x, keep-alive\r\n"), "200 open");
    table.check(http10("Connection: x\r\nConnection: keep-alive\r\n"), "200 open");
    table.check(http10("Connection: keep-alive, close\r\n"), "200 close");
    table.check(http10("Connection: x\r\n"), "200 close");
    table.check(http10("Keep-Alive: timeout=5\r\n"), "200 close");
    let post10 = "POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi";
    table.check(post10, "200=hi open");
    table.run();
}

#[test]
fn rfc_9112_9_3_2_pipelining() {
    let mut table = Table::default();
    let (one, two) = (post("Content-Length: 3\r\n", "one"), chunked("3\r\ntwo\r\n0\r\n\r\n"));
    table.check(format!("{one}{two}"), "200=one 200=two open");
    table.check(format!("{two}{one}{}", get("")), "200=two 200=one 200=OK open");
    table.check(format!("{one}\r\n{two}\r\n"), "200=one 200=two open");
    table.check(get("").repeat(50), &("200 ".repeat(50) + "open"));
    // After a request that closes, or is refused, nothing is answered.
    let close = get("Connection: close\r\n");
    table.check(format!("{one}{close}{two}"), "200=one 200 close");
    table.check(format!("{one}{}{two}", http10("")), "200=one 200 close");
    table.check(format!("{one}{}{two}", get("Content-Length: x\r\n")), "200=one 400 close");
    table.check(format!("{one}{}{two}", chunked("x\r\n")), "200=one 400 close");
    // A body that no handler reads is skipped, up to a bound, and is no request.
    let inner = get("");
    let unread = |method: &str, path: &str| {
        let length = inner.len();
        format!("{method} {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{inner}")
    };
    table.check(unread("POST", "/nowhere"), "404 open");
    table.check(unread("DELETE", "/"), "405 open");
    table.check(unread("NONSENSE", "/"), "501 open");
    let head = "POST /nowhere HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = format!("{:x}\r\n{inner}\r\n", inner.len());
    table.check(format!("{head}{chunk}{chunk}0\r\n\r\n"), "404 open");
    // Where nobody reads it, what breaks the framing may come after the answer or before it.
    let head = head.replace("/nowhere", "/");
    table.check(format!("{head}{chunk}x\r\n"), "400 close");
    table.run();
}

/// RFC 9110 §7.8: what is not supported is ignored.
#[test]
fn rfc_9110_7_8_upgrade() {
    let mut table = Table::default();
    table.check(
        get("Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"),
        "200 open",
    );
    table.check(get("Connection: upgrade\r\nUpgrade: TLS/1.2\r\n"), "200 open");
    table.check(get("Connection: upgrade, close\r\nUpgrade: foo\r\n"), "200 close");
    table.check(http10("Connection: upgrade\r\nUpgrade: foo\r\n"), "200 close");
    table.run();
}

/// §9.6: the answer that is the last says so, and the server half-closes behind it.
#[test]
fn rfc_9112_9_6_tear_down() {
    let server = ServerProcess::start(&[("SIDECORE_TASK_WORKER_NUM", "1")]);
    let check = |request: &str, connection: Option<&str>| {
        let mut client = Client::connect(server.address());
        client.send(request);
        let answer = client.answer();
        assert_eq!(answer.field("connection"), connection, "{request:?}");
        if connection == Some("close") {
            // The end comes without one of ours; what we still send does not reset it.
            client.try_send("junk".repeat(1000));
            assert!(client.rest().is_empty());
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    check(&get(""), None);
    check(&get("Connection: close\r\n"), Some("close"));
    check(&http10(""), Some("close"));
    check(&http10("Connection: keep-alive\r\n"), Some("keep-alive"));
    check(&http10("Connection: x\r\n"), Some("close"));
    check("GET / HTTP/1.1\r\n\r\n", Some("close"));
    check(&post("Content-Length: x\r\n", ""), Some("close"));
    check("POST /nowhere HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n", None);
    check("POST /nowhere HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n", Some("close"));
    server.stop();
}
