//! Listeners behind a proxy that says whom it speaks for.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use http_body_util::Full;
use sidecore::app::{PeerAddress, WithPeers};
use sidecore::config::Listen;
use sidecore::{Config, Incoming, Request, Response, Running, Server};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
const LINE: &str = "PROXY TCP4 192.0.2.7 10.0.0.1 49374 443\r\n";

/// A server that answers with the peer's address; its second listener is behind a proxy.
fn start(listen: Listen, change: impl FnOnce(&mut Config)) -> Running {
    let mut config = Config::default();
    config.port = 0;
    config.options.worker_num = Some(2);
    config.options.task_worker_num = Some(0);
    change(&mut config);
    let app = || {
        WithPeers(tower::service_fn(|request: Request<Incoming>| async move {
            let peer = request.extensions().get::<PeerAddress>();
            let peer = peer.map_or("none".to_owned(), |peer| peer.0.to_string());
            Ok::<_, Infallible>(Response::new(Full::new(peer.into_bytes().into())))
        }))
    };
    Server::new(config).listen(listen).start(move |_| app()).expect("it starts")
}

fn proxied() -> Listen {
    "127.0.0.1:0 proxy".parse().unwrap()
}

fn end(running: Running) {
    running.shutdown().raise();
    running.wait().expect("it ends");
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server accepts");
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn read_all(mut stream: impl Read) -> String {
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

fn ask(mut stream: impl Read + Write, bytes: &[u8]) -> String {
    let _ = stream.write_all(bytes);
    read_all(stream)
}

fn peer(answer: &str) -> &str {
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer:?}");
    answer.split_once("\r\n\r\n").expect("a head").1
}

/// The binary header, with addresses and what else a proxy says.
fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = (rest.len() as u16).to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, rest].concat()
}

fn with_get(header: &[u8]) -> Vec<u8> {
    [header, GET.as_bytes()].concat()
}

#[test]
fn host_and_port_may_be_behind_a_proxy_too() {
    let running = start("127.0.0.1:0".parse().unwrap(), |config| config.proxy = true);
    let [first, second] = running.addresses()[..] else { panic!("two listeners") };
    assert_eq!(peer(&ask(connect(first), &with_get(LINE.as_bytes()))), "192.0.2.7:49374");
    assert_eq!(ask(connect(first), GET.as_bytes()), "");
    assert_ne!(peer(&ask(connect(second), GET.as_bytes())), "192.0.2.7:49374");
    end(running);
}

/// On a listener for both its socket says `::ffff:127.0.0.1`.
#[test]
fn a_peer_of_ipv4_has_its_own_address_whatever_it_connects_to() {
    let running = start("[::]:0".parse().unwrap(), |_| {});
    let both = SocketAddr::from(([127, 0, 0, 1], running.addresses()[1].port()));
    let stream = connect(both);
    let own = stream.local_addr().unwrap().to_string();
    assert_eq!(peer(&ask(stream, GET.as_bytes())), own);
    end(running);
}

