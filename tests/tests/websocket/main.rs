//! WebSocket over real sockets: literal bytes, and tungstenite's client as an honest peer.

mod axum_routes;
mod ends;
mod frames;
mod gone;
mod handshake;
mod honest;
mod limits;
mod raw;

use std::convert::Infallible;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use sidecore::http::Upgrade;
use sidecore::lifecycle::Report;
use sidecore::websocket::{
    Closed, Message, WebSocket, WebSocketError, WebSocketUpgrade, close_code,
};
use sidecore::{Config, Incoming, Request, Response, Running, Server, Tasks};
use sidecore_tests::Client;

/// RFC 6455 §1.3: this key and this answer.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// A mask that shows.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
/// Opcodes with FIN.
const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

type Answer = Response<Full<Bytes>>;

/// How a WebSocket ended, as its application saw it.
type End = (Result<(), WebSocketError>, Option<Closed>);

struct Served {
    running: Option<Running>,
    ends: Receiver<End>,
}

impl Served {
    fn start() -> Served {
        Served::start_with(|_| {})
    }

    fn start_with(set: impl FnOnce(&mut Config)) -> Served {
        let mut config = Config::default();
        config.port = 0;
        config.options.worker_num = Some(1);
        config.options.task_worker_num = Some(1);
        config.options.linger_timeout_ms = 300;
        set(&mut config);
        let (told, ends) = channel();
        let told = Arc::new(Mutex::new(told));
        let running = Server::new(config)
            .on_task(|_, number: u64| number * number)
            .awaited()
            .start(move |executor| {
                let tasks = executor.tasks();
                let told = told.lock().expect("no panic").clone();
                tower::service_fn(move |request| {
                    let answer = answer(request, tasks.clone(), told.clone());
                    async move { Ok::<_, Infallible>(answer) }
                })
            })
            .expect("the server starts");
        Served { running: Some(running), ends }
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("it runs")
    }

    /// An open WebSocket.
    fn open(&self, path: &str) -> Peer {
        let mut client = Client::connect(self.running().address());
        client.send(request(path));
        let answer = client.answer();
        assert_eq!(answer.status, 101, "{answer:?}");
        Peer { client }
    }

    /// How the next WebSocket to end ended.
    fn end(&self) -> End {
        match self.ends.recv_timeout(Duration::from_secs(20)) {
            Ok(end) => end,
            Err(RecvTimeoutError::Timeout) => panic!("no WebSocket ends"),
            Err(RecvTimeoutError::Disconnected) => panic!("the server is gone"),
        }
    }

    fn stop(mut self) -> Report {
        let running = self.running.take().expect("it runs");
        running.shutdown().raise();
        running.wait().expect("it ends")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.shutdown().raise();
        }
    }
}

/// A client's side of an open WebSocket, by the byte.
struct Peer {
    client: Client,
}

impl Peer {
    fn send(&mut self, bytes: &[u8]) {
        self.client.send(bytes);
    }

    /// Reads one frame of the server's, which must be exactly this one.
    fn expect(&mut self, first: u8, payload: &[u8]) {
        let (found, received) = self.frame();
        assert_eq!((found, &*received), (first, payload));
    }

    /// Reads one frame of the server's: its first byte and its payload.
    fn frame(&mut self) -> (u8, Vec<u8>) {
        let head = self.client.exactly(2);
        assert_eq!(head[1] & 0x80, 0, "a server masks nothing");
        let length = match head[1] {
            126 => u16::from_be_bytes(self.client.exactly(2).try_into().unwrap()) as usize,
            127 => u64::from_be_bytes(self.client.exactly(8).try_into().unwrap()) as usize,
            length => length as usize,
        };
        (head[0], self.client.exactly(length))
    }

    /// Reads a close of this code and nothing behind it but the end of the connection.
    fn expect_close(&mut self, code: u16) {
        let (first, payload) = self.frame();
        assert_eq!((first, payload.get(..2)), (CLOSE, Some(&code.to_be_bytes()[..])));
        assert_eq!(self.client.rest(), b"", "something came behind the close");
    }
}

/// A masked frame: its first byte, and what it carries.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ ..126 => frame.push(0x80 | length as u8),
        length @ ..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn close(code: u16, reason: &str) -> Vec<u8> {
    frame(CLOSE, &[&code.to_be_bytes()[..], reason.as_bytes()].concat())
}

