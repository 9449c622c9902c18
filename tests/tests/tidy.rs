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

/// Each goes through `sidecore_runtime::stderr`, for `eprintln!` panics where nobody reads and waits
/// where somebody reads too slowly.
#[test]
fn the_product_writes_to_standard_error_in_one_place() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = Vec::new();
    sources(&root.join("server/src"), &mut files);
    sources(&root.join("runtime/src"), &mut files);
    assert!(files.len() > 100, "{}", files.len());
    let writes = ["println!", "print!", "dbg!(", "io::stderr", "io::stdout"];
    // The place itself; the access log, whose own thread may wait; a test's count.
    let may = ["runtime/src/stderr.rs", "src/access_log/writer.rs", "src/journal/damage_tests.rs"];
    let mut found = Vec::new();
    for file in files.iter().filter(|file| !may.iter().any(|may| file.ends_with(may))) {
        let text = fs::read_to_string(file).unwrap();
        for (at, line) in text.lines().enumerate() {
            let is_comment = line.trim_start().starts_with("//");
            if !is_comment && writes.iter().any(|write| line.contains(write)) {
                found.push(format!("{}:{}: {}", file.display(), at + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
