//! HTTP/2: served to h2's client and to curl, and to clients that speak its frames byte by byte.

mod continues;
mod early;
mod ends;
mod gone;
mod hostile;
mod limits;
mod plain;
mod raw;
mod serves;
mod slow;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use h2::client::SendRequest;
use http::{HeaderMap, Method, StatusCode, Version};
use http_body::{Body, Frame};
use sidecore::app::WithPeers;
use tokio_rustls::TlsConnector;

use self::raw::Raw;
use super::*;

type Boxed = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// A server of one executor; its handlers that were dropped before they answered are counted.
struct Served {
    running: Running,
    pem: Pem,
    dropped: Arc<AtomicU64>,
}

impl Served {
    fn start() -> Self {
        Served::start_with(|_| {})
    }

    fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let pem = Pem::new();
        let dropped = Arc::new(AtomicU64::new(0));
        let counted = dropped.clone();
        let server = server(pem.certificates("own"), |config| {
            config.options.worker_num = Some(1);
            // Clients that do not close are not waited for long.
            config.options.linger_timeout_ms = 200;
            change(config);
        });
        let running = server
            .start(move |_| {
                let dropped = counted.clone();
                WithPeers(tower::service_fn(move |request| respond(request, dropped.clone())))
            })
            .expect("it starts");
        Served { running, pem, dropped }
    }

    fn address(&self) -> SocketAddr {
        self.running.address()
    }

    fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// What a client trusts, and asks for.
    fn client_config(&self, protocols: &[&[u8]]) -> Arc<ClientConfig> {
        let mut config = self.pem.client_with("own", rustls::DEFAULT_VERSIONS);
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Arc::new(config)
    }

    async fn connect(&self) -> H2 {
        H2::connect(self.address(), self.client_config(&[b"h2"])).await
    }

    fn raw(&self) -> Raw {
        Raw::connect(self.address(), &self.client_config(&[b"h2"]))
    }

    /// Ends it, and no local task has ended by a panic.
    fn end(self) {
        let panics: u64 = self.running.executor_stats().iter().map(|stats| stats.panics).sum();
        assert_eq!(panics, 0);
        end(self.running);
    }
}

async fn respond(
    request: Request<Incoming>,
    dropped: Arc<AtomicU64>,
) -> Result<Response<Boxed>, Infallible> {
    let text = |text: String| Response::new(boxed(Full::new(Bytes::from(text))));
    Ok(match request.uri().path() {
        "/describe" => text(describe(&request)),
        "/panic" => panic!("as it was asked to"),
        "/panic/body" => Response::new(boxed(Panics { begun: false })),
        "/mirror" => Response::new(boxed(request.into_body())),
        "/trailers" => trailers(request.into_body()).await,
        "/wait" => {
            let _counted = Counted(dropped);
            std::future::pending().await
        }
        // Reads, and does something else in between.
        "/napping" => {
            let mut body = request.into_body();
            while let Some(Ok(_)) = body.frame().await {
                sidecore_runtime::executor::sleep(Duration::from_millis(5)).await;
            }
            text("read".to_owned())
        }
        "/unread" => text("not read".to_owned()),
        "/endless" => Response::new(boxed(Endless { begun: false, _counted: Counted(dropped) })),
        "/fields" => Response::builder()
            .header("content-length", "3")
            .header("connection", "x-named")
            .header("x-named", "1")
            .header("keep-alive", "1")
            .header("x-kept", "1")
            .body(boxed(Full::new(Bytes::from_static(b"hello"))))
            .unwrap(),
        // The body does not know its length, which is 9.
        path if path.starts_with("/said/") => {
            let length = path["/said/".len()..].to_owned();
            let more = Ok(Frame::data(Bytes::from_static(b"more")));
            let body = frames(more).map_err(Into::into).boxed_unsync();
            Response::builder().header("content-length", length).body(body).unwrap()
        }
        "/close" => {
            let mut answer = text("bye".to_owned());
            answer.headers_mut().insert("connection", "close".parse().unwrap());
            answer
        }
        "/switch" => {
            let mut answer = text(String::new());
            *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            answer
        }
        path if path.starts_with("/status/") => {
            let mut answer = text("text".to_owned());
            *answer.status_mut() = path["/status/".len()..].parse().unwrap();
            answer
        }
        _ => answer(request).await?.map(|body| body.map_err(Into::into).boxed_unsync()),
    })
}

fn boxed<B>(body: B) -> Boxed
where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    body.map_err(Into::into).boxed_unsync()
}

fn describe(request: &Request<Incoming>) -> String {
    let field = |name: &str| {
        let values = request.headers().get_all(name).iter();
        values.map(|value| value.to_str().unwrap()).collect::<Vec<_>>().join("|")
    };
    let peer = request.extensions().get::<sidecore::app::PeerAddress>().expect("a peer");
    let upgrade = request.extensions().get::<sidecore::http::Upgrade>().is_some();
    format!(
        "{} {:?} {} host={} cookie={} peer={} upgrade={upgrade} hint={:?} end={}",
        request.method(),
        request.version(),
        request.uri(),
        field("host"),
        field("cookie"),
        peer.0.ip(),
        request.body().size_hint().exact(),
        request.body().is_end_stream(),
    )
}

