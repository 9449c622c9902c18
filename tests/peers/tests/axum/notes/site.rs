//! The service on either server, and a client that writes down what it is answered.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::ServiceExt;
use axum::extract::Request;
use http::{HeaderMap, Method, StatusCode};
use reqwest::{Body, Client, Response};
use sidecore::{Config, Running, Server};
use sidecore_tests::Steady;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tungstenite::client::IntoClientRequest;

use crate::notes_app::{AppState, app};

/// How long a test waits for an answer before it fails.
const LIMIT: Duration = Duration::from_secs(20);
/// Fields that are not compared: time passes, and which answer is a connection's last one is each
/// server's own decision.
const VOLATILE: [&str; 2] = ["connection", "date"];

/// What the service runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Host {
    AxumServe,
    Sidecore,
}

/// A running service. Each test has its own, so that its state is known.
pub(super) struct Site {
    address: SocketAddr,
    client: Client,
    /// The client's; gone once the server is being stopped.
    runtime: Option<Runtime>,
    seen: Vec<String>,
    server: Option<Serving>,
}

enum Serving {
    Axum { end: oneshot::Sender<()>, thread: JoinHandle<()> },
    Sidecore(Box<Running>),
}

/// An answer that was read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) fields: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(|value| value.to_str().expect("text"))
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Site {
    pub(super) fn start(host: Host, static_files: &Path) -> Site {
        let (address, server) = match host {
            Host::AxumServe => serve_with_axum(static_files),
            Host::Sidecore => serve_with_sidecore(static_files),
        };
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let redirects = reqwest::redirect::Policy::none();
        let client = Client::builder().redirect(redirects).timeout(LIMIT).no_proxy().build();
        let client = client.expect("a client");
        let runtime = Some(runtime);
        Site { address, client, runtime, seen: Vec::new(), server: Some(server) }
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("it is not stopped")
    }

    /// One request; its answer is read and noted.
    pub(super) fn send(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let response = self.begin(method, path, fields, body);
        let (status, fields) = (response.status(), response.headers().clone());
        let body = self.runtime().block_on(response.bytes());
        let body = body.unwrap_or_else(|error| panic!("{method} {path}: {error}")).to_vec();
        let answer = Answer { status, fields, body };
        self.note(method, path, &answer);
        answer
    }

    /// One request whose answer is read piece by piece, or whose body may break.
    pub(super) fn begin(
        &self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Response {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = self.client.request(method, format!("http://{}{path}", self.address));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let response = self.runtime().block_on(async { request.body(body).send().await });
        response.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub(super) fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, &[], "")
    }

    /// Sends JSON as somebody.
    pub(super) fn json(&mut self, who: &str, method: &str, path: &str, json: &str) -> Answer {
        let token = bearer(who);
        let fields = [("authorization", &*token), ("content-type", "application/json")];
        self.send(method, path, &fields, json.to_owned())
    }

    /// Asks as somebody, without a body.
    pub(super) fn ask(&mut self, who: &str, method: &str, path: &str) -> Answer {
        self.send(method, path, &[("authorization", &*bearer(who))], "")
    }

    /// The next piece of an answer; None at its end.
    pub(super) fn piece(&self, response: &mut Response) -> Result<Option<Vec<u8>>, String> {
        let piece = self.runtime().block_on(response.chunk());
        piece.map(|piece| piece.map(|bytes| bytes.to_vec())).map_err(|error| error.to_string())
    }

    /// What comes until it has `text` in it.
    pub(super) fn until(&self, response: &mut Response, text: &str) -> String {
        let mut got = String::new();
        while !got.contains(text) {
            let piece = self.piece(response).expect("no break").expect("no end");
            got.push_str(std::str::from_utf8(&piece).expect("text"));
        }
        got
    }

    /// A WebSocket, and the fields of the answer that opened it.
    pub(super) fn websocket(
        &mut self,
        path: &str,
        protocols: Option<&str>,
    ) -> Result<tungstenite::WebSocket<Steady>, StatusCode> {
        let mut request = format!("ws://{}{path}", self.address).into_client_request().expect("it");
        if let Some(protocols) = protocols {
            let value = protocols.parse().expect("a value");
            request.headers_mut().insert("sec-websocket-protocol", value);
        }
        let opened = tungstenite::client(request, Steady::connect(self.address));
        let (status, fields, end) = match opened {
            Ok((socket, response)) => {
                let (parts, _) = response.into_parts();
                (parts.status, parts.headers, Ok(socket))
            }
            Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(response))) => {
                let (parts, _) = response.into_parts();
                (parts.status, parts.headers, Err(parts.status))
            }
            Err(error) => panic!("{error}"),
        };
        let mut fields = fields;
        // It answers the client's key, which is another each time.
        fields.remove("sec-websocket-accept");
        self.note("WebSocket", path, &Answer { status, fields, body: Vec::new() });
        end
    }

    /// Bytes as they are, on a connection of their own, until the server ends it.
    pub(super) fn raw(&mut self, bytes: &str) -> String {
        let mut stream = Steady::connect(self.address);
        stream.write_all(bytes.as_bytes()).expect("it takes them");
        let mut got = Vec::new();
        stream.read_to_end(&mut got).expect("its end");
        String::from_utf8(got).expect("text")
    }

    /// Notes what the two servers must have in common.
    pub(super) fn note_text(&mut self, text: &str) {
        self.seen.push(text.to_owned());
    }

    fn note(&mut self, method: &str, path: &str, answer: &Answer) {
        let mut lines: Vec<String> =
            answer.fields.iter().map(|(name, value)| line(name.as_str(), value)).collect();
        lines.retain(|line| !line.is_empty());
        lines.sort();
        // Where a compression is flushed depends on how the pieces came.
        let body = match answer.field("content-encoding") {
            _ if answer.body.is_empty() => Vec::new(),
            Some("gzip") => gunzip(&answer.body),
            Some("br") => unbrotli(&answer.body),
            _ => answer.body.clone(),
        };
        let body = String::from_utf8_lossy(&body);
        let head = lines.join("\n");
        self.seen.push(format!("{method} {path}\n{}\n{head}\n\n{body}", answer.status));
    }

    /// Ends the server, and returns what was noted.
    pub(super) fn end(mut self) -> Vec<String> {
        self.stop();
        std::mem::take(&mut self.seen)
    }

    fn stop(&mut self) {
        // The client's connections are closed with it, so that no drain waits for them.
        drop(self.runtime.take());
        match self.server.take() {
            Some(Serving::Axum { end, thread }) => {
                let _ = end.send(());
                let _ = thread.join();
            }
            Some(Serving::Sidecore(running)) => {
                running.shutdown().raise();
                let ended = running.wait();
                assert!(ended.is_ok() || std::thread::panicking(), "{ended:?}");
            }
            None => {}
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop();
    }
}

