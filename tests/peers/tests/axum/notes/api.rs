//! Routes, extractors, errors.

use serde_json::json;

use super::on_both;

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

#[test]
fn a_login_is_a_form_and_its_answer_a_cookie_and_a_token() {
    on_both(|site| {
        let form = "name=ada&password=ada%27s+secret&remember=true";
        let answer = site.send("POST", "/api/v1/login", &[FORM], form);
        assert_eq!(
            (answer.status.as_u16(), answer.json()),
            (200, json!({"token": "token-of-ada"}))
        );
        let cookie = "session=ada; HttpOnly; Max-Age=86400";
        assert_eq!(answer.field("set-cookie"), Some(cookie));
        let wrong = site.send("POST", "/api/v1/login", &[FORM], "name=ada&password=guess");
        assert_eq!(wrong.status, 401);
        assert_eq!(wrong.field("www-authenticate"), Some("Bearer realm=\"notes\""));
    });
}

#[test]
fn forms_that_are_none_are_refused_with_a_reason() {
    on_both(|site| {
        let json = ("content-type", "application/json");
        assert_eq!(site.send("POST", "/api/v1/login", &[json], "{}").status, 415);
        assert_eq!(site.send("POST", "/api/v1/login", &[FORM], "name=ada").status, 422);
        assert_eq!(site.send("POST", "/api/v1/login", &[], "name=ada").status, 415);
    });
}

#[test]
fn a_token_says_who_asks() {
    on_both(|site| {
        assert_eq!(site.get("/api/v1/me").status, 401);
        let fields = [("authorization", "Basic YWRh")];
        assert_eq!(site.send("GET", "/api/v1/me", &fields, "").status, 401);
        let fields = [
            ("authorization", "Bearer token-of-ada"),
            ("accept-language", "en"),
            ("accept-language", "fr;q=0.5"),
        ];
        let answer = site.send("GET", "/api/v1/me", &fields, "");
        assert_eq!(answer.json(), json!({"name": "ada", "languages": ["en", "fr;q=0.5"]}));
    });
}

#[test]
fn a_field_of_the_answer_that_is_set_twice_is_sent_as_the_last_one() {
    on_both(|site| {
        let answer = site.ask("ada", "DELETE", "/api/v1/me");
        assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0));
        assert!(answer.field("set-cookie").is_some());
    });
}

