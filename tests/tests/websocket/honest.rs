//! A client of another's making: tungstenite's, as browsers and servers use it.

use std::net::{SocketAddr, TcpStream};
use std::thread;

use sidecore::websocket::Closed;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message, WebSocket, client};

use crate::Served;

fn connect(address: SocketAddr, path: &str) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(address).expect("it accepts");
    client(format!("ws://{address}{path}"), stream).expect("a handshake").0
}

#[test]
fn texts_and_bytes_of_all_sizes_come_back() {
    let served = Served::start();
    let mut client = connect(served.running().address(), "/echo");
    for size in [0, 1, 125, 126, 4_095, 4_096, 4_097, 65_536, 500_000] {
        for message in [Message::text("\u{e9}".repeat(size / 2)), Message::binary(vec![3; size])] {
            client.send(message.clone()).expect("it takes it");
            assert_eq!(client.read().expect("an echo"), message);
        }
    }
    client.send(Message::Ping("there?".into())).expect("it takes it");
    assert_eq!(client.read().expect("a pong"), Message::Pong("there?".into()));
    let frame = CloseFrame { code: CloseCode::Normal, reason: "done".into() };
    client.close(Some(frame.clone())).expect("it takes it");
    assert_eq!(client.read().expect("a close"), Message::Close(Some(frame)));
    assert!(matches!(client.read(), Err(tungstenite::Error::ConnectionClosed)));
    let closed = Closed { code: Some(1000), reason: "done".to_owned() };
    assert_eq!(served.end(), (Ok(()), Some(closed)));
    served.stop();
}

#[test]
fn many_clients_at_once_get_their_own_answers() {
    let served = Served::start();
    let address = served.running().address();
    thread::scope(|scope| {
        for client in 0..32_u64 {
            scope.spawn(move || {
                let mut socket = connect(address, "/squares");
                for number in client * 100..client * 100 + 20 {
                    socket.send(Message::text(number.to_string())).expect("it takes it");
                    let square = socket.read().expect("a square");
                    assert_eq!(square, Message::text((number * number).to_string()));
                }
                socket.close(None).expect("it takes it");
                while socket.read().is_ok() {}
            });
        }
    });
    for _ in 0..32 {
        assert_eq!(served.end().0, Ok(()));
    }
    let report = served.stop();
    assert_eq!((report.finished, report.lost), (32 * 20, 0));
}
