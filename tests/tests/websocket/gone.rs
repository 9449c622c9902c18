//! Peers that are gone while the application neither reads nor writes, or only writes.

use std::io::Write;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use http::{Request, StatusCode};
use rustix::net::sockopt::set_socket_linger;
use sidecore::Incoming;
use sidecore::http::Upgrade;
use sidecore::websocket::{Message, WebSocket, WebSocketError};
use sidecore_runtime::executor::sleep;
use sidecore_tests::Client;

use crate::{Answer, End, Peer, Served, raw};

/// What an application that never learns of its peer's end is given.
const LIMIT: Duration = Duration::from_millis(400);

/// Says when it is dropped.
struct Told(Sender<End>);

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.0.send((Ok(()), None));
    }
}

/// Pushes now and then, and takes notice of nothing.
pub(crate) async fn push(socket: &mut WebSocket) -> Result<(), WebSocketError> {
    loop {
        socket.send(Message::text("tick")).await?;
        sleep(Duration::from_millis(20)).await;
    }
}

/// Waits for what never comes; tells of its drop.
pub(crate) async fn wait(told: Sender<End>) {
    let _told = Told(told);
    std::future::pending().await
}

pub(crate) async fn is_lost(socket: &mut WebSocket) -> Result<(), WebSocketError> {
    std::future::poll_fn(|context| socket.poll_lost(context)).await;
    Ok(())
}

/// Protocols of the application's own: one waits in vain, the other for the connection's loss.
pub(crate) fn raw(mut request: Request<Incoming>, told: Sender<End>) -> Answer {
    let waits = request.uri().path() == "/raw/wait";
    let Some(upgrade) = Upgrade::take(&mut request) else { return Answer::default() };
    upgrade.then(move |upgraded| async move {
        if waits {
            return wait(told).await;
        }
        upgraded.lost().await;
        let _ = told.send((Ok(()), None));
    });
    raw::switching("own")
}

fn served(limit: Duration) -> Served {
    Served::start_with(|config| config.options.half_close_timeout_ms = limit.as_millis() as u64)
}

fn reset(client: Client) {
    set_socket_linger(client.stream(), Some(Duration::ZERO)).expect("a linger time");
}

fn open_raw(served: &Served, path: &str) -> Client {
    let mut client = Client::connect(served.running().address());
    client.send(format!(
        "GET {path} HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: own\r\n\r\n"
    ));
    assert_eq!(client.answer().status, StatusCode::SWITCHING_PROTOCOLS.as_u16());
    client
}

#[test]
fn who_only_pushes_learns_that_its_peer_is_gone() {
    let served = Served::start();
    for leave in [reset as fn(Client), drop] {
        let mut peer = served.open("/push");
        assert_eq!(peer.frame().1, b"tick");
        leave(peer.client);
        let (end, _) = served.end();
        let error = end.expect_err("it is lost");
        assert!(matches!(error, WebSocketError::Lost(_)), "{error:?}");
        let source = std::error::Error::source(&error).expect("what the system said");
        assert!(source.is::<std::io::Error>(), "{source:?}");
    }
    served.stop();
}

#[test]
fn a_websocket_that_waits_is_told_at_once_that_its_peer_is_gone() {
    let served = Served::start();
    for leave in [reset as fn(Client), drop] {
        let Peer { client } = served.open("/lost");
        std::thread::sleep(Duration::from_millis(50));
        assert!(served.ends.try_recv().is_err(), "its peer is there");
        let start = Instant::now();
        leave(client);
        assert_eq!(served.end(), (Ok(()), None));
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    }
    served.stop();
}

/// As a handler is whose client has gone: nobody would end it otherwise.
#[test]
fn a_websocket_that_takes_no_notice_is_dropped_in_the_end() {
    let served = served(LIMIT);
    for leave in [reset as fn(Client), drop] {
        let Peer { client } = served.open("/wait");
        let start = Instant::now();
        leave(client);
        assert_eq!(served.end(), (Ok(()), None));
        assert!(start.elapsed() >= LIMIT, "{:?}", start.elapsed());
    }
    served.stop();
}

#[test]
fn a_reset_reaches_who_waits_with_an_upgraded_connection() {
    let lost = Served::start();
    reset(open_raw(&lost, "/raw/lost"));
    assert_eq!(lost.end(), (Ok(()), None));
    lost.stop();
    let served = served(LIMIT);
    reset(open_raw(&served, "/raw/wait"));
    assert_eq!(served.end(), (Ok(()), None));
    // Behind more bytes than are received for an application that takes none.
    let client = open_raw(&served, "/raw/wait");
    client.stream().set_nonblocking(true).expect("not blocking");
    let _ = client.stream().write(&[7; 300_000]).expect("some room");
    std::thread::sleep(Duration::from_millis(100));
    reset(client);
    assert_eq!(served.end(), (Ok(()), None));
    served.stop();
}

/// What the end of one side means is its own to know; and it is seen when the other side ends too.
#[test]
fn an_upgraded_connection_outlives_its_peers_half_close() {
    let served = served(LIMIT);
    let mut client = open_raw(&served, "/raw/wait");
    client.end();
    std::thread::sleep(3 * LIMIT);
    assert!(served.ends.try_recv().is_err(), "it was dropped");
    reset(client);
    assert_eq!(served.end(), (Ok(()), None));
    served.stop();
}

/// 100 kB a second: the kernel takes more only each few seconds, as it has room by large steps.
#[test]
fn a_reader_that_is_slow_and_steady_keeps_its_websocket() {
    let served = Served::start();
    let mut peer = served.open("/steady");
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(11) {
        peer.client.exactly(10_000);
        std::thread::sleep(Duration::from_millis(100));
        assert!(served.ends.try_recv().is_err(), "given up after {:?}", start.elapsed());
    }
    // One that takes nothing any more is not waited for.
    assert_eq!(served.end(), (Err(WebSocketError::TooSlow), None));
    served.stop();
}
