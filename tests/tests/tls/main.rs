//! TLS over real sockets, with rustls's client, curl and openssl.

mod certificates;
mod ends;
mod hostile;
mod http2;
mod serves;

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use sidecore::http::tls::Certificates;
use sidecore::{Config, Incoming, Request, Response, Running, Server};

const LIMIT: Duration = Duration::from_secs(20);
const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Certificates in a directory of the test's own.
struct Pem {
    directory: PathBuf,
}

impl Pem {
    /// One for `localhost`.
    fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("sidecore-tls-{}-{number}", std::process::id());
        let pem = Pem { directory: std::env::temp_dir().join(name) };
        std::fs::create_dir_all(&pem.directory).unwrap();
        pem.make("own", &["localhost"]);
        pem
    }

    /// Makes, or replaces, `<file>.pem` and `<file>.key`; returns the certificate.
    fn make(&self, file: &str, names: &[&str]) -> CertificateDer<'static> {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        std::fs::write(self.path(file, "pem"), made.cert.pem()).unwrap();
        std::fs::write(self.path(file, "key"), made.signing_key.serialize_pem()).unwrap();
        made.cert.der().clone()
    }

    fn path(&self, file: &str, extension: &str) -> PathBuf {
        self.directory.join(format!("{file}.{extension}"))
    }

    fn certificates(&self, file: &str) -> Certificates {
        Certificates::from_pem_files(self.path(file, "pem"), self.path(file, "key")).unwrap()
    }

    /// A client that trusts one of them.
    fn client_of(&self, file: &str) -> Arc<ClientConfig> {
        Arc::new(self.client_with(file, rustls::DEFAULT_VERSIONS))
    }

    fn client(&self) -> Arc<ClientConfig> {
        self.client_of("own")
    }

    fn client_with(
        &self,
        file: &str,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.path(file, "pem")).unwrap()).unwrap();
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }
}

impl Drop for Pem {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// A server of two executors that speaks TLS at its address.
fn start(certificates: Certificates) -> Running {
    start_with(certificates, |_| {})
}

fn start_with(certificates: Certificates, change: impl FnOnce(&mut Config)) -> Running {
    server(certificates, change).start(|_| tower::service_fn(answer)).expect("it starts")
}

fn server(certificates: Certificates, change: impl FnOnce(&mut Config)) -> Server {
    let mut config = Config::default();
    config.port = 0;
    config.options.worker_num = Some(2);
    config.options.task_worker_num = Some(0);
    change(&mut config);
    Server::new(config).tls(certificates)
}

type Answer = Response<UnsyncBoxBody<Bytes, std::io::Error>>;

async fn answer(request: Request<Incoming>) -> Result<Answer, Infallible> {
    let whole = |bytes: Bytes| Full::new(bytes).map_err(|never| match never {}).boxed_unsync();
    let body = match request.uri().path() {
        "/big" => whole(Bytes::from(pattern(8 << 20))),
        "/slow" => {
            sidecore_runtime::executor::sleep(Duration::from_millis(300)).await;
            whole(Bytes::from_static(b"late"))
        }
        "/uri" => whole(request.uri().to_string().into()),
        "/capitals" => return Ok(capitals(request)),
        // Two frames, the second of which is an error or the end.
        "/broken" => frames(Err(std::io::Error::other("broken"))),
        "/frames" => frames(Ok(http_body::Frame::data(Bytes::from_static(b"more")))),
        _ => match request.into_body().collect().await {
            Ok(body) => whole(body.to_bytes()),
            Err(_) => whole(Bytes::from_static(b"cut off")),
        },
    };
    Ok(Response::new(body))
}

/// An upgrade to a protocol without lengths: what comes goes back in capitals, and at the end how it
/// ended.
fn capitals(mut request: Request<Incoming>) -> Answer {
    let upgrade = sidecore::http::Upgrade::take(&mut request).expect("an offer");
    upgrade.then(|mut upgraded| async move {
        let mut bytes = Vec::new();
        let end = loop {
            match upgraded.recv(&mut bytes).await {
                Ok(0) => break "ended".to_owned(),
                Ok(_) => bytes.make_ascii_uppercase(),
                Err(error) => break format!("{:?}", error.kind()),
            }
            upgraded.send(&bytes).await.expect("it is taken");
            bytes.clear();
        };
        let _ = upgraded.send(end.as_bytes()).await;
    });
    let empty = Full::new(Bytes::new()).map_err(|never| match never {}).boxed_unsync();
    let answer = Response::builder().status(101).header("upgrade", "capitals");
    answer.body(empty).unwrap()
}

type Frame = Result<http_body::Frame<Bytes>, std::io::Error>;

fn frames(second: Frame) -> UnsyncBoxBody<Bytes, std::io::Error> {
    let first = Ok(http_body::Frame::data(Bytes::from_static(b"begun")));
    StreamBody::new(Frames([Some(first), Some(second)])).boxed_unsync()
}

struct Frames([Option<Frame>; 2]);

impl futures_core::Stream for Frames {
    type Item = Frame;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Frame>> {
        std::task::Poll::Ready(self.0.iter_mut().find_map(Option::take))
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

fn end(running: Running) {
    running.shutdown().raise();
    running.wait().expect("it ends");
}

type Client = StreamOwned<ClientConnection, TcpStream>;

fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> Client {
    connect_as(address, config, "localhost")
}

fn connect_as(address: SocketAddr, config: &Arc<ClientConfig>, name: &str) -> Client {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    StreamOwned::new(ClientConnection::new(config.clone(), name).unwrap(), socket(address))
}

fn socket(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).expect("the server accepts");
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket.set_nodelay(true).unwrap();
    socket
}

/// Reads an answer with a Content-Length; its head and its body.
fn read_answer(client: &mut impl Read) -> (String, Vec<u8>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).expect("a head");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head
        .lines()
        .find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
    let mut body = vec![0; length.expect("a length").parse().unwrap()];
    client.read_exact(&mut body).expect("a body");
    (head, body)
}

fn post(path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// Asks and expects a 200.
fn ask(client: &mut Client, request: impl AsRef<[u8]>) -> Vec<u8> {
    client.write_all(request.as_ref()).expect("the server takes it");
    let (head, body) = read_answer(client);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    body
}
