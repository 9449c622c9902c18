//! The examples that push what tasks come to, as processes.

use std::net::TcpStream;

use sidecore_tests::{Client, ServerProcess, example_command, get};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message, client};

const VARIABLES: [(&str, &str); 1] = [("SIDECORE_TASK_WORKER_NUM", "1")];

#[test]
fn the_websocket_example_pushes_results_in_the_drain_too() {
    let server = ServerProcess::spawn(example_command("websocket", &VARIABLES));
    let page = get(server.address(), "/");
    assert_eq!((page.status, page.field("content-type")), (200, Some("text/html")));
    let stream = TcpStream::connect(server.address()).expect("it accepts");
    let (mut socket, _) = client(format!("ws://{}/", server.address()), stream).expect("open");
    let mut ask = |text: &str| {
        socket.send(Message::text(text)).expect("it takes it");
        socket.read().expect("an answer").into_text().expect("text").to_string()
    };
    assert_eq!(ask("10"), "fibonacci(10) = 55");
    assert_eq!(ask("-1"), "a number up to 45, please");
    assert_eq!(ask("46"), "a number up to 45, please");
    // More than may run at a time; the first takes long enough for the others to be read.
    let numbers: Vec<String> = std::iter::once(30).chain(0..30).map(|n| n.to_string()).collect();
    for number in &numbers {
        socket.send(Message::text(number.as_str())).expect("it takes it");
    }
    let mut texts = Vec::new();
    let mut terminated = false;
    loop {
        match socket.read().expect("a result or a close") {
            Message::Text(text) => texts.push(text.to_string()),
            Message::Close(frame) => {
                assert_eq!(frame.expect("a code").code, CloseCode::Away);
                break;
            }
            other => panic!("{other:?}"),
        }
        if texts.len() == numbers.len() && !std::mem::replace(&mut terminated, true) {
            // One more, which runs when the drain begins.
            socket.send(Message::text("32")).expect("it takes it");
            while get(server.address(), "/").status != 200 {}
            server.terminate();
        }
    }
    assert!(texts.iter().any(|text| text == "fibonacci(30) = 832040"), "{texts:?}");
    assert_eq!(texts.last().map(String::as_str), Some("fibonacci(32) = 2178309"));
    assert_eq!(texts.len(), numbers.len() + 1);
    while socket.read().is_ok() {}
    let ended = server.wait();
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!((ended.count("finished"), ended.count("lost")), (33, 0));
}

#[test]
fn the_sse_example_streams_progress_and_its_end() {
    let server = ServerProcess::spawn(example_command("sse", &VARIABLES));
    assert_eq!(get(server.address(), "/count?steps=0").status, 400);
    let mut client = Client::connect(server.address());
    client.send("GET /count?steps=5 HTTP/1.1\r\nHost: h\r\n\r\n");
    // The first event comes alone: nothing waits for the last.
    let head = client.until("event: progress\ndata: 1/5\n\n");
    assert!(head.contains("content-type: text/event-stream") && !head.contains("done"), "{head}");
    // In the drain the stream is brought to its end.
    server.terminate();
    let rest = String::from_utf8(client.rest()).expect("text");
    for step in 2..=5 {
        assert!(rest.contains(&format!("data: {step}/5\n\n")), "{rest}");
    }
    assert!(rest.contains("event: done\ndata: counted to 5\n\n"), "{rest}");
    let ended = server.wait();
    assert_eq!((ended.count("finished"), ended.count("lost")), (1, 0));
}