#[test]
fn the_peer_is_whom_the_proxy_names() {
    let running = start(proxied(), |_| {});
    let address = running.addresses()[1];
    let v4 = [192, 0, 2, 7, 10, 0, 0, 1, 0xC0, 0xDE, 1, 0xBB];
    let v6 = [&[0x20, 1, 0x0D, 0xB8][..], &[0; 11], &[7], &[0; 16], &[0x12, 0x34, 0, 80]].concat();
    let mapped = [&[0; 10][..], &[0xFF, 0xFF, 192, 0, 2, 7], &v6[16..]].concat();
    let cases = [
        (LINE.as_bytes().to_vec(), "192.0.2.7:49374"),
        (b"PROXY TCP6 2001:db8::7 ::1 4660 80\r\n".to_vec(), "[2001:db8::7]:4660"),
        // What a proxy says that listens for both (RFC 4291 §2.5.5.2).
        (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 4660 80\r\n".to_vec(), "192.0.2.1:4660"),
        (binary(0x21, 0x21, &mapped), "192.0.2.7:4660"),
        (binary(0x21, 0x11, &v4), "192.0.2.7:49374"),
        (binary(0x21, 0x11, &[&v4[..], &[4; 8000]].concat()), "192.0.2.7:49374"),
        (binary(0x21, 0x21, &v6), "[2001:db8::7]:4660"),
        (binary(0x21, 0x31, &[b'/'; 216]), "none"),
    ];
    for (header, expected) in &cases {
        assert_eq!(peer(&ask(connect(address), &with_get(header))), *expected);
        // Header and request apart.
        let mut stream = connect(address);
        stream.write_all(header).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(peer(&ask(stream, GET.as_bytes())), *expected);
    }
    // The proxy itself.
    for header in [b"PROXY UNKNOWN\r\n".to_vec(), binary(0x20, 0, b""), binary(0x21, 0, b"")] {
        let stream = connect(address);
        let own = stream.local_addr().unwrap().to_string();
        assert_eq!(peer(&ask(stream, &with_get(&header))), own);
    }
    // Byte by byte, and for all requests of the connection.
    let mut stream = connect(address);
    let requests = [LINE, &GET.replace("Connection: close\r\n", ""), GET].concat();
    for byte in requests.as_bytes() {
        stream.write_all(&[*byte]).unwrap();
    }
    assert_eq!(read_all(stream).matches("192.0.2.7:49374").count(), 2);
    end(running);
}

#[test]
fn what_is_no_header_is_closed_unanswered() {
    let running = start(proxied(), |_| {});
    let address = running.addresses()[1];
    let long = binary(0x21, 0x11, &[1; 9000]);
    let cases: [&[u8]; 6] = [
        GET.as_bytes(),
        b"PROXY TCP4 192.0.2.7\r\n",
        b"PROXY TCP4 192.0.2.777 10.0.0.1 1 1\r\n",
        &[b'P'; 200],
        b"\r\n\r\n\0\r\nQUIT\nxxxxxx",
        &long,
    ];
    for bytes in cases {
        assert_eq!(ask(connect(address), &with_get(bytes)), "", "{bytes:?}");
    }
    // The listener that was not declared so takes no header: anybody could send one.
    let answer = ask(connect(running.address()), &with_get(LINE.as_bytes()));
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let stream = connect(running.address());
    let own = stream.local_addr().unwrap().to_string();
    assert_eq!(peer(&ask(stream, GET.as_bytes())), own);
    end(running);
}

#[test]
fn a_header_that_does_not_end_is_ended() {
    let limit = Duration::from_millis(300);
    let running = start(proxied(), |config| {
        config.options.head_timeout_ms = limit.as_millis() as u64;
    });
    let begin = Instant::now();
    let silent = connect(running.addresses()[1]);
    let mut part = connect(running.addresses()[1]);
    part.write_all(&LINE.as_bytes()[..20]).unwrap();
    assert_eq!(read_all(silent), "");
    assert_eq!(read_all(part), "");
    assert!(begin.elapsed() >= limit && begin.elapsed() < Duration::from_secs(10));
    end(running);
}

/// Who has not said a word is not waited for; who has begun is.
#[test]
fn the_drain_serves_what_has_begun() {
    let running = start(proxied(), |config| config.options.linger_timeout_ms = 200);
    let address = running.addresses()[1];
    let silent = connect(address);
    let mut begun = connect(address);
    begun.write_all(&LINE.as_bytes()[..10]).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let begin = Instant::now();
    running.shutdown().raise();
    assert_eq!(read_all(&silent), "");
    drop(silent);
    let rest = with_get(&LINE.as_bytes()[10..]);
    assert_eq!(peer(&ask(begun, &rest)), "192.0.2.7:49374");
    running.wait().unwrap();
    assert!(begin.elapsed() < Duration::from_secs(8));
}

#[test]
fn a_unix_socket_may_be_behind_a_proxy_too() {
    let path = std::env::temp_dir().join(format!("sidecore-proxy-{}.sock", std::process::id()));
    let running = start(Listen::unix(&path).proxied(), |_| {});
    let connect = || UnixStream::connect(&path).unwrap();
    assert_eq!(peer(&ask(connect(), &with_get(LINE.as_bytes()))), "192.0.2.7:49374");
    assert_eq!(peer(&ask(connect(), &with_get(b"PROXY UNKNOWN\r\n"))), "none");
    end(running);
}

/// The header comes before the handshake, in the same segment or not.
#[test]
fn a_handshake_may_follow() {
    use rustls::pki_types::ServerName;
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let file =
        |end| std::env::temp_dir().join(format!("sidecore-proxy-{}.{end}", std::process::id()));
    std::fs::write(file("pem"), made.cert.pem()).unwrap();
    std::fs::write(file("key"), made.signing_key.serialize_pem()).unwrap();
    let running = start("127.0.0.1:0 tls proxy".parse().unwrap(), |config| {
        config.tls_certificate = vec![file("pem")];
        config.tls_key = vec![file("key")];
    });
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = rustls::crypto::ring::default_provider();
    let config = rustls::ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let mut session = rustls::ClientConnection::new(config.into(), name).unwrap();
    let mut first = LINE.as_bytes().to_vec();
    session.write_tls(&mut first).unwrap();
    let mut stream = connect(running.addresses()[1]);
    stream.write_all(&first).unwrap();
    let client = rustls::StreamOwned::new(session, stream);
    assert_eq!(peer(&ask(client, GET.as_bytes())), "192.0.2.7:49374");
    end(running);
    let _ = (std::fs::remove_file(file("pem")), std::fs::remove_file(file("key")));
}
