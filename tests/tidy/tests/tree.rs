//! What who depends on the server builds with it.

use std::collections::BTreeSet;
use std::process::Command;

use sidecore_tidy::source::workspace;

/// Packages of the default tree, these two of ours included: `docs/features.md` says it.
const PACKAGES_MAX: usize = 96;

/// What is for those who ask for it.
const ASKED_FOR: [&str; 9] = [
    "axum",
    "hyper",
    "libsqlite3-sys",
    "opentelemetry",
    "reqwest",
    "rusqlite",
    "rustls",
    "tokio",
    "tungstenite",
];

/// The names of what a package depends on, by its default features.
fn tree(package: &str) -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let tree = Command::new(cargo)
        .current_dir(workspace())
        .args(["tree", "--locked", "--package", package, "--edges", "normal"])
        .args(["--prefix", "none", "--format", "{p}"])
        .output()
        .expect("cargo runs");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let text = String::from_utf8(tree.stdout).expect("a text");
    text.lines().map(|line| line.trim_end_matches(" (*)").to_owned()).collect()
}

#[test]
fn the_default_tree_is_small() {
    let tree = tree("sidecore");
    assert!(tree.len() > 50, "{tree:?}");
    assert!(tree.len() <= PACKAGES_MAX, "{} packages: {tree:?}", tree.len());
    let name = |package: &str| package.split(' ').next().unwrap_or_default().to_owned();
    let unasked: Vec<_> =
        tree.iter().filter(|package| ASKED_FOR.contains(&name(package).as_str())).collect();
    assert!(unasked.is_empty(), "{unasked:?}");
}

/// Each is its reader's to see: that a name is spelled as crates are.
#[test]
fn what_is_asked_for_is_found_where_it_is_used() {
    let durable = tree("sidecore-demo");
    assert!(durable.iter().any(|package| package.starts_with("libsqlite3-sys ")), "{durable:?}");
}
