//! HTTP/2 with prior knowledge, on a listener without TLS (RFC 9113 §3.3).

use std::process::Command;

use super::raw::{GOAWAY, HEADERS, HTTP_1_1_REQUIRED, NO_ERROR, PREFACE, SETTINGS, frame, request};
use super::*;

/// A server of one executor without TLS.
pub(super) fn start_plain(change: impl FnOnce(&mut Config)) -> Running {
    start_plain_counted(change).0
}

/// The same, and how many of its handlers were dropped before they answered.
pub(super) fn start_plain_counted(change: impl FnOnce(&mut Config)) -> (Running, Arc<AtomicU64>) {
    let mut config = Config::default();
    config.port = 0;
    config.options.worker_num = Some(1);
    config.options.task_worker_num = Some(0);
    config.options.linger_timeout_ms = 200;
    change(&mut config);
    let dropped = Arc::new(AtomicU64::new(0));
    let counted = dropped.clone();
    let running = Server::new(config)
        .start(move |_| {
            let dropped = counted.clone();
            WithPeers(tower::service_fn(move |request| respond(request, dropped.clone())))
        })
        .expect("it starts");
    (running, dropped)
}

#[test]
fn a_client_with_prior_knowledge_is_served() {
    let running = start_plain(|_| {});
    block_on(async {
        let client = H2::plain(running.address()).await;
        let got = client.get("/describe?q").await.unwrap();
        assert!(got.text().starts_with("GET HTTP/2.0 "), "{}", got.text());
        assert!(got.text().contains("peer=127.0.0.1"), "{}", got.text());
        let got = client.post("/mirror", pattern(3 << 20)).await.unwrap();
        assert!(got.status == 200 && got.body == pattern(3 << 20));
    });
    end(running);
}

#[test]
fn curl_with_prior_knowledge_is_served() {
    let running = start_plain(|_| {});
    let url = format!("http://{}/describe", running.address());
    let curl = Command::new("curl").args(["-sS", "--http2-prior-knowledge", &url]).output();
    let Ok(output) = curl else { return };
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.starts_with("GET HTTP/2.0 http://127.0.0.1"), "{text} {output:?}");
    end(running);
}

#[test]
fn a_preface_may_come_byte_by_byte() {
    let running = start_plain(|_| {});
    let mut raw = Raw::plain(running.address());
    for byte in PREFACE {
        raw.send(&[*byte]);
        std::thread::sleep(Duration::from_millis(5));
    }
    raw.send(&[frame(SETTINGS, 0, 0, &[]), request(1, "/unread")].concat());
    assert_eq!(raw.until(HEADERS).stream, 1);
    end(running);
}

#[test]
fn limits_and_the_drain_are_those_of_tls() {
    let running = start_plain(|config| config.options.requests_per_connection_max = 2);
    let mut raw = Raw::plain(running.address());
    raw.begin(&[]);
    raw.send(&[request(1, "/unread"), request(3, "/unread")].concat());
    assert_eq!(raw.until(GOAWAY).code(), NO_ERROR);
    let mut open = Raw::plain(running.address());
    open.begin(&[]);
    open.send(&request(1, "/unread"));
    open.until(HEADERS);
    let mut part = Raw::plain(running.address());
    part.send(&PREFACE[..16]);
    running.shutdown().raise();
    assert_eq!(open.until(GOAWAY).code(), NO_ERROR);
    drop(part);
    running.wait().expect("it ends");
}

#[test]
fn http1_is_served_beside_it_and_instead_of_it() {
    let running = start_plain(|_| {});
    let mut client = socket(running.address());
    client.write_all(b"GET /unread HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    assert_eq!(read_answer(&mut client).1, b"not read");
    // The preface is one at a connection's beginning only.
    client.write_all(PREFACE).unwrap();
    assert!(read_answer(&mut client).0.starts_with("HTTP/1.1 505 "));
    end(running);
}

#[test]
fn where_it_is_off_a_client_is_told_in_its_own_words() {
    let running = start_plain(|config| config.options.http2 = Some(false));
    let mut raw = Raw::plain(running.address());
    raw.begin(&[]);
    let came = raw.rest();
    let kinds: Vec<_> = came.iter().map(|came| came.kind).collect();
    assert_eq!((kinds, came[1].code()), (vec![SETTINGS, GOAWAY], HTTP_1_1_REQUIRED));
    end(running);
}
