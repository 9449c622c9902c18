//! The rooms as a drawing that a browser shows (Mermaid).

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::rooms::HOUSES;
use crate::source::sources;

/// The page with the drawing of each house, from the sources as they are.
pub fn page() -> String {
    let mut page = String::from(
        "# Rooms\n\n\
         Each arrow is a room that knows another; none points up. Drawn from the sources by\n\
         `cargo run -p sidecore-tidy`; a test holds the order (`tests/tidy/src/rooms.rs`).\n",
    );
    for house in HOUSES {
        let imports = house.imports(&sources(house.folder));
        let known: BTreeSet<_> =
            imports.iter().map(|import| (import.from.as_str(), import.to.as_str())).collect();
        let _ = write!(page, "\n## {}\n\n```mermaid\nflowchart TD\n", house.name);
        for room in house.rooms.iter().rev() {
            let _ = writeln!(page, "    {}", room.0);
        }
        for (from, to) in known {
            let _ = writeln!(page, "    {from} --> {to}");
        }
        page.push_str("```\n");
    }
    page
}
