//! `hyper::upgrade::on` for protocols of the application's own, by the byte.

use std::io::{ErrorKind, Write};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::routing::get;
use http::StatusCode;
use http::header::{CONNECTION, UPGRADE};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use sidecore_tests::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{Served, config, text};

const LIMIT: Duration = Duration::from_secs(20);
const OFFER: &str = "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: own\r\n\r\n";

type Io = TokioIo<Upgraded>;
type Answer = (StatusCode, [(http::HeaderName, &'static str); 2]);

const SWITCHING: Answer =
    (StatusCode::SWITCHING_PROTOCOLS, [(CONNECTION, "upgrade"), (UPGRADE, "own")]);

/// A server that gives the upgraded connection to `run`, whose output the test is told.
fn serve<F>(
    run: impl Fn(Io) -> F + Copy + Send + Sync + 'static,
) -> (Served, mpsc::Receiver<String>)
where
    F: Future<Output = String> + Send + 'static,
{
    let (told, ends) = mpsc::channel();
    let told = Arc::new(Mutex::new(told));
    let served = Served::start(move || {
        let told = told.clone();
        let upgrades = move |mut request: Request| async move {
            let on_upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let end = run(TokioIo::new(on_upgrade.await.expect("an upgrade"))).await;
                let _ = told.lock().expect("no panic").send(end);
            });
            SWITCHING
        };
        Router::new().route("/", get(upgrades))
    });
    (served, ends)
}

fn offer(served: &Served) -> Client {
    let mut client = Client::connect(served.running().address());
    client.send(OFFER);
    let answer = client.answer();
    assert_eq!((answer.status, answer.field("upgrade")), (101, Some("own")));
    client
}

#[test]
fn a_peer_that_half_closes_still_gets_its_answer() {
    let (served, ends) = serve(|mut io| async move {
        let mut text = String::new();
        io.read_to_string(&mut text).await.expect("the peer's end");
        io.write_all(text.to_uppercase().as_bytes()).await.expect("it is taken");
        text
    });
    let mut client = offer(&served);
    client.send("hello, ");
    client.send("world");
    client.end();
    assert_eq!(client.rest(), b"HELLO, WORLD");
    assert_eq!(ends.recv_timeout(LIMIT).expect("an end"), "hello, world");
    served.stop();
}

#[test]
fn an_application_that_half_closes_still_reads() {
    let (served, ends) = serve(|mut io| async move {
        io.write_all(b"that is all").await.expect("it is taken");
        io.shutdown().await.expect("a half-close");
        let mut text = String::new();
        io.read_to_string(&mut text).await.expect("the peer's end");
        text
    });
    let mut client = offer(&served);
    assert_eq!(client.rest(), b"that is all");
    client.send("understood");
    client.end();
    assert_eq!(ends.recv_timeout(LIMIT).expect("an end"), "understood");
    served.stop();
}

/// It has half-closed before, so that only its drop tells that it is gone.
#[test]
fn an_application_that_drops_its_end_closes_the_connection() {
    let (served, ends) = serve(|mut io| async move {
        io.shutdown().await.expect("a half-close");
        let mut byte = [0];
        io.read_exact(&mut byte).await.expect("a byte");
        drop(io);
        "dropped".to_owned()
    });
    let mut client = offer(&served);
    assert_eq!(client.rest(), b"");
    client.send("x");
    assert_eq!(ends.recv_timeout(LIMIT).expect("an end"), "dropped");
    // The connection is over for the server too: none is left for the drain to wait for.
    let start = std::time::Instant::now();
    served.stop();
    assert!(start.elapsed() < Duration::from_secs(10));
}

/// A peer cannot make the server hold more than what has its limit; the rest stays with it.
#[test]
fn what_the_application_does_not_read_waits_with_the_peer() {
    const SIZE: usize = 64 << 20;
    let (served, ends) = serve(|mut io| async move {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mut count = 0;
        let mut piece = vec![0; 1 << 20];
        while let Ok(read @ 1..) = io.read(&mut piece).await {
            count += read;
        }
        count.to_string()
    });
    let mut client = offer(&served);
    let stream = client.stream();
    stream.set_nonblocking(true).expect("an option");
    let (bytes, mut sent) = (vec![7; 1 << 20], 0);
    let start = std::time::Instant::now();
    while start.elapsed() < Duration::from_millis(300) {
        match (&*stream).write(&bytes) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => panic!("{error}"),
        }
    }
    // The kernel's buffers of both ends have more than ours.
    assert!(sent < 24 << 20, "{sent} bytes were taken");
    stream.set_nonblocking(false).expect("an option");
    client.send(vec![7; SIZE - sent]);
    client.end();
    assert_eq!(ends.recv_timeout(LIMIT).expect("an end"), SIZE.to_string());
    served.stop();
}