fn line(name: &str, value: &http::HeaderValue) -> String {
    let value = value.to_str().expect("text");
    match name {
        _ if VOLATILE.contains(&name) => String::new(),
        // One that was made here has a length, and no more in common with the other.
        "x-request-id" if value.len() == 36 => format!("{name}: made"),
        _ => format!("{name}: {value}"),
    }
}

fn serve_with_axum(static_files: &Path) -> (SocketAddr, Serving) {
    let (end, ended) = oneshot::channel();
    let (tell, told) = std::sync::mpsc::channel();
    let static_files = static_files.to_owned();
    let thread = std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            tell.send(listener.local_addr().expect("an address")).expect("the test waits");
            let app = app(AppState::default(), &static_files);
            let app = ServiceExt::<Request>::into_make_service(app);
            tokio::spawn(async move { axum::serve(listener, app).await });
            let _ = ended.await;
        });
    });
    (told.recv().expect("it listens"), Serving::Axum { end, thread })
}

fn serve_with_sidecore(static_files: &Path) -> (SocketAddr, Serving) {
    let mut config = Config::default();
    config.port = 0;
    config.options.worker_num = Some(1);
    config.options.task_worker_num = Some(0);
    // The service has limits of its own.
    config.options.body_size_max_bytes = 1 << 40;
    config.options.drain_timeout_ms = 5_000;
    let (state, static_files) = (AppState::default(), static_files.to_owned());
    let server = Server::new(config).with_tokio();
    let running = server.start(move |_| app(state.clone(), &static_files));
    let running = running.expect("the server starts");
    (running.address(), Serving::Sidecore(Box::new(running)))
}

pub(super) fn bearer(who: &str) -> String {
    format!("Bearer token-of-{who}")
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).expect("it takes them");
    encoder.finish().expect("it ends")
}

pub(super) fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain).expect("gzip, whole");
    plain
}

pub(super) fn brotli(bytes: &[u8]) -> Vec<u8> {
    let mut coded = Vec::new();
    let parameters = brotli::enc::BrotliEncoderParams::default();
    brotli::BrotliCompress(&mut &*bytes, &mut coded, &parameters).expect("it compresses");
    coded
}

pub(super) fn unbrotli(mut bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    brotli::BrotliDecompress(&mut bytes, &mut plain).expect("brotli, whole");
    plain
}
