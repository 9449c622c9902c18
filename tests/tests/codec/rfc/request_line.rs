//! RFC 9112 §2.2, §2.3 and §3: lines, versions, methods and targets.

use sidecore_tests::wire::Table;

use super::{get, line};

#[test]
fn rfc_9112_2_2_lines_end_with_crlf() {
    let mut table = Table::default();
    table.check(get(""), "200 open");
    table.check(get("").repeat(3), "200 200 200 open");
    table.check(format!("\r\n{}", get("")), "200 open");
    table.check(format!("\r\n\r\n{}", get("")), "200 open");
    table.check(format!("\r\n\r\n\r\n{}", get("")), "400 close");
    table.check(format!("{}\r\n{}", get(""), get("")), "200 200 open");
    table.check(format!("\n{}", get("")), "400 close");
    table.check(format!("\r\n\n{}", get("")), "400 close");
    table.check(format!("\r{}", get("")), "400 close");
    table.check(format!("\r\r\n{}", get("")), "400 close");
    table.check(format!(" {}", get("")), "400 close");
    table.check(format!("\r\n {}", get("")), "400 close");
    table.check(format!("\0{}", get("")), "400 close");
    table.check(format!("\u{feff}{}", get("")), "400 close");
    table.check("GET / HTTP/1.1\nHost: h\n\n", "400 close");
    table.check("GET / HTTP/1.1\r\nHost: h\n\r\n", "400 close");
    table.check("GET / HTTP/1.1\r\nHost: h\r\n\n", "400 close");
    table.check("GET / HTTP/1.1\nHost: h\r\n\r\n", "400 close");
    table.check("GET / HTTP/1.1\rHost: h\r\r", "400 close");
    table.check("GET / HTTP/1.1\r\r\nHost: h\r\n\r\n", "400 close");
    table.check("GET / HTTP/1.1\r\nHost: h\r\r\n\r\n", "400 close");
    // §2.2: white space between the request line and the first field.
    table.check("GET / HTTP/1.1\r\n Host: h\r\n\r\n", "400 close");
    table.check("GET / HTTP/1.1\r\n\tX: y\r\nHost: h\r\n\r\n", "400 close");
    table.check("GET / HTTP/1.1\r\n \r\nHost: h\r\n\r\n", "400 close");
    // A TLS hello and the preface of HTTP/2.
    table.check(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "400 close");
    // The preface of HTTP/2 with a letter wrong.
    table.check("PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n", "505 close");
    table.run();
}

#[test]
fn rfc_9112_2_3_versions() {
    let mut table = Table::default();
    table.check("GET / HTTP/1.0\r\n\r\n", "200 close");
    // RFC 9110 §2.5: a higher minor version is processed as the highest that is spoken.
    table.check(line("GET / HTTP/1.2"), "200 open");
    table.check(line("GET / HTTP/1.9"), "200 open");
    table.check(line("GET / HTTP/2.0"), "505 close");
    table.check(line("GET / HTTP/0.9"), "505 close");
    table.check(line("GET / HTTP/9.9"), "505 close");
    table.check(line("GET / HTTP/1.10"), "400 close");
    table.check(line("GET / HTTP/11"), "400 close");
    table.check(line("GET / HTTP/1"), "400 close");
    table.check(line("GET / HTTP/1.x"), "400 close");
    table.check(line("GET / HTTP/01.1"), "400 close");
    table.check(line("GET / HTTP /1.1"), "400 close");
    table.check(line("GET / http/1.1"), "400 close");
    table.check(line("GET / Http/1.1"), "400 close");
    table.check(line("GET / HTTP-1.1"), "400 close");
    table.check(line("GET / ICY/1.1"), "400 close");
    table.check(line("GET /"), "400 close");
    table.check(line("GET / "), "400 close");
    table.check("GET /\r\n\r\n", "400 close");
    table.run();
}

#[test]
fn rfc_9112_3_request_line() {
    let mut table = Table::default();
    table.check(line("GET  / HTTP/1.1"), "400 close");
    table.check(line("GET /  HTTP/1.1"), "400 close");
    table.check(line("GET / HTTP/1.1 "), "400 close");
    table.check(line("GET / HTTP/1.1\t"), "400 close");
    table.check(line("GET\t/\tHTTP/1.1"), "400 close");
    table.check(line("GET /\tHTTP/1.1"), "400 close");
    table.check(line("GET\u{b}/ HTTP/1.1"), "400 close");
    table.check(line("GET / HTTP/1.1 x"), "400 close");
    table.check(line("GET /a b HTTP/1.1"), "400 close");
    table.check(line("GET HTTP/1.1"), "400 close");
    table.check(line("GET"), "400 close");
    table.check(line("/ HTTP/1.1"), "400 close");
    table.check(line("HTTP/1.1 200 OK"), "400 close");
    table.run();
}

#[test]
fn rfc_9112_3_1_methods() {
    let mut table = Table::default();
    // RFC 9110 §9.1: case-sensitive; unknown ones get 501, known ones that are not allowed 405.
    table.check(line("get / HTTP/1.1"), "501 open");
    table.check(line("G!T / HTTP/1.1"), "501 open");
    table.check(line("!#$%&'*+-.^_`|~ / HTTP/1.1"), "501 open");
    table.check(line(&format!("{} / HTTP/1.1", "M".repeat(32))), "501 open");
    table.check(line(&format!("{} / HTTP/1.1", "M".repeat(33))), "501 close");
    table.check(line(&format!("{} / HTTP/1.1", "M".repeat(5000))), "501 close");
    table.check("M".repeat(100), "501 close");
    table.check(line("DELETE / HTTP/1.1"), "405 open");
    table.check(line("PUT / HTTP/1.1"), "405 open");
    table.check(line("PATCH / HTTP/1.1"), "405 open");
    for method in ["G(T", "G,T", "G:T", "G\"T", "G/T", "G@T", "G[T", "G{T", "G=T", "G?T", "G\\T"] {
        table.check(line(&format!("{method} / HTTP/1.1")), "400 close");
    }
    table.check(line("G\u{e9}T / HTTP/1.1"), "400 close");
    table.check(line("G\u{7f}T / HTTP/1.1"), "400 close");
    table.run();
}

