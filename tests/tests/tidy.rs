//! Rules of the source that no compiler knows.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => sources(&path, into),
            false if path.extension().is_some_and(|extension| extension == "rs") => into.push(path),
            false => {}
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Those of the product, by their folders.
const PACKAGES: [&str; 7] = [
    "runtime",
    "server",
    "server/access-log",
    "server/journal",
    "server/request-id",
    "server/static-files",
    "server/trace",
];

/// The product's own sources.
fn product() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for package in PACKAGES {
        sources(&root().join(package).join("src"), &mut files);
    }
    assert!(files.len() > 100, "{}", files.len());
    files
}

/// The lines of code that `breaks` finds fault with, each with its place.
fn breaches(files: &[PathBuf], breaks: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        let text = fs::read_to_string(file).unwrap();
        for (at, line) in text.lines().enumerate() {
            if !line.trim_start().starts_with("//") && breaks(line) {
                found.push(format!("{}:{}: {}", file.display(), at + 1, line.trim()));
            }
        }
    }
    found
}

/// Each goes through `sidecore_runtime::stderr`, for `eprintln!` panics where nobody reads and waits
/// where somebody reads too slowly.
#[test]
fn the_product_writes_to_standard_error_in_one_place() {
    let writes = ["println!", "print!", "dbg!(", "io::stderr", "io::stdout"];
    // The place itself; the access log, whose own thread may wait, and which may be without a server; a test's count.
    let may = [
        "runtime/src/stderr.rs",
        "access-log/src/writer.rs",
        "access-log/src/server.rs",
        "journal/src/tests/damage.rs",
    ];
    let mut files = product();
    files.retain(|file| !may.iter().any(|may| file.ends_with(may)));
    let found = breaches(&files, |line| writes.iter().any(|write| line.contains(write)));
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// A file that orders memory is a protocol, and some model explores it with each ordering weakened.
#[test]
fn memory_is_ordered_only_in_files_that_a_model_explores() {
    let mut models = Vec::new();
    sources(&root().join("tests/tests/models"), &mut models);
    let models: String = models.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let modelled = models.split("file: \"").skip(1).filter_map(|rest| rest.split('"').next());
    let modelled: Vec<_> = modelled.map(|file| root().join(file)).collect();
    assert!(modelled.len() > 10, "{modelled:?}");
    assert!(modelled.iter().all(|file| file.exists()), "{modelled:?}");
    let mut files = product();
    files.retain(|file| !modelled.contains(file));
    let orderings = ["Acquire", "Release", "AcqRel", "SeqCst"];
    let found = breaches(&files, |line| {
        orderings.iter().any(|name| line.contains(&format!("Ordering::{name}")))
    });
    assert!(found.is_empty(), "{}", found.join("\n"));
}
