//! A source file of the workspace: its text, its place among the modules, its syntax.

use std::fs;
use std::path::{Path, PathBuf};

/// A file and what it says.
pub struct Source {
    /// From the root of the workspace.
    pub path: String,
    /// The module that it is, by segments; empty: the root of its crate.
    pub module: Vec<String>,
    /// What stands there.
    pub text: String,
    /// The same, parsed.
    pub syntax: syn::File,
}

impl Source {
    /// A file with this text, in a crate whose sources lie in `folder`.
    ///
    /// # Panics
    /// Where the text is not Rust.
    pub fn new(folder: &str, path: &str, text: &str) -> Self {
        let syntax = syn::parse_file(text).unwrap_or_else(|error| panic!("{path}: {error}"));
        let inner = path.strip_prefix(folder).unwrap_or(path).trim_matches('/');
        let module = module_of(inner);
        Source { path: path.to_owned(), module, text: text.to_owned(), syntax }
    }

    /// The file's code lines with their numbers: no comments, and not the tests at its end.
    pub fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(at, line)| (at + 1, line));
        lines
            .take_while(|(_, line)| *line != "#[cfg(test)]")
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// Whether it holds tests alone.
    pub fn is_test(&self) -> bool {
        self.module.last().is_some_and(|name| name == "tests" || name.ends_with("_tests"))
    }
}

fn module_of(inner: &str) -> Vec<String> {
    let mut module: Vec<String> =
        inner.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| ["lib", "main", "mod"].contains(&last.as_str())) {
        module.pop();
    }
    module
}

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("this package lies two folders below the root").to_owned()
}

/// The sources below a folder of the workspace, by their paths.
///
/// # Panics
/// Where they cannot be read, or are not Rust.
pub fn sources(folder: &str) -> Vec<Source> {
    let root = workspace();
    let mut paths = Vec::new();
    collect(&root.join(folder), &mut paths);
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let text = fs::read_to_string(path)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let inner = path.strip_prefix(&root).expect("it was found there");
            Source::new(folder, &inner.display().to_string(), &text)
        })
        .collect()
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    for entry in entries {
        let path = entry.expect("a folder that can be read").path();
        if path.is_dir() {
            collect(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}
