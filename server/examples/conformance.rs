//! The server that conformance suites are run against: small routes that show how a message was
//! understood.
//!
//! | request | answer |
//! |---|---|
//! | `GET /`, `HEAD /`, `OPTIONS /`, `OPTIONS *` | 200 `OK` |
//! | `POST /` | 200, the body and its trailers echoed |
//! | `/echo`, any known method | 200, the request's fields, one `Name: Value` a line |
//! | `/cookie`, any known method | 200, the cookie pairs, one `k=v` a line |
//!
//! `SIDECORE_PORT=9000 cargo run --release --example conformance`

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, COOKIE, EXPECT, HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use sidecore::app::BodyError;
use sidecore::{Config, Incoming, Request, Response, Server, StatusCode};

/// Bytes of a body that are awaited before it is echoed: an answer that has begun cannot become a
/// 400 any more, so a body up to this size is known to be well framed first.
const AWAITED_MAX_BYTES: usize = 64 * 1024;

/// The methods of RFC 9110 §9 and RFC 5789; others get 501.
const KNOWN_METHODS: &str = "GET, HEAD, POST, PUT, DELETE, OPTIONS, TRACE, CONNECT, PATCH";
const ROOT_METHODS: &str = "GET, HEAD, OPTIONS, POST";

fn main() -> sidecore::Result<()> {
    let service =
        |request| async { Ok::<_, Infallible>(answer(request).await.unwrap_or_else(refuse)) };
    let report = Server::new(Config::load()?).serve(move |_| tower::service_fn(service))?;
    eprintln!("sidecore: ended: {report}");
    Ok(())
}

/// Answers a request, or says which status refuses it.
async fn answer(request: Request<Incoming>) -> Result<Response<Reply>, StatusCode> {
    let (head, body) = request.into_parts();
    let (method, path) = (head.method.as_str(), head.uri.path());
    if (method, path) == ("POST", "/") {
        return echo_body(body).await.map(Response::new);
    }
    // An answer says how a whole message was understood, so the body too has to be well framed.
    // A client that asks before it sends one is told at once.
    if !head.headers.contains_key(EXPECT) {
        skip_body(body).await?;
    }
    if !is_listed(KNOWN_METHODS, method) {
        return Err(StatusCode::NOT_IMPLEMENTED);
    }
    match path {
        "/" | "*" if !is_listed(ROOT_METHODS, method) => Err(StatusCode::METHOD_NOT_ALLOWED),
        "/" | "*" => {
            let mut response = text("OK".to_owned());
            if method == "OPTIONS" {
                response.headers_mut().insert(ALLOW, HeaderValue::from_static(ROOT_METHODS));
            }
            Ok(response)
        }
        "/echo" => Ok(text(lines_of_fields(&head.headers))),
        "/cookie" => Ok(text(lines_of_cookies(&head.headers))),
        _ => Err(StatusCode::NOT_FOUND),
    }
}

fn is_listed(methods: &str, method: &str) -> bool {
    methods.split(", ").any(|listed| listed == method)
}

fn refuse(status: StatusCode) -> Response<Reply> {
    let mut response = text(status.canonical_reason().unwrap_or_default().to_owned());
    *response.status_mut() = status;
    if status == StatusCode::METHOD_NOT_ALLOWED {
        // RFC 9110 §15.5.6: 405 says what is allowed.
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(ROOT_METHODS));
    }
    response
}

fn text(text: String) -> Response<Reply> {
    let mut response = Response::new(Reply::whole(text.into(), None));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

fn lines_of_fields(fields: &HeaderMap) -> String {
    let line = |(name, value): (&http::HeaderName, &HeaderValue)| {
        format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()))
    };
    fields.iter().map(line).collect()
}

fn lines_of_cookies(fields: &HeaderMap) -> String {
    let values = fields.get_all(COOKIE).into_iter();
    let text: Vec<_> = values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    let pairs = text.iter().flat_map(|value| value.split(';').map(str::trim));
    pairs.filter(|pair| pair.contains('=')).map(|pair| format!("{pair}\n")).collect()
}

async fn skip_body(mut body: Incoming) -> Result<(), StatusCode> {
    while let Some(frame) = body.frame().await {
        frame.map_err(|_| StatusCode::BAD_REQUEST)?;
    }
    Ok(())
}

/// A body of any size in constant memory: what is awaited of it, then the rest as it comes.
async fn echo_body(mut body: Incoming) -> Result<Reply, StatusCode> {
    // One buffer, since a frame for each of many small chunks would outweigh their bytes.
    let mut ready = Vec::new();
    while ready.len() < AWAITED_MAX_BYTES {
        let Some(frame) = body.frame().await else { return Ok(Reply::whole(ready.into(), None)) };
        match frame.map_err(|_| StatusCode::BAD_REQUEST)?.into_data() {
            Ok(data) => ready.extend_from_slice(&data),
            Err(frame) => return Ok(Reply::whole(ready.into(), frame.into_trailers().ok())),
        }
    }
    Ok(Reply { ready: ready.into(), trailers: None, rest: Some(body) })
}

/// A response's body: bytes that are there, then the rest of a request's body.
struct Reply {
    ready: Bytes,
    trailers: Option<HeaderMap>,
    rest: Option<Incoming>,
}

impl Reply {
    fn whole(ready: Bytes, trailers: Option<HeaderMap>) -> Self {
        Reply { ready, trailers, rest: None }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if !self.ready.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.ready)))));
        }
        match &mut self.rest {
            Some(rest) => Pin::new(rest).poll_frame(context),
            None => Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers)))),
        }
    }

    /// Exact where no trailers can come, since those need chunks.
    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.as_ref().map_or(Some(0), |rest| rest.size_hint().exact());
        match (rest, &self.trailers) {
            (Some(rest), None) => SizeHint::with_exact(self.ready.len() as u64 + rest),
            _ => SizeHint::default(),
        }
    }
}
