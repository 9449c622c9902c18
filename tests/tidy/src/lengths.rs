//! How long files and functions are.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::source::Source;

/// Lines that no file has more of.
pub const FILE_LINES_MAX: usize = 500;
/// The median of the files' lines, at most.
pub const FILE_LINES_MEDIAN_MAX: usize = 200;
/// The 99th percentile of the functions' lines, at most.
pub const FUNCTION_LINES_P99_MAX: usize = 40;

/// What is too long, a line for each.
pub fn breaches(sources: &[Source]) -> Vec<String> {
    let mut breaches = Vec::new();
    let mut files: Vec<_> = sources.iter().map(|source| source.text.lines().count()).collect();
    for (source, &lines) in sources.iter().zip(&files) {
        if lines > FILE_LINES_MAX {
            breaches.push(format!("{}: {lines} lines, {FILE_LINES_MAX} at most", source.path));
        }
    }
    files.sort_unstable();
    let median = files.get(files.len() / 2).copied().unwrap_or_default();
    if median > FILE_LINES_MEDIAN_MAX {
        breaches
            .push(format!("the median file has {median} lines, {FILE_LINES_MEDIAN_MAX} at most"));
    }
    let mut functions = functions(sources);
    functions.sort();
    let p99 = functions.get(functions.len() * 99 / 100);
    if let Some((lines, place)) = p99
        && *lines > FUNCTION_LINES_P99_MAX
    {
        breaches.push(format!(
            "{place}: the 99th percentile of the functions has {lines} lines, \
             {FUNCTION_LINES_P99_MAX} at most"
        ));
    }
    breaches
}

/// The functions' lengths in lines, with their places.
pub fn functions(sources: &[Source]) -> Vec<(usize, String)> {
    let mut functions = Vec::new();
    for source in sources {
        let mut found = Functions { path: &source.path, found: &mut functions };
        found.visit_file(&source.syntax);
    }
    functions
}

struct Functions<'a> {
    path: &'a str,
    found: &'a mut Vec<(usize, String)>,
}

impl Functions<'_> {
    fn note(&mut self, name: &syn::Ident, whole: proc_macro2::Span) {
        let lines = whole.end().line - whole.start().line + 1;
        self.found.push((lines, format!("{}:{} `{name}`", self.path, whole.start().line)));
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.note(
            &item.sig.ident,
            item.sig.span().join(item.block.span()).unwrap_or(item.block.span()),
        );
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.note(
            &item.sig.ident,
            item.sig.span().join(item.block.span()).unwrap_or(item.block.span()),
        );
        visit::visit_impl_item_fn(self, item);
    }
}