#[test]
fn rfc_9112_3_2_target_forms() {
    let mut table = Table::default();
    // §3.2.1 origin-form.
    table.check(line("GET /?a=b HTTP/1.1"), "200 open");
    table.check(line("GET /?a=b?c/d HTTP/1.1"), "200 open");
    table.check(line("GET /? HTTP/1.1"), "200 open");
    table.check(line("GET //h/ HTTP/1.1"), "404 open");
    table.check(line("GET /../.. HTTP/1.1"), "404 open");
    table.check(line("GET /%41%7e%2F HTTP/1.1"), "404 open");
    table.check(line("GET /:@!$&'()*+,;= HTTP/1.1"), "404 open");
    table.check(line("GET ?a=b HTTP/1.1"), "400 close");
    table.check(line("GET foo HTTP/1.1"), "400 close");
    table.check(line("GET h:80 HTTP/1.1"), "400 close");
    // §3.2.2 absolute-form: its authority counts, and an empty path is `/`.
    table.check(line("GET http://h/ HTTP/1.1"), "200 open");
    table.check(line("GET http://other.example:8080/ HTTP/1.1"), "200 open");
    table.check(line("GET http://h HTTP/1.1"), "200 open");
    table.check(line("GET http://h?a=b HTTP/1.1"), "200 open");
    table.check(line("GET HTTP://H/ HTTP/1.1"), "200 open");
    table.check(line("GET http://[::1]:80/nowhere HTTP/1.1"), "404 open");
    table.check(line("GET http://h:/ HTTP/1.1"), "200 open");
    table.check(line("GET http:/// HTTP/1.1"), "400 close");
    table.check(line("GET http://:80/ HTTP/1.1"), "400 close");
    table.check(line("GET http:/h HTTP/1.1"), "400 close");
    table.check(line("GET http://u@h/ HTTP/1.1"), "400 close");
    table.check(line("GET http://u:p@h/ HTTP/1.1"), "400 close");
    table.check(line("GET http://h:99999/ HTTP/1.1"), "400 close");
    table.check(line("GET http://h#f HTTP/1.1"), "200 open");
    table.check(line("GET ftp://h/ HTTP/1.1"), "400 close");
    // RFC 9110 §7.4: https needs a secured connection.
    table.check(line("GET https://h/ HTTP/1.1"), "421 close");
    // The absolute form does not excuse a missing Host.
    table.check("GET http://h/ HTTP/1.1\r\n\r\n", "400 close");
    table.check("GET http://h/ HTTP/1.0\r\n\r\n", "200 close");
    // §3.2.3 authority-form, of CONNECT only.
    table.check(line("CONNECT h:443 HTTP/1.1"), "501 close");
    table.check(line("CONNECT [::1]:443 HTTP/1.1"), "501 close");
    table.check(line("CONNECT / HTTP/1.1"), "400 close");
    table.check(line("CONNECT h HTTP/1.1"), "400 close");
    table.check(line("CONNECT http://h/ HTTP/1.1"), "400 close");
    // §3.2.4 asterisk-form, of OPTIONS only.
    table.check(line("OPTIONS * HTTP/1.1"), "200 open");
    table.check("OPTIONS * HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab", "200 open");
    table.check(line("GET * HTTP/1.1"), "400 close");
    table.check(line("OPTIONS ** HTTP/1.1"), "400 close");
    table.check(line("OPTIONS *?a HTTP/1.1"), "400 close");
    table.run();
}

#[test]
fn rfc_3986_characters_of_a_target() {
    let mut table = Table::default();
    for path in ["/\u{e9}", "/\u{7f}", "/\u{1}", "/\0", "/%00", "/a?\u{e9}"] {
        table.check(line(&format!("GET {path} HTTP/1.1")), "400 close");
    }
    table.check(b"GET /\xff HTTP/1.1\r\nHost: h\r\n\r\n", "400 close");
    // What honest clients send unencoded is served: see `real_clients.rs`.
    for path in ["/<", "/>", "/\"", "/{a}", "/a|b", "/^", "/`", "/\\", "/[", "/]", "/%", "/%zz"] {
        table.check(line(&format!("GET {path} HTTP/1.1")), "404 open");
    }
    for path in ["/?a[]=b", "/?q=100%", "/?%00", "/?\"<>`", "/#", "/#a", "/?a#b?c"] {
        table.check(line(&format!("GET {path} HTTP/1.1")), "200 open");
    }
    // §3: a target longer than the server takes gets 414.
    table.check(line(&format!("GET /?{} HTTP/1.1", "a".repeat(16382))), "200 open");
    table.check(line(&format!("GET /?{} HTTP/1.1", "a".repeat(16383))), "414 close");
    table.check(format!("GET /{}", "a".repeat(17_000)), "414 close");
    table.check(format!("GET /{}", "a".repeat(200_000)), "414 close");
    table.run();
}
