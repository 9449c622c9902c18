//! Literal requests by section of RFC 9110 and RFC 9112 against the real binary, over sockets.
//!
//! Each case is sent whole, byte by byte and cut at random, with one more request behind it that
//! tells whether the connection is open and in step.

mod bodies;
mod connections;
mod fields;
mod request_line;
mod responses;
mod semantics;

/// A GET with these fields, each with its CRLF.
fn get(fields: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n")
}

/// A POST, which is answered with its body.
fn post(fields: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n{body}")
}

/// A chunked POST.
fn chunked(body: &str) -> String {
    post("Transfer-Encoding: chunked\r\n", body)
}

/// A request of this line alone.
fn line(line: &str) -> String {
    format!("{line}\r\nHost: h\r\n\r\n")
}
