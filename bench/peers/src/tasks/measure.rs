//! What is measured, on the producer's thread, in the same way for every subject.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::host::{Cpus, Host};
use crate::job::{Job, is_asleep, now_ns, thread_id};

/// Tasks in flight, of throughput; no subject may have more.
pub(crate) const IN_FLIGHT: usize = 256;
/// How long the worker has nothing to do in [`State::WorkerParked`].
const WORKER_PAUSE: Duration = Duration::from_micros(300);
/// How long nobody has anything to do in [`State::BothIdle`].
const PAUSE: Duration = Duration::from_millis(2);
/// Trips at the start of a window that look at whether the other side sleeps, and do not count.
const LOOKS: u64 = 4;

/// A way from a producer to a worker and back.
pub(crate) trait Subject: Clone + Send + Sync + 'static {
    /// The runtime of the producer.
    type Host: Host;
    /// Hands a job over, and the future brings its output.
    fn run(&self, job: Job) -> impl Future<Output = u64> + Send;
}

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Tasks a second with [`IN_FLIGHT`] of them in flight.
    Throughput,
    /// Round trips of one task at a time.
    Latency(State),
}

/// Who sleeps, at one task in flight; defined in the program's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    BothAwake,
    WorkerParked,
    ExecutorIdle,
    BothIdle,
}

pub(crate) const STATES: [State; 4] =
    [State::BothAwake, State::WorkerParked, State::ExecutorIdle, State::BothIdle];

/// A measurement that is asked for; it ends when `stop` is set.
pub(crate) struct Ask {
    pub(crate) measure: Measure,
    pub(crate) stop: Arc<AtomicBool>,
}

/// What came out.
pub(crate) enum Figure {
    /// Tasks a second.
    Rate(f64),
    /// The trips of a window.
    Trips(Trips),
}

/// Round trips.
pub(crate) struct Trips {
    /// How long each took, in nanoseconds.
    pub(crate) ns: Histogram<u64>,
    /// How often it was looked at whether the side that should sleep does, and did.
    pub(crate) looked: u64,
    pub(crate) asleep: u64,
}

impl Trips {
    pub(crate) fn new() -> Self {
        let ns = Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("bounds in their order");
        Trips { ns, looked: 0, asleep: 0 }
    }

    pub(crate) fn add(&mut self, other: &Trips) {
        self.ns.add(&other.ns).expect("the same bounds");
        self.looked += other.looked;
        self.asleep += other.asleep;
    }
}

/// Measures what is asked, until nobody can ask any more.
pub(crate) async fn serve<S: Subject>(
    subject: S,
    cpus: Cpus,
    mut asks: UnboundedReceiver<Ask>,
    figures: Sender<Figure>,
) {
    let place = (Job::cpu().call(), subject.run(Job::cpu()).await);
    assert_eq!(place, (cpus.producer as u64, cpus.worker as u64), "CPUs of producer and worker");
    let worker = subject.run(Job::thread()).await;
    while let Some(Ask { measure, stop }) = asks.recv().await {
        let figure = match measure {
            Measure::Throughput => Figure::Rate(throughput(&subject, &stop).await),
            Measure::Latency(state) => Figure::Trips(latency(&subject, state, worker, &stop).await),
        };
        figures.send(figure).expect("who asks waits for the answer");
    }
}

/// Futures that each run one task after another, as handlers of so many connections would.
async fn throughput<S: Subject>(subject: &S, stop: &Arc<AtomicBool>) -> f64 {
    let (told, mut counts) = unbounded_channel();
    let start = Instant::now();
    for _ in 0..IN_FLIGHT {
        let (subject, stop, told) = (subject.clone(), stop.clone(), told.clone());
        S::Host::spawn(async move {
            let mut count = 0;
            while !stop.load(Ordering::Relaxed) {
                let output = subject.run(Job::trivial(count)).await;
                assert_eq!(output, count + 1);
                count = output;
            }
            told.send(count).expect("the counts are awaited");
        });
    }
    drop(told);
    let mut total = 0;
    while let Some(count) = counts.recv().await {
        total += count;
    }
    total as f64 / start.elapsed().as_secs_f64()
}

async fn latency<S: Subject>(subject: &S, state: State, worker: u64, stop: &AtomicBool) -> Trips {
    let _awake = state.keeps_producer_awake().then(Companion::spawn::<S::Host>);
    let mut trips = Trips::new();
    if state != State::BothAwake {
        for _ in 0..LOOKS {
            trips.looked += 1;
            trips.asleep += u64::from(look(subject, state, worker).await);
        }
    }
    while !stop.load(Ordering::Relaxed) {
        state.pause::<S::Host>().await;
        trips.ns.saturating_record(trip(subject, state).await);
    }
    trips
}

/// One trip of nanoseconds.
async fn trip<S: Subject>(subject: &S, state: State) -> u64 {
    if state == State::ExecutorIdle {
        let ended_ns = subject.run(Job::spin()).await;
        return now_ns() - ended_ns;
    }
    let start_ns = now_ns();
    let output = subject.run(Job::trivial(start_ns)).await;
    let end_ns = now_ns();
    assert_eq!(output, start_ns + 1);
    end_ns - start_ns
}

/// Whether the side that should sleep does: the worker when a task is dispatched, or the producer
/// when one ends.
async fn look<S: Subject>(subject: &S, state: State, worker: u64) -> bool {
    state.pause::<S::Host>().await;
    match state {
        State::ExecutorIdle => subject.run(Job::spin_and_look_at(thread_id())).await == 1,
        _ => {
            let asleep = is_asleep(worker);
            subject.run(Job::trivial(0)).await;
            asleep
        }
    }
}

impl State {
    fn keeps_producer_awake(self) -> bool {
        matches!(self, State::BothAwake | State::WorkerParked)
    }

    /// What comes before each task.
    async fn pause<H: Host>(self) {
        match self {
            State::BothAwake | State::ExecutorIdle => {}
            State::WorkerParked => {
                let start = Instant::now();
                while start.elapsed() < WORKER_PAUSE {
                    H::yield_now().await;
                }
            }
            State::BothIdle => H::sleep(PAUSE).await,
        }
    }
}

/// A future that is always ready again, so that its runtime does not sleep; ends when dropped.
struct Companion(Arc<AtomicBool>);

impl Companion {
    fn spawn<H: Host>() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        H::spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                H::yield_now().await;
            }
        });
        Companion(stop)
    }
}

impl Drop for Companion {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
