//! Compression on the fly, both ways.

use super::on_both;
use super::site::{Answer, brotli, gunzip, gzip, unbrotli};

const TEXT: &str = "/api/v1/lorem/2000";

/// An answer that was compressed: no length that is another's, and a word to caches.
fn check_coded(answer: &Answer, coding: &str) {
    assert_eq!(answer.field("content-encoding"), Some(coding));
    assert_eq!(answer.field("content-length"), None);
    assert_eq!(answer.field("transfer-encoding"), Some("chunked"));
    let vary: Vec<_> = answer.fields.get_all("vary").iter().collect();
    assert!(vary.iter().any(|value| *value == "accept-encoding"), "{vary:?}");
}

#[test]
fn what_is_compressed_decompresses_to_the_same_bytes() {
    on_both(|site| {
        let plain = site.get(TEXT);
        assert_eq!(plain.field("content-encoding"), None);
        let coded = site.send("GET", TEXT, &[("accept-encoding", "gzip")], "");
        check_coded(&coded, "gzip");
        assert!(gunzip(&coded.body) == plain.body && coded.body.len() < plain.body.len() / 4);
        let coded = site.send("GET", TEXT, &[("accept-encoding", "br")], "");
        check_coded(&coded, "br");
        assert!(unbrotli(&coded.body) == plain.body && coded.body.len() < plain.body.len() / 4);
    });
}

#[test]
fn the_coding_is_the_one_that_the_client_likes_best() {
    on_both(|site| {
        for (accepts, coding) in [
            ("gzip, br", Some("br")),
            ("gzip;q=1, br;q=0.5", Some("gzip")),
            ("br;q=0, gzip;q=0", None),
            ("zstd", None),
            ("identity", None),
        ] {
            let answer = site.send("GET", TEXT, &[("accept-encoding", accepts)], "");
            assert_eq!(answer.field("content-encoding"), coding, "{accepts}");
        }
    });
}

#[test]
fn bodies_of_a_known_length_lose_it_when_they_are_compressed() {
    on_both(|site| {
        let text = "a line of text\n".repeat(1_000);
        let fields = [("accept-encoding", "gzip"), ("content-type", "text/plain")];
        let answer = site.send("POST", "/api/v1/echo", &fields, text.clone());
        check_coded(&answer, "gzip");
        assert_eq!(gunzip(&answer.body), text.as_bytes());
        // Files have a length of their own, and ranges of it.
        let plain = site.get("/static/page.html");
        let coded = site.send("GET", "/static/page.html", &fields[..1], "");
        check_coded(&coded, "gzip");
        assert_eq!(gunzip(&coded.body), plain.body);
    });
}

#[test]
fn what_is_small_or_compressed_or_a_picture_is_left_alone() {
    on_both(|site| {
        let echo = |site: &mut super::Site, content_type: &str, body: Vec<u8>| {
            let fields = [("accept-encoding", "gzip, br"), ("content-type", content_type)];
            site.send("POST", "/api/v1/echo", &fields, body)
        };
        assert_eq!(echo(site, "text/plain", b"small".to_vec()).field("content-encoding"), None);
        let picture = echo(site, "image/png", vec![7; 10_000]);
        assert_eq!(picture.field("content-encoding"), None);
        assert_eq!(picture.field("content-length"), Some("10000"));
        let ready = site.send("GET", "/static/ready.txt", &[("accept-encoding", "gzip")], "");
        assert_eq!(ready.field("content-encoding"), Some("gzip"));
        assert_eq!(gunzip(&ready.body), b"compressed before\n");
    });
}

#[test]
fn a_head_of_what_would_be_compressed_has_no_body() {
    on_both(|site| {
        for path in [TEXT, "/static/page.html"] {
            for accepts in ["gzip", "br", "identity"] {
                let fields = [("accept-encoding", accepts)];
                let head = site.send("HEAD", path, &fields, "");
                assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
                // On the connection nothing came behind it.
                assert_eq!(site.send("GET", path, &fields, "").status, 200);
            }
        }
    });
}

#[test]
fn a_compressed_request_is_read_as_what_it_was() {
    on_both(|site| {
        let note = format!(r#"{{"title":"one","body":"{}"}}"#, "text ".repeat(5_000));
        for (coding, body) in [("gzip", gzip(note.as_bytes())), ("br", brotli(note.as_bytes()))] {
            let fields = [
                ("authorization", "Bearer token-of-ada"),
                ("content-type", "application/json"),
                ("content-encoding", coding),
            ];
            let created = site.send("POST", "/api/v1/notes", &fields, body);
            assert_eq!(created.status, 201, "{coding}");
            assert_eq!(created.json()["body"].as_str().map(str::len), Some(25_000));
            site.ask("ada", "DELETE", created.field("location").expect("a place"));
        }
    });
}

#[test]
fn a_request_in_an_unknown_or_broken_coding_is_refused() {
    on_both(|site| {
        let fields = |coding| {
            [
                ("authorization", "Bearer token-of-ada"),
                ("content-type", "application/json"),
                ("content-encoding", coding),
            ]
        };
        let unknown = site.send("POST", "/api/v1/notes", &fields("zstd"), "{}");
        assert_eq!(unknown.status, 415);
        let broken = site.send("POST", "/api/v1/notes", &fields("gzip"), "not gzip at all");
        assert_eq!(broken.status, 400);
        // The limit of a body counts what comes out of the compression.
        let bomb = gzip(&vec![b' '; 8 << 20]);
        assert!(bomb.len() < 20_000);
        assert_eq!(site.send("POST", "/api/v1/notes", &fields("gzip"), bomb).status, 413);
    });
}
