//! The layers of tower-http around the whole service, and its files.

use serde_json::json;

use super::on_both;

#[test]
fn request_ids_are_made_and_propagated() {
    on_both(|site| {
        assert_eq!(site.get("/").field("x-request-id").map(str::len), Some(36));
        let answer = site.send("GET", "/nowhere", &[("x-request-id", "mine")], "");
        assert_eq!(answer.field("x-request-id"), Some("mine"));
    });
}

#[test]
fn fields_are_set_on_every_answer() {
    on_both(|site| {
        for path in ["/", "/nowhere", "/static/hello.txt", "/api/v1/notes/7"] {
            let answer = site.get(path);
            assert_eq!(answer.field("x-content-type-options"), Some("nosniff"), "{path}");
            assert_eq!(answer.field("x-asked"), Some(&*format!("GET {path}")));
        }
    });
}

#[test]
fn a_preflight_is_answered_by_the_layer() {
    on_both(|site| {
        let fields = [
            ("origin", "https://notes.example"),
            ("access-control-request-method", "PUT"),
            ("access-control-request-headers", "authorization"),
        ];
        let answer = site.send("OPTIONS", "/api/v1/notes/1", &fields, "");
        assert_eq!(answer.status, 200);
        let origin = answer.field("access-control-allow-origin");
        assert_eq!(origin, Some("https://notes.example"));
        assert_eq!(answer.field("access-control-max-age"), Some("600"));
        let answer = site.send("GET", "/", &fields[..1], "");
        assert_eq!(answer.field("access-control-allow-credentials"), Some("true"));
        let answer = site.send("GET", "/", &[("origin", "https://evil.example")], "");
        assert_eq!(answer.field("access-control-allow-origin"), Some("https://notes.example"));
    });
}

#[test]
fn the_key_is_asked_for_before_all_else() {
    on_both(|site| {
        let stats = "/api/v1/admin/stats";
        let none = site.get(stats);
        assert_eq!((none.status.as_u16(), none.text()), (401, "a key is needed"));
        let wrong = [("x-admin-key", "abracadabra")];
        assert_eq!(site.send("GET", stats, &wrong, "").status, 403);
        let right = site.send("GET", stats, &[("x-admin-key", "open sesame")], "").json();
        assert_eq!(right, json!({"clearance": "some", "requests": 3, "notes": []}));
        let root = site.send("GET", stats, &[("x-admin-key", "root")], "").json();
        assert_eq!(root["clearance"], json!("all"));
        // A layer of routes is not asked where there is none.
        assert_eq!(site.get("/api/v1/admin/nothing").status, 404);
    });
}

#[test]
fn a_handler_that_panics_is_an_answer() {
    crate::without_backtraces();
    on_both(|site| {
        let fields = [("x-admin-key", "root")];
        for _ in 0..2 {
            let answer = site.send("GET", "/api/v1/admin/panic", &fields, "");
            assert_eq!(answer.status, 500);
            let reason = &answer.json()["reason"];
            assert_eq!(reason, "panicked: a handler panics, as its test means it to");
        }
        assert_eq!(site.get("/").text(), "notes");
    });
}

#[test]
fn a_handler_that_takes_too_long_is_an_answer() {
    on_both(|site| {
        let answer = site.send("GET", "/api/v1/admin/slow", &[("x-admin-key", "root")], "");
        assert_eq!((answer.status.as_u16(), answer.body.len()), (504, 0));
        assert_eq!(site.get("/").text(), "notes");
    });
}

#[test]
fn bodies_have_limits() {
    on_both(|site| {
        let fields = [("content-type", "application/json"), ("authorization", "Bearer token-of-a")];
        // axum's own limit, of extractors that take the whole of a body.
        let large = format!(r#"{{"title":"{}"}}"#, "t".repeat(2 << 20));
        assert_eq!(site.send("POST", "/api/v1/notes", &fields, large).status, 413);
        // What is streamed has the limit of the stack, which a length exceeds at once.
        let answer = site.raw(
            "POST /api/v1/echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\
             Content-Length: 16777217\r\n\r\n",
        );
        assert!(answer.starts_with("HTTP/1.1 413 Payload Too Large\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nlength limit exceeded"), "{answer}");
        let just = vec![b'x'; 3 << 20];
        assert_eq!(site.send("POST", "/api/v1/echo", &[], just).body.len(), 3 << 20);
    });
}

#[test]
fn files_are_served_with_their_types_and_times() {
    on_both(|site| {
        let text = site.get("/static/hello.txt");
        assert_eq!(
            (text.text(), text.field("content-type")),
            ("hello, file\n", Some("text/plain"))
        );
        let modified = text.field("last-modified").expect("a time").to_owned();
        let known = [("if-modified-since", &*modified)];
        let answer = site.send("GET", "/static/hello.txt", &known, "");
        assert_eq!((answer.status.as_u16(), answer.body.len()), (304, 0));
        let binary = site.get("/static/raw.bin");
        assert_eq!(binary.body.len(), 100_000);
        assert_eq!(binary.field("content-type"), Some("application/octet-stream"));
        for path in ["/static/none.txt", "/static/../Cargo.toml", "/static/%2e%2e/secret"] {
            assert_eq!(site.get(path).status, 404, "{path}");
        }
        assert_eq!(site.send("POST", "/static/hello.txt", &[], "").status, 405);
    });
}

#[test]
fn ranges_of_files_are_served() {
    on_both(|site| {
        let whole = site.get("/static/raw.bin").body;
        let part = site.send("GET", "/static/raw.bin", &[("range", "bytes=1000-69999")], "");
        assert_eq!(part.status, 206);
        assert_eq!(part.field("content-range"), Some("bytes 1000-69999/100000"));
        assert!(part.body == whole[1000..70_000]);
        let last = site.send("GET", "/static/raw.bin", &[("range", "bytes=-16")], "");
        assert!(last.body == whole[100_000 - 16..]);
        let beyond = site.send("GET", "/static/raw.bin", &[("range", "bytes=100000-")], "");
        assert_eq!(beyond.status, 416);
    });
}
