//! Who measures, and whom they ask.

use std::convert::Infallible;
use std::net::SocketAddr;

use sidecore::{Config, Incoming, Request, Response, Running, Server};

/// Whose thread a row is measured on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// An executor without tokio.
    Sidecore,
    /// An executor with the companion.
    Companion,
    /// tokio's current-thread runtime.
    Tokio,
}

/// Pins the calling thread.
pub(crate) fn pin(cpu: usize) {
    assert!(
        core_affinity::set_for_current(core_affinity::CoreId { id: cpu }),
        "CPU {cpu} is not there or not permitted"
    );
}

/// One executor on this CPU, no task workers, any port of 127.0.0.1.
pub(crate) fn one_executor(cpu: usize) -> Config {
    let mut config = Config::default();
    config.port = 0;
    config.options.worker_num = Some(1);
    config.options.task_worker_num = Some(0);
    config.options.worker_cpus = Some(cpu.to_string().parse().expect("a CPU is a list of one"));
    config
}

/// The server that reqwest asks from each host.
pub(crate) struct Peer(Running);

impl Peer {
    pub(crate) fn start(cpu: usize) -> Peer {
        let server = Server::new(one_executor(cpu)).start(|_| {
            tower::service_fn(|_: Request<Incoming>| async {
                Ok::<_, Infallible>(Response::new("OK".to_owned()))
            })
        });
        Peer(server.unwrap_or_else(|error| panic!("{error}")))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.address()
    }

    pub(crate) fn end(self) {
        end(self.0);
    }
}

pub(crate) fn end(running: Running) {
    running.shutdown().raise();
    running.wait().unwrap_or_else(|error| panic!("{error}"));
}
