//! RFC 9112 §6 to §8: framing, chunks, trailers, incomplete messages.

use sidecore_tests::wire::Table;

use super::{chunked, get, post};

#[test]
fn rfc_9112_6_2_content_length() {
    let mut table = Table::default();
    table.check(post("Content-Length: 3\r\n", "abc"), "200=abc open");
    table.check(post("content-LENGTH:\t3 \r\n", "abc"), "200=abc open");
    table.check(post("Content-Length: 0\r\n", ""), "200= open");
    table.check(post("Content-Length: 0003\r\n", "abc"), "200=abc open");
    table.check(post("", ""), "200= open");
    table.check("POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc", "200=abc close");
    let two = post("Content-Length: 1\r\n", "a") + &post("Content-Length: 2\r\n", "bc");
    table.check(two, "200=a 200=bc open");
    // A GET may have a body, which is no request (RFC 9110 §9.3.1).
    let request = get("");
    table.check(get(&format!("Content-Length: {}\r\n", request.len())) + &request, "200 open");
    for bad in [
        "+3",
        "-3",
        "3,3",
        "3, 3",
        "3,",
        ",3",
        "3 3",
        "0x3",
        "3.0",
        "3e0",
        "",
        " ",
        "a",
        "3a",
        "'3'",
        "\"3\"",
        "３",
        "99999999999999999999",
        "18446744073709551616",
        "0000000000000000000003",
    ] {
        table.check(post(&format!("Content-Length: {bad}\r\n"), "abc"), "400 close");
    }
    for bad in ["Content-Length: 3\r\n", "content-length: 3\r\n", "Content-Length: 4\r\n"] {
        table.check(post(&format!("Content-Length: 3\r\n{bad}"), "abc"), "400 close");
    }
    // RFC 9110 §15.5.14: larger than allowed.
    table.check(post("Content-Length: 9999999999999999999\r\n", "abc"), "413 close");
    table.check(post("Content-Length: 18446744073709551615\r\n", "abc"), "400 close");
    table.run();
}

