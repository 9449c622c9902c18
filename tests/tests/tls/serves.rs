//! What is served over TLS is what is served without.

use std::io::Write as _;
use std::process::{Command, Stdio};

use rustls::HandshakeKind;
use sidecore_tests::wait_until;

use super::*;

#[test]
fn both_versions_are_spoken_and_the_protocol_is_agreed_upon() {
    let pem = Pem::new();
    let running = start(pem.certificates("own"));
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let mut config = pem.client_with("own", &[version]);
        config.alpn_protocols = vec![b"h3".to_vec(), b"http/1.1".to_vec()];
        let mut client = connect(running.address(), &Arc::new(config));
        for body in ["a", "", "abc"] {
            assert_eq!(ask(&mut client, post("/", body.as_bytes())), body.as_bytes());
        }
        assert_eq!(client.conn.protocol_version(), Some(version.version));
        assert_eq!(client.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    }
    assert!(running.describe().join("\n").contains("listening on https://"));
    end(running);
}

#[test]
fn a_client_of_another_protocol_only_is_refused() {
    let pem = Pem::new();
    let running = start(pem.certificates("own"));
    let mut config = pem.client_with("own", rustls::DEFAULT_VERSIONS);
    config.alpn_protocols = vec![b"h3".to_vec()];
    let mut client = connect(running.address(), &Arc::new(config));
    let error = client.write_all(GET.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("NoApplicationProtocol"), "{error}");
    end(running);
}

/// RFC 9112 §3.2.2 and RFC 9110 §7.4: the absolute form is served, of https on secured connections.
#[test]
fn absolute_targets_may_be_of_https() {
    let pem = Pem::new();
    let running = start(pem.certificates("own"));
    let mut client = connect(running.address(), &pem.client());
    for target in ["https://localhost/uri", "http://localhost/uri"] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(ask(&mut client, request), target.as_bytes());
    }
    end(running);
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let pem = Pem::new();
    let running = start(pem.certificates("own"));
    let mut client = connect(running.address(), &pem.client());
    let requests: Vec<u8> =
        (0..200).flat_map(|n: u32| post("/", n.to_string().as_bytes())).collect();
    client.write_all(&requests).unwrap();
    for n in 0..200 {
        assert_eq!(read_answer(&mut client).1, n.to_string().as_bytes());
    }
    end(running);
}

#[test]
fn large_bodies_go_both_ways() {
    let pem = Pem::new();
    let running = start(pem.certificates("own"));
    let mut client = connect(running.address(), &pem.client());
    let body = pattern(8 << 20);
    assert!(ask(&mut client, post("/", &body)) == body);
    assert!(ask(&mut client, GET.replace("/ ", "/big ")) == body);
    assert_eq!(ask(&mut client, post("/", b"after")), b"after");
    end(running);
}

/// With tickets, on whichever executor the next connection is, and over a reload of certificates.
#[test]
fn sessions_are_resumed() {
    let pem = Pem::new();
    let running = start(pem.certificates("own"));
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let config = Arc::new(pem.client_with("own", &[version]));
        let kind = |_: usize| {
            let mut client = connect(running.address(), &config);
            ask(&mut client, GET);
            client.conn.handshake_kind().unwrap()
        };
        assert_eq!(kind(0), HandshakeKind::Full);
        assert!((1..8).map(kind).all(|kind| kind == HandshakeKind::Resumed));
        running.reload().certificates().unwrap();
        assert_eq!(kind(8), HandshakeKind::Resumed);
    }
    end(running);
}

#[test]
fn a_plain_listener_and_a_secure_one_stand_beside_each_other() {
    let pem = Pem::new();
    let mut config = Config::default();
    config.port = 0;
    config.options.task_worker_num = Some(0);
    let running = Server::new(config)
        .tls_certificates(pem.certificates("own"))
        .listen("127.0.0.1:0 tls".parse().unwrap())
        .start(|_| tower::service_fn(answer))
        .unwrap();
    let mut plain = socket(running.addresses()[0]);
    plain.write_all(GET.as_bytes()).unwrap();
    assert!(read_answer(&mut plain).0.starts_with("HTTP/1.1 200 OK"));
    let mut client = connect(running.addresses()[1], &pem.client());
    assert_eq!(ask(&mut client, post("/", b"x")), b"x");
    end(running);
}

