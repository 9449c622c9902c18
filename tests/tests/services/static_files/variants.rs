//! Variants that were compressed beforehand, chosen by Accept-Encoding (RFC 9110 §12.5.3).

use super::{MODIFIED_S, Site, set_modified};

fn site() -> Site {
    let site = Site::start(|files| files.precompressed());
    site.file("a.css", "plain");
    site.file("a.css.br", "brotli");
    site.file("a.css.gz", "gzip");
    site.file("b.css", "plain");
    site
}

#[test]
fn the_client_chooses_among_what_is_there() {
    let site = site();
    let check = |accepts: &str, path: &str, encoding: Option<&str>, body: &str| {
        let answer = site.get(path, &format!("Accept-Encoding: {accepts}\r\n"));
        let told =
            answer.split("content-encoding: ").nth(1).map(|rest| &rest[..rest.find('\r').unwrap()]);
        assert_eq!(told, encoding, "{accepts}: {answer}");
        assert!(answer.ends_with(&format!("\r\n\r\n{body}")), "{accepts}: {answer}");
        assert!(answer.contains("vary: accept-encoding\r\n"), "{accepts}: {answer}");
        assert!(answer.contains("content-type: text/css; charset=utf-8\r\n"), "{answer}");
    };
    check("gzip, deflate, br", "/a.css", Some("br"), "brotli");
    check("gzip;q=1, br;q=0.5", "/a.css", Some("gzip"), "gzip");
    check("zstd, gzip;q=0.1", "/a.css", Some("gzip"), "gzip");
    check("br;q=0, *", "/a.css", Some("gzip"), "gzip");
    check("identity, br;q=0.9", "/a.css", None, "plain");
    check("deflate", "/a.css", None, "plain");
    check("br", "/b.css", None, "plain");
    let none = site.get("/a.css", "");
    assert!(
        none.ends_with("\r\n\r\nplain") && none.contains("vary: accept-encoding\r\n"),
        "{none}"
    );
    site.stop();
}

#[test]
fn a_variant_has_a_tag_and_ranges_of_its_own() {
    let site = site();
    let tag_of = |fields: &str| {
        let answer = site.get("/a.css", fields);
        answer.split("etag: ").nth(1).unwrap().split("\r\n").next().unwrap().to_owned()
    };
    let (plain, brotli) = (tag_of(""), tag_of("Accept-Encoding: br\r\n"));
    assert_ne!(plain, brotli);
    let ask = |tag: &str| {
        let fields = format!("Accept-Encoding: br\r\nIf-None-Match: {tag}\r\n");
        site.get("/a.css", &fields)
    };
    assert!(ask(&plain).starts_with("HTTP/1.1 200 "));
    let current = ask(&brotli);
    assert!(current.starts_with("HTTP/1.1 304 ") && current.contains("vary: accept-encoding\r\n"));
    let part = site.get("/a.css", "Accept-Encoding: br\r\nRange: bytes=-3\r\n");
    assert!(part.contains("content-range: bytes 3-5/6\r\n") && part.ends_with("tli"), "{part}");
    site.stop();
}

#[test]
fn a_variant_that_was_left_behind_is_not_sent() {
    let site = site();
    set_modified(&site.root.path().join("a.css"), MODIFIED_S + 1);
    let answer = site.get("/a.css", "Accept-Encoding: br, gzip\r\n");
    assert!(answer.ends_with("\r\n\r\nplain"), "{answer}");
    set_modified(&site.root.path().join("a.css.gz"), MODIFIED_S + 1);
    let answer = site.get("/a.css", "Accept-Encoding: br, gzip\r\n");
    assert!(answer.ends_with("\r\n\r\ngzip"), "{answer}");
    // Without its plain file a variant is none.
    std::fs::remove_file(site.root.path().join("a.css")).unwrap();
    assert_eq!(site.status("/a.css", "Accept-Encoding: br\r\n"), 418);
    site.stop();
}

#[test]
fn without_any_acceptable_form_there_is_none() {
    let site = site();
    assert_eq!(
        site.get("/b.css", "Accept-Encoding: br, identity;q=0\r\n"),
        "HTTP/1.1 406 Not Acceptable\r\nvary: accept-encoding\r\nContent-Length: 0\r\n\
         Connection: close\r\n\r\n"
    );
    assert_eq!(site.status("/a.css", "Accept-Encoding: br, *;q=0\r\n"), 200);
    site.stop();
}
