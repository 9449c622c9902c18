//! A client that holds its body back until it is told to go on (RFC 9110 §10.1.1).

use super::raw::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, SETTINGS, block, frame, request,
};
use super::*;

/// `:status: 100`, as a literal that is not indexed.
const GO_ON: &[u8] = b"\x08\x03100";

/// The head of an upload with more fields.
fn fields(path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let more = more.iter().flat_map(|(name, value)| {
        [&[0, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
    });
    block("POST", path).into_iter().chain(more).collect()
}

fn expecting(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &fields(path, &[("expect", "100-continue")]))
}

#[test]
fn a_client_that_waits_is_told_to_go_on() {
    let served = Served::start();
    let mut raw = served.raw();
    raw.begin(&[]);
    // The newest of an idle connection, and one beside others.
    for stream in [1, 3, 7] {
        raw.send(&expecting(stream, "/trailers"));
        let came = raw.until(HEADERS);
        assert_eq!((came.stream, came.flags), (stream, END_HEADERS));
        assert_eq!(came.payload, GO_ON);
        raw.send(&frame(DATA, END_STREAM, stream, b"body"));
        let came = raw.until(HEADERS);
        assert!(came.stream == stream && came.payload != GO_ON);
        assert_eq!(raw.until(DATA).payload, b"body");
    }
    served.end();
}

#[test]
fn h2s_client_sees_it_once() {
    let served = Served::start();
    block_on(async {
        let client = served.connect().await;
        let request = Request::post("https://localhost/trailers").header("expect", "100-continue");
        let mut send = client.send.clone().ready().await.unwrap();
        let (mut answer, mut stream) = send.send_request(request.body(()).unwrap(), false).unwrap();
        let told = std::future::poll_fn(|context| answer.poll_informational(context)).await;
        assert_eq!(told.unwrap().unwrap().status(), StatusCode::CONTINUE);
        stream.send_data(Bytes::from_static(b"body"), true).unwrap();
        assert_eq!(receive(answer).await.unwrap().text(), "body");
        // Fields of the connection's own making are nobody's.
        let fields = [("sidecore-stream", "1"), ("expect", "100-continue")];
        let got = client.ask(Method::POST, "/", &fields, b"12345".into()).await.unwrap();
        assert_eq!(got.text(), "12345");
    });
    served.end();
}

#[test]
fn it_is_told_only_where_the_body_is_wanted_and_has_not_come() {
    let served = Served::start();
    let mut raw = served.raw();
    raw.begin(&[]);
    // An answer that needs no body, a body that is there, a client that waits for nothing.
    raw.send(&expecting(1, "/unread"));
    raw.send(&[expecting(3, "/"), frame(DATA, END_STREAM, 3, b"body")].concat());
    raw.send(&frame(HEADERS, END_HEADERS, 5, &fields("/", &[])));
    raw.send(&frame(DATA, END_STREAM, 5, b"body"));
    raw.send(&request(7, "/unread"));
    let mut answered = 0;
    while answered < 4 {
        let came = raw.until(HEADERS);
        assert_ne!(came.payload, GO_ON, "{came:?}");
        answered += 1;
    }
    served.end();
}

#[test]
fn a_head_in_parts_is_known_too_and_a_small_table_is_left_alone() {
    let served = Served::start();
    let mut raw = served.raw();
    raw.begin(&[]);
    let block = fields("/trailers", &[("expect", "100-continue")]);
    let (first, second) = block.split_at(10);
    raw.send(&frame(HEADERS, 0, 1, first));
    raw.send(&frame(CONTINUATION, END_HEADERS, 1, second));
    assert_eq!(raw.until(HEADERS).payload, GO_ON);
    // From now on an answer of h2's own has to be the next one (RFC 7541 §4.2).
    raw.send(&frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0]));
    raw.send(&expecting(3, "/trailers"));
    raw.send(&frame(DATA, END_STREAM, 1, b"body"));
    assert_eq!(raw.until(HEADERS).stream, 1);
    raw.send(&frame(DATA, END_STREAM, 3, b"body"));
    let came = raw.until(HEADERS);
    assert!(came.stream == 3 && came.payload != GO_ON);
    served.end();
}
