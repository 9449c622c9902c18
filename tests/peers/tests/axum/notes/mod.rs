//! The tests of the service of notes, written once: each runs on `axum::serve` and on sidecore, and
//! all answers of the two, with all their fields, must be the same.

mod api;
mod coding;
mod layers;
mod live;
mod site;
mod streams;

use std::path::Path;

use sidecore_tests::Scratch;

use self::site::{Host, Site};

/// Runs a test on both servers and compares what they answered.
fn on_both(test: impl Fn(&mut Site)) {
    let scratch = Scratch::new("notes");
    write_static_files(scratch.path());
    let answers_of = |host: Host| {
        eprintln!("on {host:?}");
        let mut site = Site::start(host, scratch.path());
        test(&mut site);
        site.end()
    };
    let (theirs, ours) = (answers_of(Host::AxumServe), answers_of(Host::Sidecore));
    assert_eq!(theirs.len(), ours.len());
    for (theirs, ours) in theirs.iter().zip(&ours) {
        assert!(theirs == ours, "on axum::serve:\n{theirs}\n\non sidecore:\n{ours}");
    }
}

fn write_static_files(directory: &Path) {
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(directory.join(name), bytes).expect("a file is written");
    };
    write("hello.txt", b"hello, file\n");
    write("page.html", "<p>A page.</p>\n".repeat(400).as_bytes());
    write("raw.bin", &(0..=255).cycle().take(100_000).collect::<Vec<u8>>());
    write("ready.txt", b"not compressed\n");
    write("ready.txt.gz", &site::gzip(b"compressed before\n"));
}
