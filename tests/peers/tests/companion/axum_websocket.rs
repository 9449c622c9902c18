//! axum's own WebSocket, in a `Router` as it is, with tungstenite's client as the peer.

use std::io::ErrorKind::Interrupted;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::any;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use sidecore::Server;
use sidecore::http::tls::Certificates;
use sidecore_tests::{Client, Scratch, Steady, wait_until};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message as Sent, WebSocket as Peer};

use crate::{Served, config, text};

const LIMIT: Duration = Duration::from_secs(20);

/// What a handler's task tells a test.
type Told = Arc<Mutex<mpsc::Sender<String>>>;

fn told() -> (Told, mpsc::Receiver<String>) {
    let (sender, receiver) = mpsc::channel();
    (Arc::new(Mutex::new(sender)), receiver)
}

fn tell(told: &Told, what: impl Into<String>) {
    let _ = told.lock().expect("no panic").send(what.into());
}

struct TellOnDrop(Told);

impl Drop for TellOnDrop {
    fn drop(&mut self) {
        tell(&self.0, "ended");
    }
}

async fn echo(mut socket: WebSocket, told: Told) {
    let end = loop {
        match socket.recv().await {
            Some(Ok(Message::Close(frame))) => {
                break format!("closed {:?}", frame.map(|frame| frame.code));
            }
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                if let Err(error) = socket.send(message).await {
                    break format!("no send: {error}");
                }
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => break format!("failed: {error}"),
            None => break "over".to_owned(),
        }
    };
    // What the protocol has to say is said by reading on.
    while socket.recv().await.is_some_and(|message| message.is_ok()) {}
    tell(&told, end);
}

fn router(told: Told) -> Router {
    let echoes = move |upgrade: WebSocketUpgrade| async move {
        upgrade.on_upgrade(move |socket| echo(socket, told))
    };
    Router::new().route("/echo", any(echoes)).route("/plain", any(|| async { "plain" }))
}

fn connect(address: SocketAddr, path: &str) -> Peer<Steady> {
    let stream = Steady::connect(address);
    tungstenite::client(format!("ws://{address}{path}"), stream).expect("a handshake").0
}

fn request(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
}

#[test]
fn messages_of_all_sizes_come_back_and_pings_and_closes_are_answered() {
    let (told, ends) = told();
    let served = Served::start(move || router(told.clone()));
    let mut peer = connect(served.running().address(), "/echo");
    for size in [0, 1, 125, 126, 65_535, 65_536, 500_000, 1 << 20] {
        for message in [Sent::text("\u{e9}".repeat(size / 2)), Sent::binary(vec![3; size])] {
            peer.send(message.clone()).expect("it takes it");
            assert!(
                peer.read().expect("an echo") == message,
                "another message than that of {size} bytes"
            );
        }
    }
    peer.send(Sent::Ping("there?".into())).expect("it takes it");
    assert_eq!(peer.read().expect("a pong"), Sent::Pong("there?".into()));
    let frame = CloseFrame { code: CloseCode::Normal, reason: "done".into() };
    peer.close(Some(frame.clone())).expect("it takes it");
    assert_eq!(peer.read().expect("a close"), Sent::Close(Some(frame)));
    assert!(matches!(peer.read(), Err(tungstenite::Error::ConnectionClosed)));
    assert_eq!(ends.recv_timeout(LIMIT).expect("an end"), "closed Some(1000)");
    served.stop();
}

#[test]
fn many_peers_at_once_get_their_own_answers() {
    let (told, ends) = told();
    let served = Served::start(move || router(told.clone()));
    let address = served.running().address();
    thread::scope(|scope| {
        for client in 0..32_u64 {
            scope.spawn(move || {
                let mut peer = connect(address, "/echo");
                for number in client * 100..client * 100 + 20 {
                    let message = Sent::text(number.to_string());
                    peer.send(message.clone()).expect("it takes it");
                    assert_eq!(peer.read().expect("an echo"), message);
                }
                peer.close(None).expect("it takes it");
                while peer.read().is_ok() {}
            });
        }
    });
    for _ in 0..32 {
        assert_eq!(ends.recv_timeout(LIMIT).expect("an end"), "closed None");
    }
    served.stop();
}