#[test]
fn rfc_9112_6_1_transfer_encoding() {
    let mut table = Table::default();
    let body = "3\r\nabc\r\n0\r\n\r\n";
    let check = |table: &mut Table, value: &str, expected| {
        table.check(post(&format!("Transfer-Encoding: {value}\r\n"), body), expected);
    };
    check(&mut table, "chunked", "200=abc open");
    check(&mut table, "\tChUnKeD ", "200=abc open");
    for refused in [
        "chunked, chunked",
        "chunked,chunked",
        "chunked, gzip",
        "chunked, identity",
        ",",
        ", ,",
        "",
        ",",
        "chunked\u{b}",
        "\u{b}chunked",
        "chunked\0",
        "chunked, xchunked",
    ] {
        check(&mut table, refused, "400 close");
    }
    for unknown in [
        "gzip, chunked",
        "gzip",
        "identity",
        "identity, chunked",
        "xchunked",
        "chunkedx",
        "chunk",
        "\"chunked\"",
        "chunked;q=1",
        "chunked gzip",
        "chunked\tchunked",
        "deflate, gzip, chunked",
    ] {
        check(&mut table, unknown, "501 close");
    }
    let twice = "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n";
    table.check(post(twice, body), "400 close");
    let split = "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n";
    table.check(post(split, body), "501 close");
    let other_way = "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n";
    table.check(post(other_way, body), "400 close");
    // §6.1: not in 1.0, and not with a Content-Length.
    let request = format!("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    table.check(request, "400 close");
    for length in ["0", "3", "13", "x"] {
        let (length, coding) =
            (format!("Content-Length: {length}\r\n"), "Transfer-Encoding: chunked");
        table.check(post(&format!("{length}{coding}\r\n"), body), "400 close");
        table.check(post(&format!("{coding}\r\n{length}"), body), "400 close");
    }
    table.run();
}

#[test]
fn rfc_9112_7_1_chunks() {
    let mut table = Table::default();
    table.check(chunked("0\r\n\r\n"), "200= open");
    table.check(chunked("3\r\nabc\r\n0\r\n\r\n"), "200=abc open");
    table.check(chunked("1\r\na\r\n2\r\nbc\r\n000\r\n\r\n"), "200=abc open");
    table.check(chunked("A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n"), "200 open");
    table.check(chunked("00000000003\r\nabc\r\n0\r\n\r\n"), "200=abc open");
    table.check(chunked("3\r\n\r\n\r\r\n0\r\n\r\n"), "200=\r\n\r open");
    for bad in [
        "\r\n\r\n",
        "\r\n3\r\nabc\r\n0\r\n\r\n",
        "+3\r\nabc\r\n0\r\n\r\n",
        "-3\r\nabc\r\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        " 3\r\nabc\r\n0\r\n\r\n",
        "3 \r\nabc\r\n0\r\n\r\n",
        "3\t\r\nabc\r\n0\r\n\r\n",
        "3\nabc\r\n0\r\n\r\n",
        "3\rabc\r\n0\r\n\r\n",
        "g\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3\r\nab\r\n0\r\n\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "3\r\nabc0\r\n\r\n",
        "3\r\nabc\r0\r\n\r\n",
        "3\r\nabc\r\n\r\n0\r\n\r\n",
        "FFFFFFFFFFFFFFFF\r\nabc\r\n",
        "10000000000000003\r\nabc\r\n0\r\n\r\n",
        "3\0\r\nabc\r\n",
        "3,\r\nabc\r\n",
        "3_0\r\nabc\r\n",
        "0\r\n\n",
        "0\n\r\n",
        "0\r\r\n\r\n",
        "3\u{b}\r\nabc\r\n",
        "3.\r\nabc\r\n",
        "３\r\nabc\r\n",
    ] {
        table.check(chunked(bad), "400 close");
    }
    table.check(chunked("fffffffffffffff\r\nabc"), "413 close");
    table.run();
}

#[test]
fn rfc_9112_7_1_1_chunk_extensions() {
    let mut table = Table::default();
    for good in [
        ";a",
        ";a=b",
        ";a=\"b\"",
        ";a=\"\"",
        ";a=\"b;c\\\"\\\\\"",
        ";a;b=c;d=\"e\"",
        " ;a",
        "\t; a = b",
        ";a=\"b\" ;c",
    ] {
        table.check(chunked(&format!("3{good}\r\nabc\r\n0{good}\r\n\r\n")), "200=abc open");
    }
    for bad in [
        ";",
        "; ",
        ";;a",
        ";=b",
        ";a=",
        ";a=;b",
        ";a b",
        ";a=b c",
        ";a=\"b",
        ";a=\"b\\\"",
        ";a\n",
        ";a\0",
        ";a=\"\0\"",
        ";a=\"b\"c",
        ";a=b=c",
        ";\"a\"",
        ";a ",
        ";a=b ",
        "; a=\"\u{1}\"",
        ";a=\"\n\"",
        ";a\rb",
        "a;\u{e9}",
    ] {
        table.check(chunked(&format!("3{bad}\r\nabc\r\n0\r\n\r\n")), "400 close");
    }
    table.check(chunked(&format!("3;{}\r\nabc\r\n0\r\n\r\n", "a".repeat(4000))), "200=abc open");
    table.check(chunked(&format!("3;{}\r\nabc\r\n0\r\n\r\n", "a".repeat(5000))), "400 close");
    table.check(chunked(&format!("3;{}", "a".repeat(100_000))), "400 close");
    // What one chunk may have, a thousand together may not.
    table.check(chunked(&format!("{}0\r\n\r\n", "1;abcde\r\nx\r\n".repeat(1000))), "400 close");
    table.run();
}

#[test]
fn rfc_9112_7_1_2_trailers() {
    let mut table = Table::default();
    let check = |table: &mut Table, trailers: &str, expected| {
        table.check(chunked(&format!("3\r\nabc\r\n0\r\n{trailers}\r\n")), expected);
    };
    check(&mut table, "X-Sum: 1\r\n", "200=abc open");
    check(&mut table, "a: b\r\nc:\r\n", "200=abc open");
    // RFC 9110 §6.5.1: what describes the message comes too late, and does not count.
    let describing =
        ["Content-Type", "Content-Encoding", "Content-Range", "Cache-Control", "Set-Cookie"];
    for name in describing {
        check(&mut table, &format!("{name}: x\r\n"), "200=abc open");
    }
    // What frames, routes or authorises it is refused.
    for name in [
        "Content-Length",
        "Transfer-Encoding",
        "Host",
        "Connection",
        "Expect",
        "TE",
        "Trailer",
        "Authorization",
        "Cookie",
        "Upgrade",
        "Max-Forwards",
        "Proxy-Authorization",
        "Range",
    ] {
        check(&mut table, &format!("{name}: 1\r\n"), "400 close");
    }
    for bad in
        ["a\r\n", " a: b\r\n", "a : b\r\n", "a: b\r\n c\r\n", "a: b\n", "a: \0\r\n", ": b\r\n"]
    {
        check(&mut table, bad, "400 close");
    }
    check(&mut table, "GET / HTTP/1.1\r\n", "400 close");
    check(&mut table, &format!("a: {}\r\n", "b".repeat(9000)), "431 close");
    check(&mut table, &"a: b\r\n".repeat(65), "431 close");
    table.run();
}

#[test]
fn rfc_9112_8_incomplete_messages() {
    let mut table = Table::default();
    table.check_end("", "close");
    table.check_end("\r\n", "close");
    table.check_end("\r\n\r\n", "close");
    table.check_end("G", "400 close");
    table.check_end("GET / HTTP/1.1\r\n", "400 close");
    table.check_end("GET / HTTP/1.1\r\nHost: h\r\n", "400 close");
    table.check_end("GET / HTTP/1.1\r\nHost: h\r\n\r", "400 close");
    table.check_end(get(""), "200 close");
    table.check_end(get("") + "GET / HT", "200 400 close");
    table.check_end(post("Content-Length: 5\r\n", ""), "400 close");
    table.check_end(post("Content-Length: 5\r\n", "abc"), "400 close");
    for cut in ["", "3", "3\r", "3\r\n", "3\r\nab", "3\r\nabc", "3\r\nabc\r", "3\r\nabc\r\n"] {
        table.check_end(chunked(cut), "400 close");
    }
    for cut in ["0", "0\r\n", "0\r\n\r", "0\r\na: b\r\n", "0\r\na: b\r\n\r", "3;a"] {
        table.check_end(chunked(cut), "400 close");
    }
    table.run();
}