fn request(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
}

/// The application: what each path does with its WebSocket.
fn answer(mut request: Request<Incoming>, tasks: Tasks<u64, u64>, told: Sender<End>) -> Answer {
    let path = request.uri().path().to_owned();
    match path.as_str() {
        "/plain" => return Response::new("plain".into()),
        "/forged" => return raw::switching("websocket"),
        "/raw" => return raw::answer(Upgrade::take(&mut request)),
        "/raw/wait" | "/raw/lost" => return gone::raw(request, told),
        _ => {}
    }
    let upgrade = match WebSocketUpgrade::from_request(&mut request) {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    let ms = Duration::from_millis;
    let upgrade = match path.as_str() {
        "/small" => upgrade.message_size_max(10).frame_size_max(6),
        "/idle" => upgrade.idle_timeout(ms(300)),
        "/flood" => upgrade.write_timeout(ms(300)),
        "/steady" => upgrade.write_timeout(ms(1500)),
        "/farewell" => upgrade.close_timeout(ms(300)),
        "/lasting" => upgrade.close_at_shutdown(false),
        "/protocols" => upgrade.protocols(&["v2", "v1"]),
        _ => upgrade,
    };
    if path == "/denied" {
        let mut response: Answer = upgrade.on_upgrade(|_| async { unreachable!("it was denied") });
        *response.status_mut() = http::StatusCode::FORBIDDEN;
        return response;
    }
    upgrade.on_upgrade(move |mut socket| async move {
        let end = match path.as_str() {
            "/squares" => squares(&mut socket, &tasks).await,
            "/flood" | "/steady" => flood(&mut socket).await,
            "/push" => gone::push(&mut socket).await,
            "/wait" => return gone::wait(told).await,
            "/lost" => gone::is_lost(&mut socket).await,
            "/panic" => panic!("as this test means it to"),
            "/drop" => return,
            "/farewell" => return drop(told.send((socket.close(4001, "enough").await, None))),
            "/turns" => turns(&mut socket).await,
            "/lasting" => return drop(told.send((lasts(socket).await, None))),
            "/hold" => hold(&mut socket).await,
            _ => echo(&mut socket).await,
        };
        let _ = told.send((end, socket.closed().cloned()));
    })
}

async fn echo(socket: &mut WebSocket) -> Result<(), WebSocketError> {
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}

/// Pushes the output of a task for each number.
async fn squares(socket: &mut WebSocket, tasks: &Tasks<u64, u64>) -> Result<(), WebSocketError> {
    while let Some(message) = socket.recv().await? {
        let Message::Text(text) = message else { continue };
        let square = tasks.run(text.parse().expect("a number")).await.expect("a square");
        socket.send(Message::text(square.to_string())).await?;
    }
    Ok(())
}

/// Sends until it cannot.
async fn flood(socket: &mut WebSocket) -> Result<(), WebSocketError> {
    loop {
        socket.send(Message::binary(vec![7; 100_000])).await?;
    }
}

/// Counts how many messages come without a wait; sends the most when asked.
async fn turns(socket: &mut WebSocket) -> Result<(), WebSocketError> {
    let (mut turn, mut longest) = (0_u32, 0);
    loop {
        let received = std::future::poll_fn(|context| {
            let polled = socket.poll_recv(context);
            turn = if polled.is_ready() { turn + 1 } else { 0 };
            longest = longest.max(turn);
            polled
        });
        match received.await? {
            Some(Message::Text(text)) if *text == *"report" => {
                socket.send(Message::text(longest.to_string())).await?;
            }
            Some(_) => {}
            None => return Ok(()),
        }
    }
}

/// Waits for the shutdown, and closes in its own time.
async fn lasts(mut socket: WebSocket) -> Result<(), WebSocketError> {
    std::future::poll_fn(|context| socket.poll_draining(context)).await;
    let message = socket.recv().await?.expect("a message");
    socket.send(message).await?;
    socket.close(close_code::GOING_AWAY, "done").await
}

/// Takes one message, and then no notice of its peer for a while.
async fn hold(socket: &mut WebSocket) -> Result<(), WebSocketError> {
    let message = socket.recv().await?.expect("a message");
    sidecore_runtime::executor::sleep(Duration::from_millis(200)).await;
    socket.send(message).await?;
    echo(socket).await
}