/// A reset, and an end without a close: the task of axum's ends either way.
#[test]
fn a_peer_that_leaves_without_a_word_ends_the_task() {
    let (told, ends) = told();
    let served = Served::start(move || router(told.clone()));
    for is_reset in [true, false] {
        let mut peer = connect(served.running().address(), "/echo");
        peer.send(Sent::text("hello")).expect("it takes it");
        assert_eq!(peer.read().expect("an echo"), Sent::text("hello"));
        if is_reset {
            let linger = Some(Duration::ZERO);
            rustix::net::sockopt::set_socket_linger(&peer.get_ref().0, linger).expect("an option");
        }
        drop(peer);
        let end = ends.recv_timeout(LIMIT).expect("an end");
        assert!(end.starts_with("failed: "), "{end}");
    }
    served.stop();
}

#[test]
fn at_shutdown_peers_are_told_1001_and_the_application_reads_their_answer() {
    let (told, ends) = told();
    let mut served = Served::start(move || router(told.clone()));
    let address = served.running().address();
    let mut peers: Vec<_> = (0..10).map(|_| connect(address, "/echo")).collect();
    for peer in &mut peers {
        peer.send(Sent::text("hello")).expect("it takes it");
        assert_eq!(peer.read().expect("an echo"), Sent::text("hello"));
    }
    let running = served.running.take().expect("it runs");
    running.shutdown().raise();
    for peer in &mut peers {
        let frame = CloseFrame { code: CloseCode::Away, reason: "the server shuts down".into() };
        assert_eq!(peer.read().expect("a close"), Sent::Close(Some(frame)));
        // Reading on sends the answer, and finds the end of the connection and nothing before it.
        assert!(matches!(peer.read(), Err(tungstenite::Error::ConnectionClosed)));
    }
    running.wait().expect("it ends");
    for _ in 0..10 {
        assert_eq!(ends.recv_timeout(LIMIT).expect("an end"), "closed Some(1001)");
    }
}

/// The message is larger than all buffers on the way: its frame has begun when the close is due.
#[test]
fn at_shutdown_a_frame_that_has_begun_comes_whole_before_the_close() {
    const SIZE: usize = 12 << 20;
    let (told, begun) = told();
    let mut served = Served::start(move || {
        let told = told.clone();
        let sends = move |upgrade: WebSocketUpgrade| async move {
            upgrade.on_upgrade(move |mut socket| async move {
                tell(&told, "begins");
                let sent = socket.send(Message::Binary(vec![7; SIZE].into())).await;
                assert!(sent.is_ok(), "{sent:?}");
                while let Some(Ok(_)) = socket.recv().await {}
                tell(&told, "over");
            })
        };
        Router::new().route("/", any(sends))
    });
    let mut peer = connect(served.running().address(), "/");
    assert_eq!(begun.recv_timeout(LIMIT).expect("it begins"), "begins");
    // The frame has begun when its first byte has come.
    while peer.get_ref().0.peek(&mut [0]).is_err_and(|error| error.kind() == Interrupted) {}
    let running = served.running.take().expect("it runs");
    running.shutdown().raise();
    thread::sleep(Duration::from_millis(50));
    assert!(peer.read().expect("the message") == Sent::binary(vec![7; SIZE]));
    assert!(matches!(peer.read(), Ok(Sent::Close(Some(frame))) if frame.code == CloseCode::Away));
    while peer.read().is_ok() {}
    drop(peer);
    running.wait().expect("it ends");
    assert_eq!(begun.recv_timeout(LIMIT).expect("it ends"), "over");
}

