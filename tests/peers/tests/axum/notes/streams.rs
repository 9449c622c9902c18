//! Bodies that are streamed, and what becomes of broken ones.

use std::convert::Infallible;

use futures_util::stream;
use reqwest::Body;
use serde_json::json;

use super::on_both;

const TOKEN: (&str, &str) = ("authorization", "Bearer token-of-ada");

fn pieces(pieces: Vec<&'static str>) -> Body {
    Body::wrap_stream(stream::iter(pieces.into_iter().map(Ok::<_, Infallible>)))
}

#[test]
fn lines_are_imported_however_they_are_cut_and_exported_as_they_are_made() {
    on_both(|site| {
        let lines =
            vec!["{\"title\":\"on", "e\"}\n{\"title\"", ":\"two\"}\n", "{\"title\":\"three\"}\n"];
        let answer = site.send("POST", "/api/v1/import", &[TOKEN], pieces(lines));
        assert_eq!(answer.json(), json!({"created": 3}));
        let exported = site.ask("ada", "GET", "/api/v1/export");
        assert_eq!(exported.field("transfer-encoding"), Some("chunked"));
        assert_eq!(exported.text().lines().count(), 3);
        let cut = site.send("POST", "/api/v1/import", &[TOKEN], "{\"title\":\"four\"}");
        assert_eq!(cut.status, 422);
        let wrong = site.send("POST", "/api/v1/import", &[TOKEN], "{\"title\":\"4\"}\n{}\n");
        assert!(wrong.text().contains("line 2: missing field `title`"), "{}", wrong.text());
    });
}

#[test]
fn an_echo_of_pieces_is_the_same_bytes() {
    on_both(|site| {
        let body = pieces(["0123456789abcdef"; 4_000].to_vec());
        let answer = site.send("POST", "/api/v1/echo", &[], body);
        assert_eq!(answer.field("transfer-encoding"), Some("chunked"));
        assert_eq!(answer.text(), "0123456789abcdef".repeat(4_000));
        let answer = site.send("POST", "/api/v1/echo", &[], "of a known length");
        assert_eq!(answer.text(), "of a known length");
        let answer = site.send("POST", "/api/v1/echo", &[], "");
        assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0));
    });
}

/// The first pieces are there before the last are made, and more than all buffers hold.
#[test]
fn a_long_answer_comes_whole() {
    on_both(|site| {
        let answer = site.get("/api/v1/lorem/50000");
        assert_eq!(answer.text().lines().count(), 50_000);
        assert!(answer.text().ends_with("49999: lorem ipsum dolor\n"));
        assert_eq!(site.get("/api/v1/lorem/0").body, b"");
    });
}

#[test]
fn a_body_that_fails_is_cut_off_and_not_ended() {
    on_both(|site| {
        let mut response = site.begin("GET", "/api/v1/breaks", &[], "");
        assert_eq!(response.status(), 200);
        let mut got = Vec::new();
        let end = loop {
            match site.piece(&mut response) {
                Ok(Some(piece)) => got.extend_from_slice(&piece),
                Ok(None) => break "whole",
                Err(_) => break "cut off",
            }
        };
        assert_eq!((&*got, end), (&b"a beginning"[..], "cut off"));
        assert_eq!(site.get("/").text(), "notes");
    });
}

/// The answers to what is sent at once, over one connection, in their order and to the last byte.
#[test]
fn requests_of_one_connection_are_answered_in_turn() {
    on_both(|site| {
        let answers = site.raw(
            "GET / HTTP/1.1\r\nHost: h\r\nX-Request-Id: 1\r\n\r\n\
             HEAD /api/v1/notes HTTP/1.1\r\nHost: h\r\nX-Request-Id: 2\r\n\r\n\
             POST /api/v1/echo HTTP/1.1\r\nHost: h\r\nX-Request-Id: 3\r\n\
             Content-Length: 5\r\n\r\nhello\
             GET /nowhere HTTP/1.1\r\nHost: h\r\nX-Request-Id: 4\r\nConnection: close\r\n\r\n",
        );
        let at: Vec<_> = (1..=4).map(|id| answers.find(&format!("x-request-id: {id}"))).collect();
        assert!(at.is_sorted() && at.iter().all(Option::is_some), "{answers}");
        assert_eq!(answers.matches("HTTP/1.1 200 OK\r\n").count(), 3);
        assert!(answers.ends_with("\r\n\r\nnothing is at /nowhere"), "{answers}");
        // The names of fields are written in different cases.
        let answers = answers.to_lowercase();
        let mut lines: Vec<_> = answers.lines().filter(|line| !line.starts_with("date:")).collect();
        lines.sort_unstable();
        site.note_text(&lines.join("\n"));
    });
}
