//! What is measured beside what, and the table.

use crate::host::Host;
use crate::measures::Measure;
use crate::statistics::{Ratio, median};

/// A thing that is measured on a host.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) host: Host,
    pub(crate) measure: Measure,
}

/// Rows that are compared; ratios are to the first.
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) rows: &'static [Row],
}

const fn row(name: &'static str, host: Host, measure: Measure) -> Row {
    Row { name, host, measure }
}

pub(crate) const GROUPS: &[Group] = &[
    Group {
        name: "a poll that is pending once",
        rows: &[
            row("sidecore", Host::Sidecore, Measure::Pending),
            row("companion", Host::Companion, Measure::Pending),
            row("companion, in a timeout", Host::Companion, Measure::Timeout),
            row("tokio", Host::Tokio, Measure::Pending),
            row("tokio, in a timeout", Host::Tokio, Measure::Timeout),
        ],
    },
    Group {
        name: "a request through a Router, without a socket",
        rows: &[
            row("companion", Host::Companion, Measure::Router),
            row("companion, TimeoutLayer", Host::Companion, Measure::TimeoutLayer),
            row("tokio", Host::Tokio, Measure::Router),
            row("tokio, TimeoutLayer", Host::Tokio, Measure::TimeoutLayer),
        ],
    },
    Group {
        name: "tokio::spawn and its await",
        rows: &[
            row("tokio", Host::Tokio, Measure::Spawn),
            row("companion", Host::Companion, Measure::Spawn),
        ],
    },
    Group {
        name: "an echo of 64 bytes by TCP",
        rows: &[
            row("sidecore, the ring", Host::Sidecore, Measure::Echo),
            row("companion, tokio's sockets", Host::Companion, Measure::Echo),
            row("tokio", Host::Tokio, Measure::Echo),
        ],
    },
    Group {
        name: "GET by reqwest, of a peer",
        rows: &[
            row("tokio", Host::Tokio, Measure::Reqwest),
            row("companion", Host::Companion, Measure::Reqwest),
        ],
    },
    Group {
        name: "GET / of the server, one connection",
        rows: &[
            row("sidecore", Host::Sidecore, Measure::Get),
            row("companion", Host::Companion, Measure::Get),
        ],
    },
];

/// The table of what [`GROUPS`] were measured at.
pub(crate) fn table(figures: &[Vec<Vec<f64>>]) -> String {
    let mut text =
        format!("{:<30} {:>9} {:>9} {:>7} {:>16}\n", "", "us", "more us", "ratio", "(least, most)");
    for (group, figures) in GROUPS.iter().zip(figures) {
        text += &format!("{}\n", group.name);
        for (row, own) in group.rows.iter().zip(figures) {
            let (ratio, base) = (Ratio::of(own, &figures[0]), &figures[0]);
            let more: Vec<_> = own.iter().zip(base).map(|(own, base)| own - base).collect();
            text += &format!(
                "  {:<28} {:>9.3} {:>9.3} {:>7.3} {:>16}\n",
                row.name,
                median(own),
                median(&more),
                ratio.median,
                format!("({:.3}, {:.3})", ratio.min, ratio.max),
            );
        }
    }
    text + "medians over the rounds; what is more, and ratios, to the first row of the group, round by round\n"
}
