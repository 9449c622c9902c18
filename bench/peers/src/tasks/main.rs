//! A job's way to another core and back: sidecore's pool beside what a program on tokio would use.
//! `peer-tasks PRODUCER_CPU WORKER_CPU ROUNDS SECONDS`; `sidecore-bench tasks` builds and runs it.
//!
//! Every subject has one producer, a runtime's thread on the one CPU, and one worker thread on the
//! other; the job is one addition on a `u64`, called by a function pointer. All subjects run in
//! this process and sleep while another is measured. A round measures each thing on each subject,
//! one right after the other and in an order that rotates, so that what disturbs the machine
//! disturbs neighbours alike; ratios are of values of the same round.
//!
//! | subject | producer | worker waits |
//! |---|---|---|
//! | sidecore | its executor, which sleeps in io_uring | spins 10 us, then parks (the default) |
//! | sidecore, on_finish | the same | the same |
//! | sidecore, spin 0 | the same | parks at once |
//! | tokio `spawn_blocking` | tokio's current-thread runtime, which sleeps in epoll | parks at once |
//! | rayon `spawn`, a oneshot back | the same | yields to the system 33 times, then parks |
//! | crossbeam-channel, a oneshot back | the same | pauses 127 times, yields 4 times, then parks |
//! | flume both ways | the same | parks at once |
//!
//! All producers sleep as soon as they have nothing to do; no subject may have more than 256 tasks
//! in flight. Throughput has that many: 256 futures, of which each awaits one task after another;
//! only with `on_finish` the finish of a task dispatches the next, without a future. Latency is of
//! one task at a time, in four states. They say what the bench does; what a worker does of itself
//! between two tasks stands in the table above.
//!
//! - *both awake*: a companion future on the producer's runtime yields all the time, so that its
//!   thread never sleeps, and tasks follow each other without a pause. From dispatch to output.
//! - *worker parked*: the same with 300 us before each task, which the producer spends yielding and
//!   the worker has nothing to do. From dispatch to output.
//! - *executor idle*: no companion; the job spins for 200 us, and meanwhile the producer has nothing
//!   to do. From the end of the job, as the worker's clock tells it, to output.
//! - *both idle*: no companion; before each task 2 ms of the runtime's own timer, in which neither
//!   side has anything to do. From dispatch, on a producer that has just woken, to output.
//!
//! That the worker sleeps at the dispatch (*worker parked*, *both idle*) or the producer at the end
//! of the job (*executor idle*) is looked at, in `/proc`, by a few trips before each window that are
//! not counted; the last column tells how many of these found it asleep.

mod host;
mod job;
mod measure;
mod peers;
mod report;
mod running;
mod sidecore;
#[path = "../../../src/statistics.rs"]
mod statistics;

use std::time::Duration;

use crate::host::Cpus;
use crate::measure::{Figure, Measure, STATES, State, Trips};
use crate::running::Running;

/// Of a window before the first round, whose figures are thrown away.
const WARM_UP: Duration = Duration::from_millis(20);

/// A subject's figures, by round.
#[derive(Default)]
struct Figures {
    rates: Vec<f64>,
    /// For each of [`STATES`].
    trips: [Vec<Trips>; STATES.len()],
}

impl Figures {
    fn take(&mut self, measure: Measure, figure: Figure) {
        match (measure, figure) {
            (Measure::Latency(state), Figure::Trips(trips)) => {
                self.trips[state as usize].push(trips);
            }
            (_, Figure::Rate(rate)) => self.rates.push(rate),
            (Measure::Throughput, Figure::Trips(_)) => unreachable!("a rate was asked for"),
        }
    }
}

/// Windows that a measurement takes: the longer a trip, the more time for enough of them.
fn windows(measure: Measure) -> u32 {
    match measure {
        Measure::Throughput | Measure::Latency(State::BothAwake) => 1,
        Measure::Latency(State::WorkerParked | State::ExecutorIdle) => 2,
        Measure::Latency(State::BothIdle) => 6,
    }
}

fn measures() -> impl Iterator<Item = Measure> {
    [Measure::Throughput].into_iter().chain(STATES.map(Measure::Latency))
}

fn is_for(subject: &Running, measure: Measure) -> bool {
    subject.label.is_awaited || measure == Measure::Throughput
}

fn run(subjects: &[Running], rounds: usize, time: Duration) -> Vec<Figures> {
    let all = measures().flat_map(|measure| {
        subjects.iter().filter(move |s| is_for(s, measure)).map(move |_| windows(measure))
    });
    let window = time / (rounds as u32 * all.sum::<u32>());
    for measure in measures() {
        for subject in subjects.iter().filter(|subject| is_for(subject, measure)) {
            subject.measure(measure, WARM_UP);
        }
    }
    let mut figures: Vec<_> = subjects.iter().map(|_| Figures::default()).collect();
    for round in 0..rounds {
        for measure in measures() {
            for turn in 0..subjects.len() {
                let at = (round + turn) % subjects.len();
                if is_for(&subjects[at], measure) {
                    let figure = subjects[at].measure(measure, window * windows(measure));
                    figures[at].take(measure, figure);
                }
            }
        }
    }
    figures
}

fn main() -> Result<(), String> {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let &[producer, worker, rounds, seconds] = &numbers[..] else {
        return Err("usage: peer-tasks PRODUCER_CPU WORKER_CPU ROUNDS SECONDS".to_owned());
    };
    let (rounds, time) = (rounds.max(1), Duration::from_secs(seconds.max(1) as u64));
    // A panic on a thread of a runtime would end one future, and leave this one waiting for it.
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        std::process::exit(1);
    }));
    let cpus = Cpus { producer, worker };
    let mut subjects = Vec::from(sidecore::start_all(cpus));
    subjects.extend(peers::start_all(cpus));
    let figures = run(&subjects, rounds, time);
    let labels: Vec<_> = subjects.iter().map(|subject| subject.label).collect();
    println!("producers on CPU {producer}, workers on CPU {worker}, {rounds} rounds\n");
    println!("{}", report::throughput(&labels, &figures));
    println!("{}", report::latency(&labels, &figures));
    subjects.into_iter().for_each(Running::end);
    Ok(())
}