#[test]
fn a_note_is_created_read_replaced_and_deleted() {
    on_both(|site| {
        let created = site.json("ada", "POST", "/api/v1/notes", r#"{"title":"one","tags":["a"]}"#);
        assert_eq!(created.status, 201);
        let place = created.field("location").expect("a place").to_owned();
        assert_eq!(site.ask("ada", "GET", &place).json(), created.json());
        let replaced = site.json("ada", "PUT", &place, r#"{"title":"two","body":"b"}"#).json();
        assert_eq!((&replaced["title"], &replaced["revision"]), (&json!("two"), &json!(2)));
        let deleted = site.ask("ada", "DELETE", &place);
        assert_eq!((deleted.status.as_u16(), deleted.body.len()), (204, 0));
        assert_eq!(deleted.field("content-length"), None);
        assert_eq!(site.ask("ada", "GET", &place).status, 404);
    });
}

#[test]
fn others_notes_are_not_ours() {
    on_both(|site| {
        site.json("ada", "POST", "/api/v1/notes", r#"{"title":"hers"}"#);
        assert_eq!(site.ask("bob", "GET", "/api/v1/notes/1").status, 403);
        assert_eq!(site.get("/api/v1/notes/1").status, 403);
        assert_eq!(site.json("bob", "PUT", "/api/v1/notes/1", r#"{"title":"his"}"#).status, 403);
        assert_eq!(site.ask("bob", "DELETE", "/api/v1/notes/1").status, 403);
        assert_eq!(site.ask("", "GET", "/api/v1/notes/1").status, 401);
        assert_eq!(site.ask("bob", "GET", "/api/v1/notes/2").status, 404);
    });
}

#[test]
fn json_that_is_none_is_refused_with_a_reason() {
    on_both(|site| {
        let refused = |answer: super::site::Answer, status: u16, reason: &str| {
            assert_eq!(answer.status, status);
            let json = answer.json();
            let found = json["reason"].as_str().expect("a reason");
            assert!(found.contains(reason), "{found}");
        };
        let path = "/api/v1/notes";
        refused(site.json("ada", "POST", path, "{"), 400, "EOF while parsing");
        refused(site.json("ada", "POST", path, r#"{"title":7}"#), 422, "expected a string");
        refused(site.json("ada", "POST", path, r#"{"title":""}"#), 422, "a note has a title");
        let fields = [("authorization", "Bearer token-of-ada")];
        refused(site.send("POST", path, &fields, "{}"), 415, "application/json");
        let long = json!({ "title": "t".repeat(201) }).to_string();
        refused(site.json("ada", "POST", path, &long), 422, "201 characters");
        site.json("ada", "POST", path, r#"{"title":"one"}"#);
        refused(site.json("ada", "POST", path, r#"{"title":"one"}"#), 409, "of that title");
    });
}

#[test]
fn a_list_has_pages_and_tags() {
    on_both(|site| {
        for number in 0..7 {
            let tag = if number % 2 == 0 { "even" } else { "odd" };
            let note = json!({ "title": format!("note {number}"), "tags": [tag] }).to_string();
            assert_eq!(site.json("ada", "POST", "/api/v1/notes", &note).status, 201);
        }
        let page = site.ask("ada", "GET", "/api/v1/notes?tag=even&offset=1&limit=2");
        assert_eq!(page.field("x-total-count"), Some("4"));
        let notes = page.json();
        let titles: Vec<_> =
            notes.as_array().expect("a list").iter().map(|n| &n["title"]).collect();
        assert_eq!(titles, ["note 2", "note 4"]);
        assert_eq!(site.get("/api/v1/notes").json(), json!([]));
    });
}

#[test]
fn queries_and_paths_that_are_none_are_refused() {
    on_both(|site| {
        assert_eq!(site.get("/api/v1/notes?limit=many").status, 400);
        assert_eq!(site.get("/api/v1/notes/seven").status, 400);
        assert_eq!(site.get("/api/v1/notes/18446744073709551616").status, 400);
        assert_eq!(site.get("/api/v1/notes/%ff").status, 400);
    });
}

#[test]
fn a_note_that_is_known_is_not_sent_again() {
    on_both(|site| {
        site.json("ada", "POST", "/api/v1/notes", r#"{"title":"one"}"#);
        let first = site.ask("ada", "GET", "/api/v1/notes/1");
        let tag = first.field("etag").expect("a tag").to_owned();
        let fields = [("authorization", "Bearer token-of-ada"), ("if-none-match", &*tag)];
        let second = site.send("GET", "/api/v1/notes/1", &fields, "");
        assert_eq!((second.status.as_u16(), second.body.len()), (304, 0));
        assert_eq!(second.field("etag"), Some(&*tag));
        site.json("ada", "PUT", "/api/v1/notes/1", r#"{"title":"two"}"#);
        assert_eq!(site.send("GET", "/api/v1/notes/1", &fields, "").status, 200);
    });
}

#[test]
fn a_head_has_the_fields_of_its_get_and_no_body() {
    on_both(|site| {
        site.json("ada", "POST", "/api/v1/notes", r#"{"title":"one"}"#);
        for path in ["/api/v1/notes/1", "/api/v1/notes", "/", "/static/hello.txt", "/nowhere"] {
            let get = site.ask("ada", "GET", path);
            let head = site.ask("ada", "HEAD", path);
            assert_eq!((head.status, head.body.len()), (get.status, 0), "{path}");
            assert_eq!(head.field("content-length"), get.field("content-length"), "{path}");
            assert_eq!(head.field("content-type"), get.field("content-type"), "{path}");
        }
    });
}

#[test]
fn what_is_not_there_is_404_and_what_is_not_meant_405() {
    on_both(|site| {
        let api = site.get("/api/v1/nothing");
        assert_eq!((api.status.as_u16(), &api.json()["reason"]), (404, &json!("no such endpoint")));
        let other = site.get("/nothing?at=all");
        assert_eq!((other.status.as_u16(), other.text()), (404, "nothing is at /nothing?at=all"));
        let patch = site.send("PATCH", "/api/v1/login", &[], "");
        assert_eq!((patch.status.as_u16(), patch.field("allow")), (405, Some("POST")));
        let made_up = site.send("BREW", "/", &[], "");
        assert_eq!((made_up.status.as_u16(), made_up.field("allow")), (405, Some("GET,HEAD")));
    });
}

#[test]
fn nested_routes_know_the_whole_path() {
    on_both(|site| {
        let answer = site.get("/api/v1/where/a/b%20c?d=e");
        assert_eq!(answer.text(), "/api/v1/where/{*rest} /api/v1/where/a/b%20c?d=e");
    });
}

#[test]
fn a_trailing_slash_is_no_other_path() {
    on_both(|site| {
        assert_eq!(site.get("/api/v1/notes/").json(), json!([]));
        assert_eq!(site.get("/api/v1/notes//").status, 200);
        let moved = site.get("/old/");
        assert_eq!((moved.status.as_u16(), moved.field("location")), (308, Some("/api/v1/notes")));
    });
}

#[test]
fn publishing_is_answered_at_once_and_done_by_a_task() {
    on_both(|site| {
        site.json("ada", "POST", "/api/v1/notes", r#"{"title":"one"}"#);
        let begun = site.ask("ada", "POST", "/api/v1/notes/1/publish");
        assert_eq!((begun.status.as_u16(), begun.json()), (202, json!({"publishing": 1})));
        let start = std::time::Instant::now();
        // Not noted: how often it is asked is a matter of time.
        while site.begin("GET", "/api/v1/notes/1", &[], "").status() != 200 {
            assert!(start.elapsed().as_secs() < 10, "it is not published");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert_eq!(site.get("/api/v1/notes/1").json()["is_public"], json!(true));
    });
}

#[test]
fn files_are_uploaded_as_multipart_and_downloaded_as_they_were() {
    on_both(|site| {
        site.json("ada", "POST", "/api/v1/notes", r#"{"title":"one"}"#);
        let picture: Vec<u8> = (0..=255).cycle().take(300_000).collect();
        let mut form = b"--cut\r\nContent-Disposition: form-data; name=\"comment\"\r\n\r\n\
            two files\r\n--cut\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.txt\"\r\n\
            Content-Type: text/plain\r\n\r\nhello\r\n--cut\r\n\
            Content-Disposition: form-data; name=\"f\"; filename=\"p.png\"\r\n\
            Content-Type: image/png\r\n\r\n"
            .to_vec();
        form.extend_from_slice(&picture);
        form.extend_from_slice(b"\r\n--cut--\r\n");
        let fields = [
            ("authorization", "Bearer token-of-ada"),
            ("content-type", "multipart/form-data; boundary=cut"),
        ];
        let path = "/api/v1/notes/1/files";
        let answer = site.send("POST", path, &fields, form);
        let files = json!([
            {"name": "a.txt", "size": 5, "type": "text/plain"},
            {"name": "p.png", "size": 300_000, "type": "image/png"},
        ]);
        assert_eq!(answer.json(), json!({"files": files, "comment": "two files"}));
        let back = site.ask("ada", "GET", "/api/v1/notes/1/files/p.png");
        assert!(back.body == picture && back.field("content-type") == Some("image/png"));
        assert_eq!(site.ask("ada", "GET", "/api/v1/notes/1/files/q.png").status, 404);
        let broken = site.send("POST", path, &fields, "--cut\r\nno form");
        assert_eq!(broken.status, 400);
        let fields = [fields[0], ("content-type", "text/plain")];
        assert_eq!(site.send("POST", path, &fields, "no form").status, 400);
    });
}
