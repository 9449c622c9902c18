//! Each message that is a number becomes a task; its result is pushed when it is there, while
//! further messages are read. No tokio runs.
//!
//! ```sh
//! cargo run --release --features websocket --example websocket
//! websocat ws://127.0.0.1:8080/            # then lines such as 30, 44, 20
//! ```
//!
//! Or open <http://127.0.0.1:8080/> in a browser, which gets a page that does the same. Ctrl-C ends
//! the server: clients get the results of their tasks that run, and are then told (1001).

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use sidecore::websocket::{Message, WebSocket, WebSocketError, WebSocketUpgrade, close_code};
use sidecore::{Config, Incoming, Request, Response, Server, Tasks};

/// Tasks that one client may have at a time; with so many its messages wait.
const RUNNING_MAX: usize = 16;

const PAGE: &str = "<!doctype html><meta charset=utf-8><title>fibonacci</title>
<input id=n type=number value=30><button onclick='socket.send(n.value)'>send</button><pre id=log></pre>
<script>
const socket = new WebSocket(location.href.replace('http', 'ws'));
const say = text => log.textContent += text + '\\n';
socket.onmessage = event => say(event.data);
socket.onclose = event => say(`closed: ${event.code} ${event.reason}`);
</script>";

fn main() -> sidecore::Result<()> {
    let report = Server::new(Config::load()?)
        .on_task(|_task, n: u32| fibonacci(n))
        .on_finish(|finish, _| eprintln!("nobody waited for task {}", finish.id))
        .serve(|executor| {
            let tasks = executor.tasks();
            tower::service_fn(move |request| {
                let response = answer(request, &tasks);
                async move { Ok::<_, Infallible>(response) }
            })
        })?;
    eprintln!("{report}");
    Ok(())
}

fn answer(mut request: Request<Incoming>, tasks: &Tasks<u32, u64>) -> Response<Full<Bytes>> {
    if !request.headers().contains_key("upgrade") {
        let page = Response::builder().header("content-type", "text/html").body(PAGE.into());
        return page.expect("a response");
    }
    let tasks = tasks.clone();
    match WebSocketUpgrade::from_request(&mut request) {
        Ok(upgrade) => {
            let upgrade = upgrade.message_size_max(64).close_at_shutdown(false);
            upgrade.on_upgrade(|socket| async move {
                if let Err(error) = serve(socket, tasks).await {
                    eprintln!("a client ended: {error}");
                }
            })
        }
        Err(rejection) => rejection.into_response(),
    }
}

/// What the next thing to happen is.
enum Event {
    Message(Message),
    Result(String),
    Closed,
    /// The server shuts down, and no task of this client runs.
    Drained,
}

type Running = Pin<Box<dyn Future<Output = String>>>;

async fn serve(mut socket: WebSocket, tasks: Tasks<u32, u64>) -> Result<(), WebSocketError> {
    let mut running: Vec<Running> = Vec::new();
    loop {
        match poll_fn(|context| next(&mut socket, &mut running, context)).await? {
            Event::Result(text) => socket.send(Message::text(text)).await?,
            Event::Message(message) => running.push(Box::pin(run(message, tasks.clone()))),
            Event::Closed => return Ok(()),
            Event::Drained => return socket.close(close_code::GOING_AWAY, "goodbye").await,
        }
    }
}

/// The result of a task that has ended, or else a message.
fn next(
    socket: &mut WebSocket,
    running: &mut Vec<Running>,
    context: &mut Context<'_>,
) -> Poll<Result<Event, WebSocketError>> {
    for at in 0..running.len() {
        if let Poll::Ready(text) = running[at].as_mut().poll(context) {
            drop(running.swap_remove(at));
            return Poll::Ready(Ok(Event::Result(text)));
        }
    }
    match socket.poll_draining(context) {
        Poll::Ready(()) if running.is_empty() => return Poll::Ready(Ok(Event::Drained)),
        Poll::Ready(()) => return Poll::Pending,
        Poll::Pending if running.len() == RUNNING_MAX => return Poll::Pending,
        Poll::Pending => {}
    }
    let received = socket.poll_recv(context);
    received.map_ok(|message| message.map_or(Event::Closed, Event::Message))
}

async fn run(message: Message, tasks: Tasks<u32, u64>) -> String {
    let Message::Text(text) = message else { return "a number, please".to_owned() };
    match text.trim().parse() {
        Ok(n @ ..=45) => match tasks.run(n).await {
            Ok(value) => format!("fibonacci({n}) = {value}"),
            // Every worker is busy and the queue is full, for instance.
            Err(error) => format!("fibonacci({n}): {error}"),
        },
        _ => "a number up to 45, please".to_owned(),
    }
}

/// By its definition, which takes its time.
fn fibonacci(n: u32) -> u64 {
    match n {
        0 | 1 => n.into(),
        n => fibonacci(n - 1) + fibonacci(n - 2),
    }
}