/// One that sends for ever and never reads cannot keep the server from its end.
fn check_end_of_who_only_sends(pause: Duration) {
    let (told, ends) = told();
    let mut served = Served::start(move || {
        let told = told.clone();
        let ticks = move |upgrade: WebSocketUpgrade| async move {
            upgrade.on_upgrade(move |mut socket| async move {
                // It may be dropped with its runtime before its next send fails.
                let _ended = TellOnDrop(told);
                while socket.send(Message::Text("tick".into())).await.is_ok() {
                    if !pause.is_zero() {
                        tokio::time::sleep(pause).await;
                    }
                }
            })
        };
        Router::new().route("/", any(ticks))
    });
    let mut peer = connect(served.running().address(), "/");
    assert_eq!(peer.read().expect("a tick"), Sent::text("tick"));
    let running = served.running.take().expect("it runs");
    running.shutdown().raise();
    let start = Instant::now();
    let mut closes = 0;
    while let Ok(message) = peer.read() {
        closes += u32::from(message.is_close());
        assert!(message.is_close() == (closes == 1), "{message} came behind the close");
    }
    drop(peer);
    running.wait().expect("it ends");
    assert_eq!((closes, ends.recv_timeout(LIMIT)), (1, Ok("ended".to_owned())));
    // The peer has closed its side, so nobody waited for an answer.
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}

#[test]
fn at_shutdown_an_application_that_only_sends_is_ended() {
    check_end_of_who_only_sends(Duration::from_millis(1));
}

#[test]
fn at_shutdown_an_application_that_never_pauses_is_ended() {
    check_end_of_who_only_sends(Duration::ZERO);
}

