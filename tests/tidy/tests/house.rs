//! The rules, held against the sources as they are.

use sidecore_tidy::places::{self, HOST, STANDARD_STREAMS, UNSAFE};
use sidecore_tidy::rooms::HOUSES;
use sidecore_tidy::source::{Source, sources, workspace};
use sidecore_tidy::{drawing, lengths};

/// The product's own sources.
fn product() -> Vec<Source> {
    let packages = ["access-log", "journal", "request-id", "static-files", "trace"];
    let mut all = sources("runtime/src");
    all.extend(sources("server/src"));
    all.extend(packages.iter().flat_map(|it| sources(&format!("server/{it}/src"))));
    assert!(all.len() > 100, "{}", all.len());
    all
}

#[track_caller]
fn none(breaches: &[String]) {
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn each_room_knows_only_those_below_it() {
    for house in HOUSES {
        none(&house.breaches(&sources(house.folder)));
    }
}

#[test]
fn files_and_functions_are_short() {
    none(&lengths::breaches(&product()));
}

#[test]
fn unsafe_stands_in_few_files() {
    none(&UNSAFE.breaches(&product()));
}

#[test]
fn the_host_of_executors_has_one_seam() {
    none(&HOST.breaches(&product()));
}

#[test]
fn lines_to_standard_error_are_written_in_one_place() {
    none(&STANDARD_STREAMS.breaches(&product()));
}

#[test]
fn memory_is_ordered_only_in_files_that_a_model_explores() {
    none(&places::ordering_breaches(&product(), &sources("tests/tests/models")));
}

#[test]
fn modules_have_one_style() {
    none(&places::module_style_breaches(&product()));
}

#[test]
fn the_drawing_is_of_the_rooms_as_they_are() {
    let drawn = std::fs::read_to_string(workspace().join("docs/rooms.md")).unwrap_or_default();
    assert!(drawn == drawing::page(), "draw it anew: cargo run -p sidecore-tidy");
}

#[test]
fn the_root_of_the_server_has_what_every_server_needs_and_no_more() {
    let sources = sources("server/src");
    let root =
        sources.iter().find(|source| source.path == "server/src/lib.rs").expect("it is there");
    let names = places::public_names(root);
    assert!(names.len() <= 25, "{} names: {names:?}", names.len());
}