/// A peer that reads nothing holds the application up, and is cut off in the end.
#[test]
fn a_peer_that_takes_nothing_is_cut_off() {
    let (told, ends) = mpsc::channel();
    let told = Arc::new(Mutex::new(told));
    let mut config = config();
    config.options.write_timeout_ms = 300;
    let router = move || {
        let told = told.clone();
        let floods = move |mut request: Request| async move {
            let on_upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut io = TokioIo::new(on_upgrade.await.expect("an upgrade"));
                let bytes = vec![7; 1 << 16];
                let mut count = 0_usize;
                while io.write_all(&bytes).await.is_ok() {
                    count += bytes.len();
                }
                let _ = told.lock().expect("no panic").send(count);
            });
            SWITCHING
        };
        Router::new().route("/", get(floods))
    };
    let served = Served::start_with(config, router, |_| {});
    let client = offer(&served);
    let taken = ends.recv_timeout(LIMIT).expect("it ends");
    assert!(taken < 32 << 20, "{taken} bytes were taken");
    drop(client);
    served.stop();
}

#[test]
fn a_lost_peer_is_told_by_the_next_read() {
    let (served, ends) = serve(|mut io| async move {
        let mut bytes = Vec::new();
        let end = io.read_to_end(&mut bytes).await.map_err(|error| error.kind());
        format!("{} {end:?}", bytes.len())
    });
    let mut client = offer(&served);
    client.send("hello");
    std::thread::sleep(Duration::from_millis(50));
    rustix::net::sockopt::set_socket_linger(client.stream(), Some(Duration::ZERO)).expect("set");
    drop(client);
    assert_eq!(ends.recv_timeout(LIMIT).expect("an end"), "5 Err(ConnectionReset)");
    served.stop();
}

/// Its end is read and nothing more, so that no receive is there to tell of the loss.
#[test]
fn a_peer_that_resets_after_its_end_is_let_go_though_nobody_reads_or_writes() {
    let (served, _ends) = serve(|mut io| async move {
        let mut bytes = Vec::new();
        io.read_to_end(&mut bytes).await.expect("the peer's end");
        std::future::pending().await
    });
    let mut client = offer(&served);
    client.end();
    std::thread::sleep(Duration::from_millis(100));
    rustix::net::sockopt::set_socket_linger(client.stream(), Some(Duration::ZERO)).expect("set");
    drop(client);
    // Longer than it may take to be seen.
    std::thread::sleep(Duration::from_secs(7));
    let start = std::time::Instant::now();
    served.stop();
    assert!(start.elapsed() < Duration::from_secs(5), "the drain waits for {:?}", start.elapsed());
}

/// No WebSocket is half-closed: what does not read, and has nothing to push, is not waited for.
#[test]
fn a_websocket_whose_peer_has_ended_is_let_go_though_nobody_reads_or_writes() {
    let mut config = config();
    config.options.half_close_timeout_ms = 400;
    let waits = |mut request: Request| async move {
        let on_upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let _io = on_upgrade.await.expect("an upgrade");
            std::future::pending::<()>().await;
        });
        (StatusCode::SWITCHING_PROTOCOLS, [(CONNECTION, "upgrade"), (UPGRADE, "websocket")])
    };
    let served = Served::start_with(config, move || Router::new().route("/", get(waits)), |_| {});
    let mut client = Client::connect(served.running().address());
    client.send(OFFER);
    assert_eq!(client.answer().status, 101);
    let start = std::time::Instant::now();
    client.end();
    assert_eq!(client.rest(), b"");
    assert!(start.elapsed() >= Duration::from_millis(390), "{:?}", start.elapsed());
    served.stop();
}