/// What came in trailers goes back in trailers.
async fn trailers(body: Incoming) -> Response<Boxed> {
    let collected = body.collect().await.expect("a body");
    let trailers = collected.trailers().cloned().unwrap_or_default();
    let body = Full::new(collected.to_bytes());
    Response::new(boxed(body.with_trailers(std::future::ready(Some(Ok(trailers))))))
}

struct Counted(Arc<AtomicU64>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A piece, then a panic.
struct Panics {
    begun: bool,
}

impl Body for Panics {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        assert!(!std::mem::replace(&mut self.begun, true), "as it was asked to");
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"begun")))))
    }
}

/// A piece, then silence.
struct Endless {
    begun: bool,
    _counted: Counted,
}

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match std::mem::replace(&mut self.begun, true) {
            true => Poll::Pending,
            false => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"begun"))))),
        }
    }
}

/// h2's client on a connection of its own.
#[derive(Clone)]
struct H2 {
    send: SendRequest<Bytes>,
    ended: Arc<tokio::sync::Mutex<Option<tokio::task::JoinHandle<Result<(), h2::Error>>>>>,
}

/// An answer.
#[derive(Debug)]
struct Got {
    status: StatusCode,
    fields: HeaderMap,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
}

impl Got {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a text")
    }
}

impl H2 {
    async fn connect(address: SocketAddr, config: Arc<ClientConfig>) -> Self {
        let socket = tokio::net::TcpStream::connect(address).await.expect("it accepts");
        socket.set_nodelay(true).expect("no delay");
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = TlsConnector::from(config).connect(name, socket).await.expect("a handshake");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (send, connection) = h2::client::handshake(stream).await.expect("a preface");
        let ended = tokio::spawn(connection);
        H2 { send, ended: Arc::new(tokio::sync::Mutex::new(Some(ended))) }
    }

    /// With prior knowledge, without TLS.
    async fn plain(address: SocketAddr) -> Self {
        let socket = tokio::net::TcpStream::connect(address).await.expect("it accepts");
        let (send, connection) = h2::client::handshake(socket).await.expect("a preface");
        let ended = tokio::spawn(connection);
        H2 { send, ended: Arc::new(tokio::sync::Mutex::new(Some(ended))) }
    }

    /// How the connection ended, once it has.
    async fn ended(&self) -> Result<(), h2::Error> {
        let ended = self.ended.lock().await.take().expect("asked once");
        ended.await.expect("no panic")
    }

    async fn get(&self, path: &str) -> Result<Got, h2::Error> {
        self.ask(Method::GET, path, &[], Vec::new()).await
    }

    async fn post(&self, path: &str, body: Vec<u8>) -> Result<Got, h2::Error> {
        self.ask(Method::POST, path, &[], body).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        fields: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Got, h2::Error> {
        let request = Request::builder().method(method).uri(format!("https://localhost{path}"));
        let request =
            fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let request = request.version(Version::HTTP_2).body(()).unwrap();
        let mut send = self.send.clone().ready().await?;
        let (answer, stream) = send.send_request(request, body.is_empty())?;
        drop(send);
        let sent = async {
            match body.is_empty() {
                true => Ok(()),
                false => pour(stream, body.into()).await,
            }
        };
        // An answer may come before all of the body is taken: that is no failure.
        let (_, got) = join(sent, receive(answer)).await;
        got
    }
}

async fn join<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    let (mut a, mut b) = (Box::pin(a), Box::pin(b));
    let (mut got_a, mut got_b) = (None, None);
    std::future::poll_fn(|context| {
        if got_a.is_none()
            && let Poll::Ready(got) = a.as_mut().poll(context)
        {
            got_a = Some(got);
        }
        if got_b.is_none()
            && let Poll::Ready(got) = b.as_mut().poll(context)
        {
            got_b = Some(got);
        }
        match got_b.is_some() && (got_a.is_some()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
    (got_a.expect("it is there"), got_b.expect("it is there"))
}

/// Sends a body as the window allows.
async fn pour(mut stream: h2::SendStream<Bytes>, mut body: Bytes) -> Result<(), h2::Error> {
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        let room = std::future::poll_fn(|context| stream.poll_capacity(context)).await;
        let Some(room) = room else { return Ok(()) };
        let piece = body.split_to(room?.min(body.len()));
        stream.send_data(piece, body.is_empty())?;
    }
    Ok(())
}

async fn receive(answer: h2::client::ResponseFuture) -> Result<Got, h2::Error> {
    let (parts, mut stream) = answer.await?.into_parts();
    let mut body = Vec::new();
    while let Some(piece) = stream.data().await {
        let piece = piece?;
        stream.flow_control().release_capacity(piece.len())?;
        body.extend_from_slice(&piece);
    }
    let trailers = stream.trailers().await?;
    Ok(Got { status: parts.status, fields: parts.headers, body, trailers })
}

/// Runs a client.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(2 * LIMIT, future).await.expect("in time") })
}

/// Waits for what comes about soon.
fn until(what: &str, is: impl Fn() -> bool) {
    sidecore_tests::wait_until(what, is);
}
