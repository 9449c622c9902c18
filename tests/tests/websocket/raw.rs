//! Another protocol than WebSocket, of the application's own, over the same upgrade.

use http::StatusCode;
use http::header::{HeaderValue, UPGRADE};
use sidecore::Response;
use sidecore::http::Upgrade;
use sidecore_tests::Client;

use crate::{Answer, Served};

pub(crate) fn switching(protocol: &'static str) -> Answer {
    let mut response: Answer = Response::default();
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(UPGRADE, HeaderValue::from_static(protocol));
    response
}

/// Sends back what comes, in capitals, until the peer's end or the server's.
pub(crate) fn answer(upgrade: Option<Upgrade>) -> Answer {
    let Some(upgrade) = upgrade else { return Response::new("no upgrade".into()) };
    upgrade.then(|mut upgraded| async move {
        let mut bytes = Vec::new();
        while upgraded.recv(&mut bytes).await.is_ok_and(|count| count > 0) {
            bytes.make_ascii_uppercase();
            if upgraded.send(&bytes).await.is_err() {
                return;
            }
            bytes.clear();
        }
        let _ = upgraded.send(b"the end").await;
    });
    switching("capitals")
}

#[test]
fn bytes_go_both_ways_from_the_first_on() {
    let served = Served::start();
    let mut client = Client::connect(served.running().address());
    client.send(
        "GET /raw HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: capitals\r\n\r\nat once",
    );
    let answer = client.answer();
    assert_eq!((answer.status, answer.field("upgrade")), (101, Some("capitals")));
    assert_eq!(client.exactly(7), b"AT ONCE");
    client.send("GET / HTTP/1.1\r\n\r\n");
    assert_eq!(client.exactly(18), b"GET / HTTP/1.1\r\n\r\n");
    client.end();
    assert_eq!(client.rest(), b"the end");
    served.stop();
}

#[test]
fn a_request_without_an_offer_has_none() {
    let served = Served::start();
    let mut client = Client::connect(served.running().address());
    assert_eq!(client.request("GET", "/raw", "").body, b"no upgrade");
    served.stop();
}