#[test]
fn with_another_answer_the_connection_goes_on_as_http() {
    let (told, ends) = told();
    let failures = Arc::new(AtomicU64::new(0));
    let failed = failures.clone();
    let served = Served::start(move || {
        let (told, failed) = (told.clone(), failed.clone());
        // As a layer does that answers in its stead: the upgrade was promised and is not kept.
        let denies = move |upgrade: WebSocketUpgrade| async move {
            let upgrade = upgrade.on_failed_upgrade(move |_| {
                failed.fetch_add(1, Ordering::Release);
            });
            drop::<Response>(upgrade.on_upgrade(|_| async { unreachable!("it was denied") }));
            http::StatusCode::FORBIDDEN
        };
        let ignores = |_upgrade: WebSocketUpgrade| async { "ignored" };
        router(told).route("/denied", any(denies)).route("/ignored", any(ignores))
    });
    let mut client = Client::connect(served.running().address());
    for round in 1..=3 {
        client.send(request("/denied"));
        assert_eq!(client.answer().status, 403);
        wait_until("the failure is told", || failures.load(Ordering::Acquire) == round);
        client.send(request("/ignored"));
        assert_eq!(text(&client.answer()), "ignored");
        client.send(request("/plain"));
        assert_eq!(text(&client.answer()), "plain");
    }
    client.send(request("/echo"));
    let answer = client.answer();
    assert_eq!((answer.status, answer.field("upgrade")), (101, Some("websocket")));
    // RFC 6455 §1.3.
    assert_eq!(answer.field("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    client.send(b"\x81\x82\x00\x00\x00\x00hi\x88\x80\x00\x00\x00\x00");
    assert_eq!(client.rest(), b"\x81\x02hi\x88\x00");
    assert_eq!(ends.recv_timeout(LIMIT).expect("an end"), "closed None");
    served.stop();
}

/// What comes behind the head, in the same bytes, is the WebSocket's.
#[test]
fn frames_that_come_with_the_request_are_not_lost() {
    let (told, _ends) = told();
    let served = Served::start(move || router(told.clone()));
    let mut client = Client::connect(served.running().address());
    let frames = b"\x81\x82\x00\x00\x00\x00hi\x88\x80\x00\x00\x00\x00";
    client.send([request("/echo").as_bytes(), frames].concat());
    assert_eq!(client.answer().status, 101);
    assert_eq!(client.rest(), b"\x81\x02hi\x88\x00");
    served.stop();
}

/// Both extractors in one router.
#[test]
fn our_own_extractor_works_beside_it() {
    let (told, _ends) = told();
    let served = Served::start(move || {
        let own = |upgrade: sidecore::websocket::WebSocketUpgrade| async move {
            upgrade.on_upgrade::<_, axum::body::Body>(|mut socket| async move {
                while let Ok(Some(message)) = socket.recv().await {
                    let _ = socket.send(message).await;
                }
            })
        };
        router(told.clone()).route("/own", any(own))
    });
    for path in ["/own", "/echo"] {
        let mut peer = connect(served.running().address(), path);
        peer.send(Sent::text(path)).expect("it takes it");
        assert_eq!(peer.read().expect("an echo"), Sent::text(path));
        peer.close(None).expect("it takes it");
        while peer.read().is_ok() {}
    }
    served.stop();
}

#[test]
fn it_works_over_tls() {
    let scratch = Scratch::new("companion-websocket-tls");
    let (pem, key) = (scratch.path().join("own.pem"), scratch.path().join("own.key"));
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("one");
    std::fs::write(&pem, made.cert.pem()).expect("a file");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
    let (told, ends) = told();
    let certificates = Certificates::from_pem_files(&pem, &key).expect("they are whole");
    let server = Server::new(config()).with_tokio().tls(certificates);
    let running = server.start(move |_| router(told.clone())).expect("the server starts");

    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&pem).expect("one")).expect("it is taken");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = Arc::new(client);
    let connect = || {
        let name = ServerName::try_from("localhost").expect("a name");
        let session = rustls::ClientConnection::new(client.clone(), name).expect("a session");
        let stream = rustls::StreamOwned::new(session, Steady::connect(running.address()));
        tungstenite::client("wss://localhost/echo", stream).expect("a handshake").0
    };
    let mut peer = connect();
    for message in [Sent::text("hello"), Sent::binary(vec![5; 1 << 20])] {
        peer.send(message.clone()).expect("it takes it");
        assert!(peer.read().expect("an echo") == message);
    }
    // An end that TLS does not say is told apart from the peer's own.
    drop(peer);
    let end = ends.recv_timeout(LIMIT).expect("an end");
    assert!(end.starts_with("failed: "), "{end}");
    let mut peer = connect();
    peer.send(Sent::text("hello")).expect("it takes it");
    assert_eq!(peer.read().expect("an echo"), Sent::text("hello"));
    running.shutdown().raise();
    assert!(matches!(peer.read(), Ok(Sent::Close(Some(frame))) if frame.code == CloseCode::Away));
    while peer.read().is_ok() {}
    running.wait().expect("it ends");
    assert_eq!(ends.recv_timeout(LIMIT).expect("an end"), "closed Some(1001)");
}

/// For a look: `cargo test -p sidecore-tests-peers --test companion echo -- --ignored --nocapture`.
#[test]
#[ignore = "prints times, which say something on a quiet machine only"]
fn an_echo_beside_our_own_extractor() {
    const ROUNDS: u32 = 5_000;
    let (told, _ends) = told();
    let served = Served::start(move || {
        let own = |upgrade: sidecore::websocket::WebSocketUpgrade| async move {
            upgrade.on_upgrade::<_, axum::body::Body>(|mut socket| async move {
                while let Ok(Some(message)) = socket.recv().await {
                    let _ = socket.send(message).await;
                }
            })
        };
        router(told.clone()).route("/own", any(own))
    });
    for path in ["/own", "/echo", "/own", "/echo"] {
        let mut peer = connect(served.running().address(), path);
        let mut times: Vec<_> = (0..ROUNDS)
            .map(|_| {
                let start = Instant::now();
                peer.send(Sent::text("hello")).expect("it takes it");
                peer.read().expect("an echo");
                start.elapsed()
            })
            .collect();
        times.sort_unstable();
        let at = |part: u32| times[(ROUNDS * part / 100) as usize];
        println!("{path}: p50 {:?}, p99 {:?}", at(50), at(99));
        let _ = peer.close(None);
        while peer.read().is_ok() {}
    }
    served.stop();
}
