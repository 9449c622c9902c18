//! The peers: what a program on tokio would hand a job to a thread by.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::host::{Cpus, Tokio, pin};
use crate::job::Job;
use crate::measure::{IN_FLIGHT, Subject, serve};
use crate::running::{Label, Running};

/// All of them.
pub(crate) fn start_all(cpus: Cpus) -> [Running; 4] {
    let label = |name, worker_waits| Label { name, worker_waits, is_awaited: true };
    [
        start(label("tokio spawn_blocking", "parks at once"), cpus, SpawnBlocking),
        start(label("rayon spawn", "yields 33 times, then parks"), cpus, Rayon::start(cpus)),
        start(
            label("crossbeam-channel", "pauses 127 times, yields 4 times, then parks"),
            cpus,
            Crossbeam::start(cpus),
        ),
        start(label("flume", "parks at once"), cpus, Flume::start(cpus)),
    ]
}

fn start<S: Subject>(label: Label, cpus: Cpus, subject: S) -> Running {
    Running::start(label, |asks, figures| {
        let producer = thread::spawn(move || {
            pin(cpus.producer);
            runtime(cpus).block_on(serve(subject, cpus, asks, figures));
        });
        || join(producer)
    })
}

fn join(thread: JoinHandle<()>) {
    thread.join().expect("the producer ends");
}

/// With its I/O driver, as every server has it: so an idle one sleeps in epoll.
fn runtime(cpus: Cpus) -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        // Called on blocking threads only, of which the one there is must outlast all rounds.
        .on_thread_start(move || pin(cpus.worker))
        .thread_keep_alive(Duration::from_secs(3600))
        .build()
        .expect("a runtime")
}

#[derive(Clone)]
struct SpawnBlocking;

impl Subject for SpawnBlocking {
    type Host = Tokio;

    async fn run(&self, job: Job) -> u64 {
        tokio::task::spawn_blocking(move || job.call()).await.expect("the job ends")
    }
}

#[derive(Clone)]
struct Rayon(Arc<rayon::ThreadPool>);

impl Rayon {
    fn start(cpus: Cpus) -> Self {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(1)
            .start_handler(move |_| pin(cpus.worker))
            .build();
        Rayon(Arc::new(pool.expect("a pool")))
    }
}

impl Subject for Rayon {
    type Host = Tokio;

    async fn run(&self, job: Job) -> u64 {
        let (reply, output) = oneshot::channel();
        // Who does not wait any more gets no reply.
        self.0.spawn(move || {
            let _ = reply.send(job.call());
        });
        output.await.expect("the job ends")
    }
}

#[derive(Clone)]
struct Crossbeam(crossbeam_channel::Sender<(Job, oneshot::Sender<u64>)>);

impl Crossbeam {
    fn start(cpus: Cpus) -> Self {
        let (jobs, taken) = crossbeam_channel::bounded(IN_FLIGHT);
        thread::spawn(move || {
            pin(cpus.worker);
            for (job, reply) in taken {
                let job: Job = job;
                let reply: oneshot::Sender<u64> = reply;
                let _ = reply.send(job.call());
            }
        });
        Crossbeam(jobs)
    }
}

impl Subject for Crossbeam {
    type Host = Tokio;

    async fn run(&self, job: Job) -> u64 {
        let (reply, output) = oneshot::channel();
        self.0.try_send((job, reply)).expect("as much room as tasks in flight");
        output.await.expect("the job ends")
    }
}

#[derive(Clone)]
struct Flume(flume::Sender<(Job, flume::Sender<u64>)>);

impl Flume {
    fn start(cpus: Cpus) -> Self {
        let (jobs, taken) = flume::bounded::<(Job, flume::Sender<u64>)>(IN_FLIGHT);
        thread::spawn(move || {
            pin(cpus.worker);
            for (job, reply) in taken {
                let _ = reply.send(job.call());
            }
        });
        Flume(jobs)
    }
}

impl Subject for Flume {
    type Host = Tokio;

    async fn run(&self, job: Job) -> u64 {
        let (reply, output) = flume::bounded(1);
        self.0.try_send((job, reply)).expect("as much room as tasks in flight");
        output.into_recv_async().await.expect("the job ends")
    }
}