/// Reads 100 kB a second, of which the kernel sees less often than the limit asks for.
#[test]
fn a_reader_that_is_slow_and_steady_keeps_its_upgrade() {
    let mut config = config();
    config.options.write_timeout_ms = 1500;
    let floods = |mut request: Request| async move {
        let on_upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut io = TokioIo::new(on_upgrade.await.expect("an upgrade"));
            while io.write_all(&[7; 1 << 16]).await.is_ok() {}
        });
        SWITCHING
    };
    let served = Served::start_with(config, move || Router::new().route("/", get(floods)), |_| {});
    let mut client = offer(&served);
    let start = std::time::Instant::now();
    while start.elapsed() < Duration::from_secs(9) {
        client.exactly(10_000);
        std::thread::sleep(Duration::from_millis(100));
    }
    drop(client);
    served.stop();
}

/// Nothing would go on from it: the request fails, as any 101 without an upgrade does.
#[test]
fn a_101_whose_upgrade_was_dropped_is_refused() {
    let served = Served::start(|| {
        let keeps = |mut request: Request| async move {
            drop(hyper::upgrade::on(&mut request));
            SWITCHING
        };
        Router::new().route("/", get(keeps)).route("/untouched", get(|| async { SWITCHING }))
    });
    for path in ["/", "/untouched"] {
        let mut client = Client::connect(served.running().address());
        client.send(OFFER.replacen('/', path, 1));
        assert_eq!(client.answer().status, 500);
    }
    served.stop();
}

/// The end is dropped by another thread, maybe before the 101 is written: that is an upgrade, and a
/// short one.
#[test]
fn an_upgrade_that_is_dropped_at_once_is_one_nevertheless() {
    let (served, ends) = serve(|io| async move {
        drop(io);
        String::new()
    });
    for _ in 0..200 {
        let mut client = offer(&served);
        assert_eq!(client.rest(), b"");
        ends.recv_timeout(LIMIT).expect("an end");
    }
    served.stop();
}

/// Requests that offer nothing get nothing.
#[test]
fn without_an_offer_there_is_no_upgrade() {
    let served = Served::start(|| {
        let asks = |request: Request| async move {
            request.extensions().get::<OnUpgrade>().is_some().to_string()
        };
        Router::new().route("/", get(asks))
    });
    assert_eq!(text(&served.get("/")), "false");
    let mut client = Client::connect(served.running().address());
    client.send(OFFER);
    assert_eq!(text(&client.answer()), "true");
    assert_eq!(text(&client.request("GET", "/", "")), "false");
    served.stop();
}

/// The server does not know how the protocol says goodbye: it has the drain's time.
#[test]
fn at_shutdown_another_protocol_has_the_time_of_the_drain() {
    let (served, ends) = serve(|mut io| async move {
        let mut text = String::new();
        io.read_to_string(&mut text).await.expect("the peer's end");
        io.write_all(b"goodbye").await.expect("it is taken");
        text
    });
    let mut client = offer(&served);
    served.running().shutdown().raise();
    std::thread::sleep(Duration::from_millis(100));
    client.send("still here");
    client.end();
    assert_eq!(client.rest(), b"goodbye");
    assert_eq!(ends.recv_timeout(LIMIT).expect("an end"), "still here");
    served.stop();
}

struct TellOnDrop(Arc<Mutex<mpsc::Sender<()>>>);

impl Drop for TellOnDrop {
    fn drop(&mut self) {
        let _ = self.0.lock().expect("no panic").send(());
    }
}

#[test]
fn at_the_end_of_the_drain_it_is_cut_off() {
    let (told, ends) = mpsc::channel();
    let told = Arc::new(Mutex::new(told));
    let mut config = config();
    config.options.drain_timeout_ms = 200;
    let router = move || {
        let told = told.clone();
        let stays = move |mut request: Request| async move {
            let on_upgrade = hyper::upgrade::on(&mut request);
            // Its runtime ends with the server: it may be dropped before it has read anything.
            let ended = TellOnDrop(told);
            tokio::spawn(async move {
                let _ended = ended;
                let mut io = TokioIo::new(on_upgrade.await.expect("an upgrade"));
                let _ = io.read_u8().await;
            });
            SWITCHING
        };
        Router::new().route("/", get(stays))
    };
    let served = Served::start_with(config, router, |_| {});
    let mut client = offer(&served);
    served.stop();
    ends.recv_timeout(LIMIT).expect("it ends");
    assert_eq!(client.rest(), b"");
}
