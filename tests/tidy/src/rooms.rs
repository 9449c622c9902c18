//! Rooms: the modules at the top of a crate, and of some of its rooms. Each may know those that its
//! line of the table names, which all stand above it there; so no two know each other.

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::source::Source;

/// A crate, or a room in rooms of its own.
pub struct House {
    /// Its name in the drawing.
    pub name: &'static str,
    /// Where the sources of its crate lie.
    pub folder: &'static str,
    /// The module whose children the rooms are; empty: the root.
    pub within: &'static [&'static str],
    /// Rooms, from the ground up, each with those that it may know.
    pub rooms: &'static [Room],
    /// Files at its top that stand above all rooms, such as the one that lists them.
    pub above: &'static [&'static str],
}

/// A room and those that it may know.
pub struct Room(pub &'static str, pub &'static [&'static str]);

/// The order of the rooms: the one place where it stands.
pub const HOUSES: &[House] = &[
    House {
        name: "runtime",
        folder: "runtime/src",
        within: &[],
        rooms: &[
            Room("sys", &[]),
            Room("stack", &["sys"]),
            Room("machine", &["sys"]),
            Room("ring", &["sys", "machine"]),
            Room("socket", &["sys", "ring"]),
            Room("executor", &["sys", "stack", "machine", "ring", "socket"]),
            Room("net", &["ring", "socket", "executor"]),
            Room("pool", &["sys", "stack", "machine", "executor"]),
        ],
        above: &[],
    },
    House {
        name: "pool",
        folder: "runtime/src",
        within: &["pool"],
        rooms: &[
            Room("task", &[]),
            Room("notice", &["task"]),
            Room("queue", &["task"]),
            Room("wake", &[]),
            Room("stats", &["task"]),
            Room("config", &["task", "notice", "queue"]),
            Room("shared", &["task", "queue", "wake", "stats", "config"]),
            Room("finish_guard", &["task", "shared"]),
            Room("lane", &["task", "config", "shared"]),
            Room(
                "worker",
                &["task", "notice", "queue", "wake", "stats", "config", "shared", "finish_guard"],
            ),
            Room(
                "async_worker",
                &["task", "queue", "wake", "config", "shared", "finish_guard", "worker"],
            ),
            Room(
                "api",
                &[
                    "task",
                    "notice",
                    "wake",
                    "stats",
                    "config",
                    "shared",
                    "finish_guard",
                    "lane",
                    "worker",
                    "async_worker",
                ],
            ),
        ],
        above: &[],
    },
    House {
        name: "server",
        folder: "server/src",
        within: &[],
        rooms: &[
            Room("codec", &[]),
            Room("config", &["codec"]),
            Room("app", &["codec"]),
            Room("http", &["codec", "config", "app"]),
            Room("websocket", &["codec", "http"]),
            Room("tasks", &["config"]),
            Room("lifecycle", &["config", "app", "http", "tasks"]),
            Room("durable", &["tasks", "lifecycle"]),
            Room("test_server", &["config", "app", "tasks", "lifecycle"]),
        ],
        above: &[],
    },
];

/// One room's use of another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Import {
    /// The room that knows.
    pub from: String,
    /// What it knows: a room, or a name at the top of the house.
    pub to: String,
    /// The file and line.
    pub place: String,
}

impl House {
    /// The room that a module of this crate belongs to; None: it is outside this house, or its top.
    fn room(&self, module: &[String]) -> Option<String> {
        let inner = module.strip_prefix(self.within_owned().as_slice())?;
        inner.first().cloned()
    }

    fn within_owned(&self) -> Vec<String> {
        self.within.iter().map(|&name| name.to_owned()).collect()
    }

    /// Each use of a room by another, in the order of the files. Tests may know all.
    pub fn imports(&self, sources: &[Source]) -> Vec<Import> {
        let mut imports = Vec::new();
        for source in sources.iter().filter(|source| !source.is_test()) {
            let Some(from) = self.room(&source.module) else { continue };
            if self.above.contains(&from.as_str()) {
                continue;
            }
            for (path, line) in paths(source) {
                let Some(to) = self.room(&path) else { continue };
                if to != from {
                    let place = format!("{}:{line}", source.path);
                    imports.push(Import { from: from.clone(), to, place });
                }
            }
        }
        imports
    }

    /// What breaks the order, a line for each.
    pub fn breaches(&self, sources: &[Source]) -> Vec<String> {
        let mut breaches = self.order_breaches();
        let known = |name: &str| self.rooms.iter().find(|room| room.0 == name);
        for source in sources.iter().filter(|source| !source.is_test()) {
            if let Some(room) = self.room(&source.module)
                && known(&room).is_none()
                && !self.above.contains(&room.as_str())
            {
                breaches.push(format!("{}: `{room}` is no room of {}", source.path, self.name));
            }
        }
        for Import { from, to, place } in self.imports(sources) {
            let may = known(&from).is_some_and(|room| room.1.contains(&to.as_str()));
            if !may && known(&from).is_some() {
                breaches.push(format!("{place}: {from} may not know {to}"));
            }
        }
        breaches
    }

    /// Whether each room names only such as stand above it in the table.
    fn order_breaches(&self) -> Vec<String> {
        let mut breaches = Vec::new();
        for (at, Room(name, may)) in self.rooms.iter().enumerate() {
            let lower = &self.rooms[..at];
            let unknown = may.iter().filter(|known| !lower.iter().any(|room| room.0 == **known));
            breaches.extend(unknown.map(|known| {
                format!(
                    "the table of {}: {name} may know {known}, which is not below it",
                    self.name
                )
            }));
        }
        breaches
    }
}

/// The modules and items of its own crate that a file names, in full, with their lines.
fn paths(source: &Source) -> Vec<(Vec<String>, usize)> {
    let mut found = Found { module: source.module.clone(), paths: Vec::new() };
    found.visit_file(&source.syntax);
    found.paths
}

struct Found {
    /// The module that is looked at.
    module: Vec<String>,
    paths: Vec<(Vec<String>, usize)>,
}

impl Found {
    /// Notes a path that begins with `crate`, `self` or `super`.
    fn note(&mut self, segments: &[String], line: usize) {
        let mut full = match segments.first().map(String::as_str) {
            Some("crate") => Vec::new(),
            Some("self" | "super") => self.module.clone(),
            _ => return,
        };
        for segment in segments {
            match segment.as_str() {
                "crate" | "self" => {}
                "super" => {
                    full.pop();
                }
                name => full.push(name.to_owned()),
            }
        }
        self.paths.push((full, line));
    }

    fn note_tree(&mut self, before: &[String], tree: &syn::UseTree) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.note_tree(&with(&path.ident), &path.tree),
            syn::UseTree::Name(name) => {
                self.note(&with(&name.ident), name.ident.span().start().line)
            }
            syn::UseTree::Rename(name) => {
                self.note(&with(&name.ident), name.ident.span().start().line);
            }
            syn::UseTree::Glob(glob) => self.note(before, glob.span().start().line),
            syn::UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.note_tree(before, tree));
            }
        }
    }

    /// What a macro is given: `crate :: a :: b` among its tokens.
    fn note_tokens(&mut self, tokens: TokenStream) {
        let mut run: Vec<String> = Vec::new();
        let mut line = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) if run.is_empty() => {
                    line = ident.span().start().line;
                    run.push(ident.to_string());
                }
                TokenTree::Ident(ident) if run.last().is_some_and(|last| last == "::") => {
                    run.pop();
                    run.push(ident.to_string());
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' && !run.is_empty() => {
                    if run.last().is_some_and(|last| last != "::") {
                        run.push("::".to_owned());
                    }
                }
                TokenTree::Group(group) => {
                    self.note_run(&mut run, line);
                    self.note_tokens(group.stream());
                }
                TokenTree::Ident(ident) => {
                    self.note_run(&mut run, line);
                    line = ident.span().start().line;
                    run.push(ident.to_string());
                }
                _ => self.note_run(&mut run, line),
            }
        }
        self.note_run(&mut run, line);
    }

    fn note_run(&mut self, run: &mut Vec<String>, line: usize) {
        let segments = std::mem::take(run);
        self.note(&segments, line);
    }
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|ident| ident == "test")
    })
}

impl<'ast> Visit<'ast> for Found {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if is_for_tests(&item.attrs) {
            return;
        }
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !is_for_tests(&item.attrs) {
            self.note_tree(&[], &item.tree);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<_> = path.segments.iter().map(|part| part.ident.to_string()).collect();
        self.note(&segments, path.span().start().line);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        self.note_tokens(item.tokens.clone());
        visit::visit_macro(self, item);
    }
}
