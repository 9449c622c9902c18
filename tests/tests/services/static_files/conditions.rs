//! Preconditions, in their order of precedence (RFC 9110 §13.2.2).

use super::{MODIFIED, Site};
use sidecore_static_files::{EntityTags, Rule};

const EARLIER: &str = "Sat, 08 Sep 2001 01:46:40 GMT";
const LATER: &str = "Mon, 10 Sep 2001 01:46:40 GMT";

#[test]
fn a_copy_that_is_current_is_not_sent_again() {
    let site = Site::start(|files| files.cache_control("*", "no-cache"));
    site.file("a.txt", "hello");
    let tag = site.tag("/a.txt");
    let not_modified = format!(
        "HTTP/1.1 304 Not Modified\r\netag: {tag}\r\ncache-control: no-cache\r\n\
         Connection: close\r\n\r\n"
    );
    assert_eq!(site.get("/a.txt", &format!("If-None-Match: {tag}\r\n")), not_modified);
    assert_eq!(
        site.ask("HEAD", "/a.txt", &format!("If-None-Match: \"x\", W/{tag}\r\n")),
        not_modified
    );
    assert_eq!(site.get("/a.txt", "If-None-Match: *\r\n"), not_modified);
    assert_eq!(site.get("/a.txt", &format!("If-Modified-Since: {MODIFIED}\r\n")), not_modified);
    assert_eq!(site.get("/a.txt", &format!("If-Modified-Since: {LATER}\r\n")), not_modified);
    site.stop();
}

#[test]
fn a_precondition_that_fails_is_412() {
    let site = Site::start(|files| files);
    site.file("a.txt", "hello");
    let failed =
        "HTTP/1.1 412 Precondition Failed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    assert_eq!(site.get("/a.txt", "If-Match: \"x\"\r\n"), failed);
    assert_eq!(site.get("/a.txt", &format!("If-Unmodified-Since: {EARLIER}\r\n")), failed);
    site.stop();
}

#[test]
fn the_precedence_of_conditions_is_that_of_the_rfc() {
    let site = Site::start(|files| files);
    site.file("a.txt", "hello");
    let tag = site.tag("/a.txt");
    let check = |fields: &[(&str, &str)], expected: u16| {
        let lines: String =
            fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        assert_eq!(site.status("/a.txt", &lines), expected, "{lines}");
    };
    let weak = format!("W/{tag}");
    let two = format!("\"x\", {tag}");
    // Step 1, by the strong comparison.
    check(&[("If-Match", &tag)], 200);
    check(&[("If-Match", &two)], 200);
    check(&[("If-Match", "*")], 200);
    check(&[("If-Match", &weak)], 412);
    check(&[("If-Match", "\"x\""), ("If-Match", &tag)], 200);
    check(&[("If-Match", "broken")], 412);
    // Step 2, only without step 1.
    check(&[("If-Unmodified-Since", MODIFIED)], 200);
    check(&[("If-Unmodified-Since", EARLIER)], 412);
    check(&[("If-Unmodified-Since", "yesterday")], 200);
    check(&[("If-Match", &tag), ("If-Unmodified-Since", EARLIER)], 200);
    check(&[("If-Match", "\"x\""), ("If-Unmodified-Since", LATER)], 412);
    // Step 3, by the weak comparison, after steps 1 and 2.
    check(&[("If-None-Match", &weak)], 304);
    check(&[("If-None-Match", "\"x\"")], 200);
    check(&[("If-Match", "\"x\""), ("If-None-Match", &tag)], 412);
    check(&[("If-Match", &tag), ("If-None-Match", &tag)], 304);
    check(&[("If-Unmodified-Since", EARLIER), ("If-None-Match", &tag)], 412);
    // Step 4, only without step 3.
    check(&[("If-Modified-Since", EARLIER)], 200);
    check(&[("If-Modified-Since", "nonsense")], 200);
    check(&[("If-Modified-Since", MODIFIED), ("If-Modified-Since", MODIFIED)], 200);
    check(&[("If-None-Match", "\"x\""), ("If-Modified-Since", LATER)], 200);
    check(&[("If-None-Match", &tag), ("If-Modified-Since", EARLIER)], 304);
    // Step 5, after the others.
    check(&[("If-None-Match", &tag), ("Range", "bytes=0-1")], 304);
    check(&[("If-Match", "\"x\""), ("Range", "bytes=0-1")], 412);
    check(&[("Range", "bytes=0-1"), ("If-Range", &tag)], 206);
    check(&[("Range", "bytes=0-1"), ("If-Range", &weak)], 200);
    check(&[("Range", "bytes=0-1"), ("If-Range", "\"x\"")], 200);
    check(&[("Range", "bytes=0-1"), ("If-Range", MODIFIED)], 206);
    // Exactly that date: an equal or later one will not do.
    check(&[("Range", "bytes=0-1"), ("If-Range", LATER)], 200);
    check(&[("Range", "bytes=9-"), ("If-Range", "\"x\"")], 200);
    check(&[("Range", "bytes=9-"), ("If-Range", &tag)], 416);
    check(&[("If-Range", "\"x\"")], 200);
    site.stop();
}

#[test]
fn what_a_rule_switches_off_is_neither_sent_nor_asked() {
    let site = Site::start(|files| {
        files
            .rule("*.css", Rule::new().entity_tags(EntityTags::Off))
            .rule("*.js", Rule::new().entity_tags(EntityTags::Weak).last_modified(false))
    });
    site.file("a.css", "a");
    site.file("a.js", "a");
    let css = site.get("/a.css", "");
    assert!(!css.contains("etag") && css.contains("last-modified"), "{css}");
    let copy = format!("If-Modified-Since: {MODIFIED}\r\n");
    let not_modified = site.get("/a.css", &copy);
    assert_eq!(
        not_modified,
        format!(
            "HTTP/1.1 304 Not Modified\r\nlast-modified: {MODIFIED}\r\nConnection: close\r\n\r\n"
        )
    );
    let js = site.get("/a.js", "");
    assert!(js.contains("etag: W/\"1-") && !js.contains("last-modified"), "{js}");
    assert_eq!(site.status("/a.js", &copy), 200);
    let tag = site.tag("/a.js");
    assert_eq!(site.status("/a.js", &format!("If-None-Match: {tag}\r\n")), 304);
    // A weak tag vouches for no range (§13.1.5).
    assert_eq!(site.status("/a.js", &format!("Range: bytes=0-0\r\nIf-Range: {tag}\r\n")), 200);
    site.stop();
}
