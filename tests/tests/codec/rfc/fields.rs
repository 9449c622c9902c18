//! RFC 9112 §3.2 and §5, RFC 9110 §5 and §7.2: fields and Host.

use sidecore_tests::wire::Table;

use super::get;

fn host(value: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost:{value}\r\n\r\n")
}

#[test]
fn rfc_9112_3_2_one_valid_host() {
    let mut table = Table::default();
    for good in [
        " h",
        "h",
        "\th",
        " h ",
        " h:80",
        " a.b-c_d~e",
        " 127.0.0.1:8080",
        " [::1]",
        " [::1]:80",
        " [::ffff:1.2.3.4]:1",
        " h:",
        "",
        " ",
        " h:65535",
        " xn--bcher-kva.example",
    ] {
        table.check(host(good), "200 open");
    }
    for bad in [
        " a,b",
        " a, b",
        " a b",
        " u@h",
        " h/",
        " h/p",
        " h?q",
        " h#f",
        " h:8a",
        " h:-1",
        " h:+80",
        " h:65536",
        " h:1:2",
        " :80",
        " [::1",
        " ::1",
        " [x]",
        " []",
        " [::1]x",
        " h%41",
        " \"h\"",
        " http://h",
        " h\\",
        " <h>",
        " h;\u{e9}",
        " h\t:80",
        " h :80",
    ] {
        table.check(host(bad), "400 close");
    }
    table.check("GET / HTTP/1.1\r\n\r\n", "400 close");
    table.check("GET / HTTP/1.1\r\nHos: h\r\n\r\n", "400 close");
    table.check("GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", "400 close");
    table.check("GET / HTTP/1.1\r\nHost: a\r\nhOST: b\r\n\r\n", "400 close");
    table.check("GET / HTTP/1.1\r\nHost: h\r\nHost:\r\n\r\n", "400 close");
    table.check("GET / HTTP/1.0\r\nHost: h\r\nHost: h\r\n\r\n", "400 close");
    table.check("GET / HTTP/1.0\r\nHost: a,b\r\n\r\n", "400 close");
    table.check("GET / HTTP/1.1\r\nhOsT: h\r\n\r\n", "200 open");
    table.check("GET / HTTP/1.1\r\nX: y\r\nHost: h\r\n\r\n", "200 open");
    table.run();
}

#[test]
fn rfc_9112_5_1_names_stand_before_their_colon() {
    let mut table = Table::default();
    table.check(get("a: b\r\n"), "200 open");
    table.check(get("a:b\r\n"), "200 open");
    table.check(get("a:\t b \t\r\n"), "200 open");
    table.check(get("a:\r\n"), "200 open");
    table.check(get("a: :\r\n"), "200 open");
    table.check(get("!#$%&'*+-.^_`|~1: b\r\n"), "200 open");
    table.check(get("a : b\r\n"), "400 close");
    table.check(get("a\t: b\r\n"), "400 close");
    table.check(get(" a: b\r\n"), "400 close");
    table.check(get("\ta: b\r\n"), "400 close");
    table.check(get("a b: c\r\n"), "400 close");
    table.check(get(": b\r\n"), "400 close");
    table.check(get("a\r\n"), "400 close");
    table.check(get("a\0: b\r\n"), "400 close");
    table.check(get("a\u{1}: b\r\n"), "400 close");
    table.check(get("\u{e9}: b\r\n"), "400 close");
    for name in
        ["a(", "a)", "a,", "a/", "a;", "a<", "a=", "a>", "a?", "a@", "a[", "a\\", "a]", "a{"]
    {
        table.check(get(&format!("{name}: b\r\n")), "400 close");
    }
    // A name that some servers turn into a framing field; others are fields like any other.
    table.check(get("Content_Length: 5\r\n"), "400 close");
    table.check(get("Transfer_Encoding: chunked\r\n"), "400 close");
    table.check(get("Content_Type: a/b\r\nX_Y: z\r\n"), "200 open");
    table.check(get("Content-Length : 5\r\n"), "400 close");
    table.check(get("Transfer-Encoding : chunked\r\n"), "400 close");
    table.check(get("Content-Length\u{b}: 5\r\n"), "400 close");
    table.run();
}

#[test]
fn rfc_9112_5_2_obsolete_folding_is_refused() {
    let mut table = Table::default();
    table.check(get("a: b\r\n c\r\n"), "400 close");
    table.check(get("a: b\r\n\tc\r\n"), "400 close");
    table.check(get("a: b\r\n \r\n"), "400 close");
    table.check(get("a:\r\n b\r\n"), "400 close");
    table.check(get("Transfer-Encoding:\r\n chunked\r\n"), "400 close");
    table.check(get("Content-Length:\r\n 5\r\n"), "400 close");
    table.check("GET / HTTP/1.1\r\nHost:\r\n h\r\n\r\n", "400 close");
    table.run();
}

#[test]
fn rfc_9110_5_5_values() {
    let mut table = Table::default();
    table.check(get("a: b\tc d\r\n"), "200 open");
    table.check(get("a: \"quoted\", (comment)\r\n"), "200 open");
    table.check(get("a: \u{e9}\u{20ac}\r\n"), "200 open");
    table.check(b"GET / HTTP/1.1\r\nHost: h\r\na: \x80\xff\r\n\r\n", "200 open");
    for control in ["\0", "\u{1}", "\u{8}", "\u{b}", "\u{c}", "\u{1f}", "\u{7f}", "\r"] {
        table.check(get(&format!("a: b{control}c\r\n")), "400 close");
        table.check(get(&format!("a: {control}\r\n")), "400 close");
    }
    table.check(get("a: b\nc: d\r\n"), "400 close");
    table.run();
}

/// RFC 9110 §5.4 and RFC 6585 §5.
#[test]
fn rfc_9110_5_4_limits_of_a_head() {
    let mut table = Table::default();
    // Host is one of the 200 fields.
    table.check(get(&"a: b\r\n".repeat(199)), "200 open");
    table.check(get(&"a: b\r\n".repeat(200)), "431 close");
    table.check(get(&format!("a: {}\r\n", "b".repeat(65_000))), "200 open");
    table.check(get(&format!("a: {}\r\n", "b".repeat(66_000))), "431 close");
    table.check(format!("GET / HTTP/1.1\r\na: {}", "b".repeat(100_000)), "431 close");
    table.check(format!("GET / HTTP/1.1\r\n{}", "b".repeat(100_000)), "431 close");
    table.run();
}
