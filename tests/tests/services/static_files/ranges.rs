//! Byte ranges of a held and of a large file (RFC 9110 §14, §15.3.7).

use super::{MODIFIED, Site};
use sidecore_tests::Random;

#[test]
fn one_range_is_sent_as_it_is() {
    let site = Site::start(|files| files);
    site.file("a.txt", "0123456789");
    let tag = site.tag("/a.txt");
    let check = |range: &str, told: &str, body: &str| {
        let expected = format!(
            "HTTP/1.1 206 Partial Content\r\netag: {tag}\r\nlast-modified: {MODIFIED}\r\n\
             accept-ranges: bytes\r\ncontent-range: bytes {told}/10\r\n\
             content-type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        );
        assert_eq!(site.get("/a.txt", &format!("Range: {range}\r\n")), expected);
    };
    check("bytes=0-0", "0-0", "0");
    check("bytes=2-4", "2-4", "234");
    check("bytes=7-", "7-9", "789");
    check("bytes=-2", "8-9", "89");
    check("bytes=8-99", "8-9", "89");
    // One of two lies in the file.
    check("bytes=1-2,50-60", "1-2", "12");
    site.stop();
}

#[test]
fn several_ranges_are_parts_of_one_message() {
    let site = Site::start(|files| files);
    site.file("a.txt", "0123456789");
    let answer = site.get("/a.txt", "Range: bytes=0-1, -2, 4-4\r\n");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 206 Partial Content\r\n"), "{head}");
    assert!(!head.contains("content-range"), "{head}");
    let (_, rest) = head.split_once("content-type: multipart/byteranges; boundary=").unwrap();
    let boundary = rest.split_once("\r\n").unwrap().0;
    let part = |range: &str, bytes: &str| {
        format!(
            "\r\n--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Range: bytes {range}/10\r\n\r\n{bytes}"
        )
    };
    let expected =
        [part("0-1", "01"), part("8-9", "89"), part("4-4", "4"), format!("\r\n--{boundary}--\r\n")]
            .concat();
    assert_eq!(body, expected);
    assert!(head.contains(&format!("Content-Length: {}\r\n", expected.len())), "{head}");
    site.stop();
}

#[test]
fn a_range_outside_the_file_is_416_with_its_size() {
    let site = Site::start(|files| files);
    site.file("a.txt", "0123456789");
    site.file("empty.txt", "");
    let refused = |size| {
        format!(
            "HTTP/1.1 416 Range Not Satisfiable\r\ncontent-range: bytes */{size}\r\n\
             Content-Length: 0\r\nConnection: close\r\n\r\n"
        )
    };
    for range in ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=10-,20-"] {
        assert_eq!(site.get("/a.txt", &format!("Range: {range}\r\n")), refused(10), "{range}");
    }
    assert_eq!(site.get("/empty.txt", "Range: bytes=0-\r\n"), refused(0));
    site.stop();
}

#[test]
fn what_is_no_range_or_asks_for_too_much_gets_all() {
    let site = Site::start(|files| files);
    site.file("a.txt", "0123456789");
    let whole = site.get("/a.txt", "");
    let many = format!("bytes={}", vec!["0-0"; 17].join(","));
    for range in ["lines=0-1", "bytes=5-1", "bytes=a-", "bytes=0-,0-", "bytes=0-9,3-4", &many] {
        assert_eq!(site.get("/a.txt", &format!("Range: {range}\r\n")), whole, "{range}");
    }
    assert_eq!(site.get("/a.txt", "Range: bytes=0-0\r\nRange: bytes=1-1\r\n"), whole);
    // §14.2: ranges are of GET.
    let head = site.ask("HEAD", "/a.txt", "Range: bytes=0-0\r\n");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("Content-Length: 10\r\n"), "{head}");
    site.stop();
}

/// Against the plainest of models: ranges of a file that is read as it is sent.
#[test]
fn ranges_of_a_large_file_are_those_of_its_bytes() {
    let site = Site::start(|files| files);
    let content: Vec<u8> =
        (0..600_000_u32).flat_map(|n| format!("{n:07}\n").into_bytes()).collect();
    site.file("a.txt", &content);
    let mut random = Random::new(7);
    let mut client = site.client();
    for _ in 0..200 {
        let first = random.below(content.len());
        let last = first + random.below(content.len() - first);
        client
            .send(format!("GET /a.txt HTTP/1.1\r\nHost: h\r\nRange: bytes={first}-{last}\r\n\r\n"));
        let answer = client.answer();
        assert_eq!(answer.status, 206);
        assert!(answer.body == content[first..=last], "{first}-{last}");
    }
    let whole = client.request("GET", "/a.txt", "");
    assert!(whole.body == content);
    drop(client);
    site.stop();
}
