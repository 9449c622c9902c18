//! What may stand in a few named files only, and how modules are laid out.

use std::collections::BTreeSet;

use crate::source::Source;

/// Something that only some files may have.
pub struct Rule {
    /// What it is, for whoever breaks the rule.
    pub what: &'static str,
    /// A line of code that holds one of these has it.
    pub signs: &'static [&'static str],
    /// The ends of the paths that may.
    pub may: &'static [&'static str],
}

/// `unsafe` outside the ring, which is made for it.
pub const UNSAFE: Rule = Rule {
    what: "`unsafe` stands in few small files",
    signs: &["unsafe "],
    may: &[
        "runtime/src/ring/buffers.rs",
        "runtime/src/ring/enter.rs",
        "runtime/src/ring/mod.rs",
        "runtime/src/ring/receive.rs",
        "runtime/src/machine/probe/uring.rs",
        "runtime/src/net/inherited.rs",
        "runtime/src/stack/reader.rs",
        "runtime/src/stack/signal.rs",
        "runtime/src/socket/listeners.rs",
        "runtime/src/socket/liveness.rs",
        "runtime/src/socket/outbox.rs",
        "runtime/src/sys/memory.rs",
        "runtime/src/sys/signals.rs",
        "runtime/src/sys/stderr.rs",
    ],
};

/// The host of executors, which another might replace.
pub const HOST: Rule = Rule {
    what: "glommio is known to the executor's start and to what it hosts",
    signs: &["glommio"],
    may: &[
        "runtime/src/executor/mod.rs",
        "runtime/src/executor/turn.rs",
        "runtime/src/executor/hosted.rs",
        // Handed on, and used by a job of the demonstration.
        "server/src/tasks/async_tasks.rs",
        "server/demo/src/job.rs",
    ],
};

/// `eprintln!` panics where nobody reads and waits where somebody reads too slowly.
pub const STANDARD_STREAMS: Rule = Rule {
    what: "lines to whoever runs the process go through `sidecore_runtime::sys::stderr`",
    signs: &["println!", "print!", "dbg!(", "io::stderr", "io::stdout"],
    // The place itself; the access log, whose own thread may wait and which may be without a server;
    // the help of a process that ends with it; a test's count.
    may: &[
        "runtime/src/sys/stderr.rs",
        "access-log/src/writer.rs",
        "access-log/src/server.rs",
        "demo/src/arguments.rs",
        "journal/src/tests/damage.rs",
    ],
};

impl Rule {
    /// What breaks it, a line for each.
    pub fn breaches(&self, sources: &[Source]) -> Vec<String> {
        let mut breaches = Vec::new();
        let bound = sources.iter().filter(|source| !source.is_test());
        for source in bound.filter(|source| !self.may.iter().any(|may| source.path.ends_with(may)))
        {
            let broken = |line: &str| self.signs.iter().any(|sign| line.contains(sign));
            for (at, line) in source.code().filter(|(_, line)| broken(line)) {
                breaches.push(format!("{}:{at}: {}: {}", source.path, self.what, line.trim()));
            }
        }
        breaches
    }
}

/// A file that orders memory is a protocol: some model explores it with each ordering weakened.
/// `models` are the sources of the models, which name the files.
pub fn ordering_breaches(sources: &[Source], models: &[Source]) -> Vec<String> {
    let named = models.iter().flat_map(|model| {
        let rests = model.text.split("file: \"").skip(1);
        rests.filter_map(|rest| rest.split('"').next()).map(str::to_owned)
    });
    let named: BTreeSet<String> = named.collect();
    let exists = |file: &&String| sources.iter().any(|source| source.path == **file);
    let mut breaches: Vec<_> = named
        .iter()
        .filter(|file| !exists(file))
        .map(|file| format!("{file}: a model names it, and it is not there"))
        .collect();
    let orderings = ["Acquire", "Release", "AcqRel", "SeqCst"];
    for source in sources.iter().filter(|source| !named.contains(&source.path)) {
        for (at, line) in source.code() {
            if orderings.iter().any(|name| line.contains(&format!("Ordering::{name}"))) {
                breaches.push(format!(
                    "{}:{at}: no model explores this: {}",
                    source.path,
                    line.trim()
                ));
            }
        }
    }
    breaches
}

/// A module with children is a folder with a `mod.rs`.
pub fn module_style_breaches(sources: &[Source]) -> Vec<String> {
    let beside = |source: &&Source| {
        let folder = source.path.trim_end_matches(".rs").to_owned() + "/";
        sources.iter().any(|other| other.path.starts_with(&folder))
    };
    sources
        .iter()
        .filter(beside)
        .map(|source| format!("{}: a module with children is a folder with a mod.rs", source.path))
        .collect()
}

/// Names that the root of a crate offers: its public modules and re-exports.
///
/// # Panics
/// Where a glob is re-exported, whose names are not known.
pub fn public_names(root: &Source) -> Vec<String> {
    let mut names = Vec::new();
    for item in &root.syntax.items {
        match item {
            syn::Item::Mod(item) if is_public(&item.vis) => names.push(item.ident.to_string()),
            syn::Item::Use(item) if is_public(&item.vis) => leaves(&item.tree, &mut names),
            _ => {}
        }
    }
    names
}

fn is_public(visibility: &syn::Visibility) -> bool {
    matches!(visibility, syn::Visibility::Public(_))
}

fn leaves(tree: &syn::UseTree, into: &mut Vec<String>) {
    match tree {
        syn::UseTree::Path(path) => leaves(&path.tree, into),
        syn::UseTree::Name(name) => into.push(name.ident.to_string()),
        syn::UseTree::Rename(name) => into.push(name.rename.to_string()),
        syn::UseTree::Group(group) => group.items.iter().for_each(|tree| leaves(tree, into)),
        syn::UseTree::Glob(_) => panic!("a glob at the root of a crate"),
    }
}
