//! Draws the rooms of the house to `docs/rooms.md`.

use sidecore_tidy::drawing;
use sidecore_tidy::source::workspace;

fn main() -> std::io::Result<()> {
    std::fs::write(workspace().join("docs/rooms.md"), drawing::page())
}
