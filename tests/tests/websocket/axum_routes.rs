//! The upgrade as an extractor of axum.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::any;
use sidecore::websocket::{Message, WebSocketUpgrade};
use sidecore::{Config, Server};
use sidecore_tests::Client;

use crate::request;

/// A handler of axum's is `Send`; what goes on with the WebSocket need not be.
async fn greets(
    upgrade: WebSocketUpgrade,
    State(greeting): State<&'static str>,
    Path(name): Path<String>,
) -> Response {
    upgrade.on_upgrade(move |mut socket| async move {
        let not_send = std::rc::Rc::new(name);
        while let Ok(Some(_)) = socket.recv().await {
            let text = format!("{greeting} {not_send}");
            if socket.send(Message::text(text)).await.is_err() {
                return;
            }
        }
    })
}

#[test]
fn it_is_an_extractor_beside_others_and_its_rejection_an_answer() {
    let mut config = Config::default();
    config.port = 0;
    config.options.task_worker_num = Some(0);
    let running = Server::new(config)
        .start(|_| Router::new().route("/hello/{name}", any(greets)).with_state("hello"))
        .expect("the server starts");
    let mut client = Client::connect(running.address());
    let refused = client.request("GET", "/hello/ada", "");
    assert_eq!((refused.status, refused.field("upgrade")), (426, Some("websocket")));
    assert_eq!(client.request("POST", "/hello/ada", "").status, 405);
    client.send(request("/hello/ada"));
    assert_eq!(client.answer().status, 101);
    client.send(crate::frame(crate::TEXT, b""));
    assert_eq!(client.exactly(11), b"\x81\x09hello ada");
    client.send(crate::close(1000, ""));
    assert_eq!(client.exactly(4), b"\x88\x02\x03\xe8");
    assert_eq!(client.rest(), b"");
    running.shutdown().raise();
    running.wait().expect("it ends");
}
