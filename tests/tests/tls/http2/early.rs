//! Answers to bodies that nobody reads.

use std::process::Command;
use std::time::Instant;

use super::plain::start_plain;
use super::raw::*;
use super::*;

const LARGE_BYTES: usize = 5 << 20;

#[test]
fn an_answer_to_an_unread_body_reaches_who_sends_all_of_it_first() {
    let served = Served::start();
    let running = start_plain(|_| {});
    block_on(async {
        let clients = [served.connect().await, H2::plain(running.address()).await];
        for client in clients {
            for n in 0..20 {
                let got = client.post("/unread", pattern(LARGE_BYTES)).await;
                assert_eq!(got.unwrap_or_else(|error| panic!("{n}: {error}")).text(), "not read");
            }
            for _ in 0..20 {
                let got = client.post("/status/404", pattern(LARGE_BYTES)).await.unwrap();
                assert_eq!(got.text(), "text");
            }
            // Nothing is missing of the connection's window.
            let got = client.post("/mirror", pattern(LARGE_BYTES)).await.unwrap();
            assert!(got.body == pattern(LARGE_BYTES));
        }
    });
    end(running);
    served.end();
}

#[test]
fn curl_gets_an_answer_to_a_body_that_is_not_read() {
    let running = start_plain(|_| {});
    let directory = sidecore_tests::Scratch::new("http2-early");
    let file = directory.path().join("body");
    std::fs::write(&file, pattern(LARGE_BYTES)).unwrap();
    let url = format!("http://{}/status/404", running.address());
    for expect in ["Expect:", "Expect: 100-continue"] {
        let upload = format!("@{}", file.display());
        let curl = Command::new("curl")
            .args([
                "-sS",
                "--max-time",
                "10",
                "--http2-prior-knowledge",
                "-H",
                expect,
                "--data-binary",
                &upload,
                &url,
            ])
            .output();
        let Ok(output) = curl else { return };
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!((text, output.status.code()), ("text".into(), Some(0)), "{output:?}");
    }
    end(running);
}

/// Sends DATA as the windows allow, up to so many bytes; how many it were before the reset.
fn pour_unread(raw: &mut Raw<TcpStream>, stream: u32, bytes: usize) -> usize {
    let (mut room, mut sent) = (256 << 10, 0);
    while sent < bytes {
        while room >= 16_384 {
            raw.send(&frame(DATA, 0, stream, &[0; 16_384]));
            (room, sent) = (room - 16_384, sent + 16_384);
        }
        let came = raw.next().expect("the connection lives");
        match came.kind {
            RST_STREAM => {
                assert_eq!((came.stream, came.code()), (stream, NO_ERROR));
                return sent;
            }
            WINDOW_UPDATE if came.stream == stream => {
                room += u32::from_be_bytes(came.payload.try_into().unwrap()) as usize;
            }
            WINDOW_UPDATE => {}
            kind => panic!("{kind}"),
        }
    }
    sent
}

/// Asks with a body to come, and has the whole answer.
fn ask_early(raw: &mut Raw<TcpStream>, stream: u32) {
    raw.send(&upload(stream, "/status/404"));
    let came = raw.until(DATA);
    assert_eq!((came.stream, &came.payload[..]), (stream, &b"text"[..]));
    assert_eq!(came.flags & END_STREAM, END_STREAM);
}

/// The answer comes at once; of the body, more is taken and its window given back, until the client
/// pauses or sends too much. Then it is told that the rest is not wanted (RFC 9113 §8.1).
#[test]
fn what_comes_after_the_answer_is_thrown_away_up_to_a_bound() {
    let running = start_plain(|_| {});
    let mut raw = Raw::plain(running.address());
    raw.begin(&[]);
    raw.send(&frame(SETTINGS, ACK, 0, b""));
    ask_early(&mut raw, 1);
    assert!(pour_unread(&mut raw, 1, LARGE_BYTES) >= LARGE_BYTES);
    raw.send(&frame(DATA, END_STREAM, 1, b""));
    raw.ping([1; 8]);
    ask_early(&mut raw, 3);
    let start = Instant::now();
    let came = raw.until(RST_STREAM);
    assert_eq!((came.stream, came.code()), (3, NO_ERROR));
    assert!(start.elapsed() >= Duration::from_millis(150), "{:?}", start.elapsed());
    ask_early(&mut raw, 5);
    let sent = pour_unread(&mut raw, 5, 80 << 20);
    assert!(((64 << 20)..(66 << 20)).contains(&sent), "{sent}");
    // Nothing is missing of the connection's window.
    raw.send(&upload(7, "/mirror"));
    for _ in 0..16 {
        raw.send(&frame(DATA, 0, 7, &[0; 16_384]));
    }
    let mut mirrored = 0;
    while mirrored < 60_000 {
        mirrored += raw.until(DATA).payload.len();
    }
    end(running);
}

/// curl 7.88 would wait for ever for a word more.
#[test]
fn after_an_answer_of_success_a_client_is_told_to_stop_at_once() {
    let running = start_plain(|config| config.options.linger_timeout_ms = 60_000);
    let mut raw = Raw::plain(running.address());
    raw.begin(&[]);
    raw.send(&upload(1, "/unread"));
    assert_eq!(raw.until(DATA).payload, b"not read");
    let came = raw.until(RST_STREAM);
    assert_eq!((came.stream, came.code()), (1, NO_ERROR));
    drop(raw);
    end(running);
}

#[test]
fn a_body_that_is_refused_is_thrown_away_as_well() {
    let running = start_plain(|config| config.options.body_size_max_bytes = 1000);
    block_on(async {
        let client = H2::plain(running.address()).await;
        let length = [("content-length", &*LARGE_BYTES.to_string())];
        let got = client.ask(Method::POST, "/", &length, pattern(LARGE_BYTES)).await.unwrap();
        assert_eq!(got.status, 413);
        let got = client.post("/", pattern(LARGE_BYTES)).await.unwrap();
        assert_eq!(got.status, 413);
    });
    end(running);
}
