//! Each ordering that the product's code asks for, and each fence, weakened in turn: some model must
//! fail then, or nothing is known to need it.
//!
//! An operation is known by where it stands in the source, so that two fences of one file, or two
//! loads of one word, are two sites. A site that no model reaches counts as unneeded too: as many
//! orderings must be reached as the source has.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::panic::Location;
use std::str::FromStr;

use loom::sync::atomic::Ordering::{self, AcqRel, Acquire, Relaxed, Release, SeqCst};

use crate::sync::{Fault, weak_site};
use crate::{Model, explore, is_found, seeded};

/// Executions of a model among which each of its operations is reached.
const REACHING: usize = 20_000;

/// What of an operation has an ordering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// A compare-exchange that finds another value.
    Failure,
    Fence,
    /// All of a load, a store or an exchange.
    Whole,
}

/// What is taken from a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Loss {
    Acquire,
    Release,
    /// A fence's place in the one order of all that are SeqCst.
    Order,
    /// The fence.
    All,
}

/// An ordering of the file under test, and what of it is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Site {
    line: u32,
    column: u32,
    part: Part,
    loss: Loss,
}

/// A file of the product with the models that need its orderings.
pub(crate) struct Protocol {
    /// From the repository's root.
    pub(crate) file: &'static str,
    pub(crate) models: &'static [Model],
}

thread_local! {
    /// The file of the protocol under test.
    static FILE: RefCell<Option<&'static str>> = const { RefCell::new(None) };
    /// Its sites, as they are reached.
    static REACHED: RefCell<BTreeSet<Site>> = const { RefCell::new(BTreeSet::new()) };
}

/// The ordering of an operation of the product's, called by each of the shim's.
#[track_caller]
pub(crate) fn order(part: Part, ordering: Ordering) -> Ordering {
    let place = Location::caller();
    let is_watched = |file: &str| place.file().ends_with(file);
    if ordering == Relaxed || !FILE.with_borrow(|file| file.is_some_and(is_watched)) {
        return ordering;
    }
    let site = |loss| Site { line: place.line(), column: place.column(), part, loss };
    match weak_site() {
        Some(weak) if site(weak.loss) == weak => weaker(ordering, weak.loss),
        Some(_) => ordering,
        None => {
            REACHED.with_borrow_mut(|reached| {
                reached.extend(losses(part, ordering).iter().map(|loss| site(*loss)));
            });
            ordering
        }
    }
}

fn losses(part: Part, ordering: Ordering) -> &'static [Loss] {
    match (part, ordering) {
        (Part::Fence, SeqCst) => &[Loss::Order, Loss::All],
        (Part::Fence, _) => &[Loss::All],
        (_, Acquire) => &[Loss::Acquire],
        (_, Release) => &[Loss::Release],
        (_, AcqRel) => &[Loss::Acquire, Loss::Release],
        // loom takes such an access for AcqRel, and would prove nothing.
        (_, ordering) => panic!("{ordering:?} is for fences only"),
    }
}

fn weaker(ordering: Ordering, loss: Loss) -> Ordering {
    match (ordering, loss) {
        (AcqRel, Loss::Acquire) => Release,
        (AcqRel, Loss::Release) => Acquire,
        (SeqCst, Loss::Order) => AcqRel,
        _ => Relaxed,
    }
}

/// Weakens each site of a protocol in turn, each in a process of its own.
pub(crate) fn each_is_needed(protocol: &Protocol) {
    FILE.set(Some(protocol.file));
    let run = |fault| {
        for model in protocol.models {
            explore(fault, *model, usize::MAX);
        }
    };
    if let Some(site) = seeded() {
        return run(Fault::Weak(site.parse().expect("the test has written it")));
    }
    for model in protocol.models {
        explore(Fault::None, *model, REACHING);
    }
    let reached = REACHED.take();
    assert_eq!(places(&reached), orderings(protocol.file), "reached: {reached:?}");
    let unneeded: Vec<_> = reached
        .iter()
        .filter(|site| !is_found(&site.to_string()).0)
        .map(|site| format!("{}:{site}", protocol.file))
        .collect();
    assert!(unneeded.is_empty(), "no model needs these: {unneeded:#?}");
}

/// How many orderings stand behind these sites.
fn places(sites: &BTreeSet<Site>) -> usize {
    let places: BTreeSet<_> =
        sites.iter().map(|site| (site.line, site.column, site.part)).collect();
    places.len()
}

/// How many orderings besides Relaxed a file of the product names, its tests and comments apart.
fn orderings(file: &str) -> usize {
    let path = format!("{}/../{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let names = [Acquire, Release, AcqRel, SeqCst].map(|name| format!("Ordering::{name:?}"));
    code.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .map(|line| names.iter().map(|name| line.matches(name.as_str()).count()).sum::<usize>())
        .sum()
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Site { line, column, part, loss } = self;
        write!(f, "{line}:{column} {part:?} without {loss:?}")
    }
}

impl FromStr for Site {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || format!("`{text}` is no site");
        let [place, part, _, loss] = text.split(' ').collect::<Vec<_>>()[..] else {
            return Err(unknown());
        };
        let numbers = place
            .split_once(':')
            .and_then(|(line, column)| Some((line.parse().ok()?, column.parse().ok()?)));
        let (line, column) = numbers.ok_or_else(unknown)?;
        let parts = [Part::Failure, Part::Fence, Part::Whole];
        let losses = [Loss::Acquire, Loss::Release, Loss::Order, Loss::All];
        let part = parts.into_iter().find(|known| format!("{known:?}") == part);
        let loss = losses.into_iter().find(|known| format!("{known:?}") == loss);
        Ok(Site { line, column, part: part.ok_or_else(unknown)?, loss: loss.ok_or_else(unknown)? })
    }
}