/// The limit of connections holds, and who is refused is told so over TLS.
#[test]
fn a_full_server_says_so() {
    let pem = Pem::new();
    let running = start_with(pem.certificates("own"), |config| {
        config.options.worker_num = Some(1);
        config.options.connections_max = 1;
        config.options.accept_timeout_ms = 50;
    });
    let mut kept = connect(running.address(), &pem.client());
    ask(&mut kept, GET);
    let mut refused = connect(running.address(), &pem.client());
    refused.flush().unwrap();
    assert!(read_answer(&mut refused).0.starts_with("HTTP/1.1 503 "));
    drop(kept);
    wait_until("there is room again", || {
        let mut client = connect(running.address(), &pem.client());
        client.write_all(GET.as_bytes()).is_ok() && read_answer(&mut client).0.contains("200 OK")
    });
    end(running);
}

/// Where they are installed.
#[test]
fn curl_and_openssl_are_served() {
    let pem = Pem::new();
    let running = start(pem.certificates("own"));
    let address = running.address();
    let curl = Command::new("curl")
        .args(["--silent", "--insecure", "--data", "hello", &format!("https://{address}/")])
        .output();
    match curl {
        Ok(output) => assert_eq!(output.stdout, b"hello", "{output:?}"),
        Err(error) => println!("curl is not tried: {error}"),
    }
    let openssl = Command::new("openssl")
        .args(["s_client", "-quiet", "-verify_quiet", "-connect", &address.to_string()])
        .args([std::ffi::OsStr::new("-CAfile"), pem.path("own", "pem").as_os_str()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    match openssl {
        Ok(mut child) => {
            let request =
                "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 5\r\n\r\n";
            let mut stdin = child.stdin.take().unwrap();
            stdin.write_all(format!("{request}hello").as_bytes()).unwrap();
            let output = child.wait_with_output().unwrap();
            assert!(output.stdout.ends_with(b"\r\n\r\nhello"), "{output:?}");
        }
        Err(error) => println!("openssl is not tried: {error}"),
    }
    end(running);
}

/// HTTP/1.1 has no scheme in its requests: that they came over TLS is told beside them.
#[test]
fn a_handler_and_the_log_know_that_a_request_came_over_tls() {
    use sidecore_access_log::{AccessLog, Format};
    let scratch = sidecore_tests::Scratch::new("tls-secured");
    let format = Format::parse("%v %p").unwrap();
    let log = AccessLog::to_file(scratch.path().join("access.log"), format).unwrap();
    let (logging, pem) = (log.clone(), Pem::new());
    let running = server(pem.certificates("own"), |config| {
        config.options.worker_num = Some(1);
        config.listen.push("127.0.0.1:0".parse().unwrap());
    })
    .start(move |_| {
        logging.app(tower::service_fn(async |request: Request<Incoming>| {
            let is_secured = request.extensions().get::<sidecore::app::Secured>().is_some();
            Ok::<_, Infallible>(Response::new(is_secured.to_string()))
        }))
    })
    .unwrap();
    let mut client = connect(running.addresses()[0], &pem.client());
    assert_eq!(ask(&mut client, "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"), b"true");
    let plain = sidecore_tests::get(running.addresses()[1], "/");
    assert_eq!(plain.body, b"false");
    client.write_all(b"GET /%00 HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    assert!(read_answer(&mut client).0.starts_with("HTTP/1.1 400"));
    drop(client);
    end(running);
    drop(log);
    let lines = std::fs::read_to_string(scratch.path().join("access.log")).unwrap();
    let ports: Vec<_> = lines.lines().map(|line| line.rsplit(' ').next().unwrap()).collect();
    let own = plain_port(&lines);
    assert_eq!(ports, ["443", own, "443"], "{lines}");
}

/// The port that the plain request's Host has.
fn plain_port(lines: &str) -> &str {
    lines.lines().nth(1).and_then(|line| line.rsplit(' ').next()).unwrap_or_default()
}
