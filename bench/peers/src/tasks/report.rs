//! The tables.

use crate::Figures;
use crate::measure::{IN_FLIGHT, STATES, State, Trips};
use crate::running::Label;
use crate::statistics::{Ratio, median};

/// So many trips must lie beyond a quantile, or there is none: 1,000 trips for p99.9.
const BEYOND_MIN: f64 = 1.0;

/// Throughput of each, and ratios to the first.
pub(crate) fn throughput(labels: &[Label], figures: &[Figures]) -> String {
    let mut text = format!(
        "throughput, {IN_FLIGHT} tasks in flight\n{:<21} {:<44} {:>10} {:>7} {:>16}\n",
        "", "the worker", "tasks/s", "ratio", "(least, most)"
    );
    for (label, own) in labels.iter().zip(figures) {
        let ratio = Ratio::of(&own.rates, &figures[0].rates);
        text += &format!(
            "{:<21} {:<44} {:>10.0} {:>7.3} {:>16}\n",
            label.name,
            label.worker_waits,
            median(&own.rates),
            ratio.median,
            format!("({:.3}, {:.3})", ratio.min, ratio.max),
        );
    }
    text + "medians over the rounds; ratios are to the first row, round by round\n"
}

/// Latencies of each in each state, and ratios to the first.
pub(crate) fn latency(labels: &[Label], figures: &[Figures]) -> String {
    let mut text = format!(
        "latency, one task in flight\n{:<14} {:<21} {:>8} {:>7} {:>16} {:>8} {:>7} {:>8} {:>7} {:>8} {:>7}\n",
        "",
        "",
        "p50 us",
        "ratio",
        "(least, most)",
        "p99 us",
        "ratio",
        "p99.9 us",
        "ratio",
        "trips",
        "asleep"
    );
    for state in STATES {
        let base = Latencies::of(&figures[0].trips[state as usize]);
        for (label, own) in labels.iter().zip(figures).filter(|(label, _)| label.is_awaited) {
            text += &row(state, label, &Latencies::of(&own.trips[state as usize]), &base);
        }
    }
    text + "p50: median over the rounds, ratios to the first row round by round; p99 and p99.9: of the\n\
            trips of all rounds together, where 1 lies beyond at least\n"
}

fn row(state: State, label: &Label, own: &Latencies, base: &Latencies) -> String {
    let p50 = Ratio::of(&own.p50_us, &base.p50_us);
    let tail = |quantile| match (own.tail_us(quantile), base.tail_us(quantile)) {
        (Some(own), Some(base)) => format!("{own:>8.1} {:>7.2}", own / base),
        (Some(own), None) => format!("{own:>8.1} {:>7}", "-"),
        (None, _) => format!("{:>8} {:>7}", "-", "-"),
    };
    let asleep = match own.all.looked {
        0 => "-".to_owned(),
        looked => format!("{}/{looked}", own.all.asleep),
    };
    format!(
        "{:<14} {:<21} {:>8.2} {:>7.2} {:>16} {} {} {:>8} {:>7}\n",
        name(state),
        label.name,
        median(&own.p50_us),
        p50.median,
        format!("({:.2}, {:.2})", p50.min, p50.max),
        tail(0.99),
        tail(0.999),
        own.all.ns.len(),
        asleep,
    )
}

fn name(state: State) -> &'static str {
    match state {
        State::BothAwake => "both awake",
        State::WorkerParked => "worker parked",
        State::ExecutorIdle => "executor idle",
        State::BothIdle => "both idle",
    }
}

/// What the rounds of one subject in one state come to.
struct Latencies {
    /// Of each round.
    p50_us: Vec<f64>,
    all: Trips,
}

impl Latencies {
    fn of(rounds: &[Trips]) -> Self {
        let mut all = Trips::new();
        rounds.iter().for_each(|trips| all.add(trips));
        let p50_us = rounds.iter().map(|trips| trips.ns.value_at_quantile(0.5) as f64 / 1e3);
        Latencies { p50_us: p50_us.collect(), all }
    }

    /// A quantile of all trips, if enough of them lie beyond.
    fn tail_us(&self, quantile: f64) -> Option<f64> {
        let beyond = self.all.ns.len() as f64 * (1.0 - quantile);
        (beyond >= BEYOND_MIN).then(|| self.all.ns.value_at_quantile(quantile) as f64 / 1e3)
    }
}
