//! What ends an executor ends the server: its sockets close, the others drain, and the cause is told.

use std::cell::Cell;
use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http_body_util::Full;
use sidecore::{Config, Error, Executor, Incoming, Request, Response, Running, Server};
use sidecore_runtime::executor::{Inbox, add_inbox};
use sidecore_tests::wait_until;

/// How long anything here may take: a hang is for ever.
const LIMIT: Duration = Duration::from_secs(20);
const NOBODY: usize = usize::MAX;

/// Panics in the loop of one executor, outside its tasks, once that is wanted.
struct Bomb {
    executor: usize,
    wanted: Arc<AtomicUsize>,
    gone: Cell<bool>,
}

impl Inbox for Bomb {
    fn drain(&self) -> usize {
        if self.wanted.load(Ordering::Relaxed) == self.executor && !self.gone.replace(true) {
            panic!("a bomb in the loop");
        }
        0
    }
    fn has_arrivals(&self) -> bool {
        false
    }
    fn next_due(&self) -> Option<Instant> {
        None
    }
    fn in_flight(&self) -> usize {
        0
    }
    fn begin_drain(&self, _: Instant) {}

    fn flush_wakes(&self, _: bool) {}
}

fn config() -> Config {
    let mut config = Config::default();
    config.port = 0;
    config.options.worker_num = Some(2);
    config.options.task_worker_num = Some(1);
    config.options.drain_timeout_ms = 5_000;
    config
}

/// Two executors, of which one can be made to panic.
fn start() -> (Running, Arc<AtomicUsize>) {
    let wanted = Arc::new(AtomicUsize::new(NOBODY));
    let bombs = wanted.clone();
    let running = Server::new(config())
        .on_task(|_, ms: u64| std::thread::sleep(Duration::from_millis(ms)))
        .on_finish(|_, _| ())
        .start(move |executor: &Executor<u64, ()>| {
            let (executor, tasks) = (executor.index(), executor.tasks());
            let (wanted, gone) = (bombs.clone(), Cell::new(false));
            add_inbox(Rc::new(Bomb { executor, wanted, gone }));
            tower::service_fn(move |request: Request<Incoming>| {
                let tasks = tasks.clone();
                async move {
                    if request.uri().path() == "/task" {
                        tasks.dispatch(300).expect("there is room");
                    }
                    let body = executor.to_string().into_bytes().into();
                    Ok::<_, Infallible>(Response::new(Full::new(body)))
                }
            })
        })
        .expect("it starts");
    (running, wanted)
}

/// A kept connection and the executor that serves it.
fn connect(running: &Running, path: &str) -> io::Result<(TcpStream, usize)> {
    let mut stream = TcpStream::connect(running.address())?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes())?;
    let mut answer = [0; 1024];
    let count = stream.read(&mut answer)?;
    let text = String::from_utf8_lossy(&answer[..count]).into_owned();
    let executor = text.rsplit("\r\n").next().and_then(|body| body.parse().ok());
    Ok((stream, executor.ok_or_else(|| io::Error::other(text))?))
}

fn wait(running: Running) -> Error {
    let began = Instant::now();
    let error = running.wait().expect_err("an executor has ended");
    assert!(began.elapsed() < LIMIT, "{:?}", began.elapsed());
    error
}

#[test]
fn a_panic_in_a_loop_shuts_the_server_down_and_is_told() {
    for ends in [0, 1] {
        let (running, wanted) = start();
        let mut kept = Vec::new();
        let mut accepted = 0;
        while [0, 1].iter().any(|executor| !kept.iter().any(|(_, of)| of == executor)) {
            kept.push(connect(&running, "/task").expect("it serves"));
            accepted += 1;
        }
        let (address, shutdown) = (running.address(), running.shutdown());
        wanted.store(ends, Ordering::Relaxed);
        // Each turn looks at it: a request is a turn.
        for (stream, of) in &mut kept {
            if *of == ends {
                let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
            }
        }
        wait_until("the shutdown is raised", || shutdown.is_raised());
        wait_until("nobody listens any more", || TcpStream::connect(address).is_err());
        // Neither side's connections are left hanging.
        for (mut stream, _) in kept {
            let _ = stream.read_to_end(&mut Vec::new()).map_err(|error| {
                assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "a connection hangs");
            });
        }
        let error = wait(running);
        let said = error.to_string();
        assert!(said.contains(&format!("exec-{ends} panicked: a bomb in the loop")), "{said}");
        let report = error.report().expect("it has served");
        assert_eq!(report.accepted, accepted, "{said}");
        assert_eq!(report.finished + report.lost, accepted, "{said}");
    }
}

/// A start that cannot be is over, with the cause.
#[test]
fn a_panic_while_an_application_is_made_ends_the_start() {
    for ends in [0, 1] {
        let began = Instant::now();
        let started = Server::new(config()).on_task(|_, (): ()| ()).on_finish(|_, _| ()).start(
            move |executor: &Executor<(), ()>| {
                assert_ne!(executor.index(), ends, "no application for this one");
                tower::service_fn(move |_: Request<Incoming>| async move {
                    Ok::<_, Infallible>(Response::new(Full::new(bytes::Bytes::new())))
                })
            },
        );
        let said = started.err().expect("it cannot start").to_string();
        assert!(said.contains("no application for this one"), "{said}");
        assert!(said.contains(&format!("exec-{ends}")), "{said}");
        assert!(began.elapsed() < LIMIT);
    }
}
