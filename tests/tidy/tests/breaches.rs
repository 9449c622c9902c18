//! Each rule sees what breaks it.

use sidecore_tidy::places::{self, HOST, Rule, STANDARD_STREAMS, UNSAFE};
use sidecore_tidy::rooms::{HOUSES, House, Room};
use sidecore_tidy::source::Source;
use sidecore_tidy::{lengths, rooms};

const HOUSE: House = House {
    name: "planted",
    folder: "a/src",
    within: &[],
    rooms: &[Room("low", &[]), Room("middle", &["low"]), Room("high", &["low", "middle"])],
    above: &["bin"],
};

fn file(path: &str, text: &str) -> Source {
    Source::new("a/src", &format!("a/src/{path}"), text)
}

fn rooms_say(path: &str, text: &str) -> Vec<String> {
    HOUSE.breaches(&[file(path, text)])
}

#[test]
fn an_import_upwards_is_told_with_its_line() {
    for text in [
        "\nuse crate::high::Thing;\n",
        "\nuse crate::{high, low};\n",
        "\nuse super::high::Thing;\n",
        "\nfn f() -> crate::high::Thing { todo!() }\n",
        "\nfn f() { format!(\"{}\", crate::high::NAME); }\n",
        "\nmod inner { use super::super::high::*; }\n",
    ] {
        assert_eq!(rooms_say("low.rs", text), ["a/src/low.rs:2: low may not know high"], "{text}");
    }
}

#[test]
fn what_the_table_allows_is_no_breach() {
    assert!(rooms_say("high/mod.rs", "use crate::low::Thing; use self::part::Other;").is_empty());
    assert!(rooms_say("high/part.rs", "use super::Thing; use super::super::low::It;").is_empty());
    assert!(rooms_say("low.rs", "#[cfg(test)]\nmod tests { use crate::high::Thing; }").is_empty());
    assert!(rooms_say("lib.rs", "pub use crate::high::Thing;").is_empty());
    assert!(rooms_say("bin/tool.rs", "use crate::high::Thing;").is_empty());
}

#[test]
fn a_name_at_the_top_of_the_house_and_a_room_that_is_none_are_told() {
    assert_eq!(
        rooms_say("low.rs", "use crate::Thing;"),
        ["a/src/low.rs:1: low may not know Thing"]
    );
    assert_eq!(rooms_say("attic.rs", ""), ["a/src/attic.rs: `attic` is no room of planted"]);
}

#[test]
fn a_table_with_a_circle_is_told() {
    let rooms = &[Room("one", &["two"]), Room("two", &["one"])];
    let house = House { rooms, ..HOUSE };
    assert_eq!(
        house.breaches(&[]),
        ["the table of planted: one may know two, which is not below it"]
    );
    assert!(rooms::HOUSES.iter().all(|house| house.breaches(&[]).is_empty()));
    assert!(HOUSES.len() > 1);
}

#[test]
fn a_long_file_and_long_functions_are_told() {
    let long = file("low.rs", &"// a line\n".repeat(lengths::FILE_LINES_MAX + 1));
    let told = lengths::breaches(&[long]);
    assert!(told[0].contains("501 lines"), "{told:?}");
    assert!(told[1].starts_with("the median file"), "{told:?}");
    let body = "    f();\n".repeat(lengths::FUNCTION_LINES_P99_MAX);
    let told = lengths::breaches(&[file("low.rs", &format!("\nfn f() {{\n{body}}}\n"))]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("a/src/low.rs:2 `f`"), "{told:?}");
}

#[test]
fn what_stands_in_a_wrong_file_is_told() {
    let says = |rule: &Rule, text| rule.breaches(&[file("low.rs", text)]).len();
    assert_eq!(says(&UNSAFE, "fn f() {\n    unsafe { g() }\n}"), 1);
    assert_eq!(says(&HOST, "use glommio::LocalExecutor;"), 1);
    assert_eq!(says(&STANDARD_STREAMS, "fn f() {\n    eprintln!(\"lost\");\n}"), 1);
    assert_eq!(
        says(&UNSAFE, "// unsafe in words\n#[cfg(test)]\nmod tests { unsafe fn f() {} }"),
        0
    );
}

#[test]
fn an_ordering_without_a_model_is_told_and_a_model_without_its_file() {
    let orders = || file("low.rs", "fn f() { A.load(Ordering::Acquire); }");
    assert_eq!(places::ordering_breaches(&[orders()], &[]).len(), 1);
    let model = file("m.rs", "const P: P = P { file: \"a/src/low.rs\" };");
    assert!(places::ordering_breaches(&[orders()], &[model]).is_empty());
    let stale = file("m.rs", "const P: P = P { file: \"a/src/gone.rs\" };");
    assert_eq!(places::ordering_breaches(&[], &[stale]).len(), 1);
}

#[test]
fn a_file_beside_its_folder_is_told() {
    let both = [file("low.rs", ""), file("low/part.rs", "")];
    assert_eq!(places::module_style_breaches(&both).len(), 1);
    assert!(
        places::module_style_breaches(&[file("low/mod.rs", ""), file("low/part.rs", "")])
            .is_empty()
    );
}

#[test]
fn the_names_of_a_root_are_counted_one_by_one() {
    let root = file(
        "lib.rs",
        "pub mod a; mod b; pub use c::{D, e::F as G}; use h::I; pub(crate) use j::K;",
    );
    assert_eq!(places::public_names(&root), ["a", "D", "G"]);
}
