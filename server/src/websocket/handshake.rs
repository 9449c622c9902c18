//! The opening handshake (RFC 6455 §4.2): a request is checked, and answered with 101.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use http::header::{
    ALLOW, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{Extensions, HeaderName, Method, Request, Response, StatusCode};
use tungstenite::handshake::derive_accept_key;

use crate::codec::head::tokens;
use crate::http::http1::upgrade::Upgrade;
use crate::websocket::socket::{WebSocket, WebSocketLimits};

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
const VERSION: HeaderValue = HeaderValue::from_static("13");

/// A request that asks for a WebSocket and may have it. Dropping it answers nothing: the handler
/// does, with whatever it likes.
#[derive(Debug)]
pub struct WebSocketUpgrade {
    upgrade: Upgrade,
    accept: HeaderValue,
    /// What the client speaks, in the order of its preference.
    offered: Vec<HeaderValue>,
    protocol: Option<HeaderValue>,
    limits: WebSocketLimits,
}

/// Why a request gets no WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WebSocketRejection {
    /// 405: the method is not GET.
    Method,
    /// 426: it does not ask for one (`Connection: upgrade` and `Upgrade: websocket`).
    NotAsked,
    /// 426: another version than 13, or none.
    Version,
    /// 400: `Sec-WebSocket-Key` is not 16 bytes in base64, is not there, or there are two.
    Key,
    /// 400: the request is of HTTP/1.0 or has a body, or its upgrade was taken already.
    Connection,
}

impl WebSocketUpgrade {
    /// Checks a request and takes its upgrade.
    ///
    /// # Errors
    /// [`WebSocketRejection`], which is the answer to such a request.
    pub fn from_request<B>(request: &mut Request<B>) -> Result<Self, WebSocketRejection> {
        let fields = check(request.method(), request.headers())?;
        Self::take(fields, request.extensions_mut())
    }

    /// Checks the head of a request and takes its upgrade.
    ///
    /// # Errors
    /// [`WebSocketRejection`], which is the answer to such a request.
    pub fn from_parts(parts: &mut http::request::Parts) -> Result<Self, WebSocketRejection> {
        let fields = check(&parts.method, &parts.headers)?;
        Self::take(fields, &mut parts.extensions)
    }

    fn take(fields: Fields, extensions: &mut Extensions) -> Result<Self, WebSocketRejection> {
        let Fields { accept, offered } = fields;
        let upgrade = extensions.remove().ok_or(WebSocketRejection::Connection)?;
        let limits = WebSocketLimits::default();
        Ok(WebSocketUpgrade { upgrade, accept, offered, protocol: None, limits })
    }

    /// Bytes of a message, all of its fragments together; 1 MiB by default. More is refused (1009).
    pub fn message_size_max(mut self, bytes: usize) -> Self {
        self.limits.message_size_max = bytes;
        self
    }

    /// Bytes of a frame; 1 MiB by default. A peer can make the server reserve as much by a frame's
    /// head alone.
    pub fn frame_size_max(mut self, bytes: usize) -> Self {
        self.limits.frame_size_max = bytes;
        self
    }

    /// How long the peer may be silent, 60 s by default: after half of it it is pinged. Zero for
    /// no limit and no pings.
    pub fn idle_timeout(mut self, idle_timeout: Duration) -> Self {
        self.limits.idle_timeout = idle_timeout;
        self
    }

    /// How long the peer may take nothing of what waits for it, 30 s by default.
    pub fn write_timeout(mut self, write_timeout: Duration) -> Self {
        self.limits.write_timeout = write_timeout;
        self
    }

    /// How long the peer may take to answer a close, 5 s by default.
    pub fn close_timeout(mut self, close_timeout: Duration) -> Self {
        self.limits.close_timeout = close_timeout;
        self
    }

    /// Whether, at shutdown, the next `recv` or `send` closes the WebSocket (1001), which is the
    /// default. Without it both go on as before, so that what is under way can still be sent:
    /// [`WebSocket::is_draining`] tells when, the application closes, and what lasts longer than
    /// the drain is cut off.
    pub fn close_at_shutdown(mut self, close_at_shutdown: bool) -> Self {
        self.limits.close_at_shutdown = close_at_shutdown;
        self
    }

    /// Chooses the first of these protocols that the client offers (`Sec-WebSocket-Protocol`);
    /// none if it offers none of them. [`protocol`](Self::protocol) says which.
    ///
    /// # Panics
    /// If a name has a character that no field may have.
    pub fn protocols(mut self, protocols: &[&'static str]) -> Self {
        let mut known = protocols.iter().map(|name| HeaderValue::from_static(name));
        self.protocol = known.find(|name| self.offered.contains(name));
        self
    }

    /// The protocol that was chosen.
    pub fn protocol(&self) -> Option<&str> {
        self.protocol.as_ref()?.to_str().ok()
    }

    /// The answer to the request, with which `run` is given the WebSocket. `run` is called on the
    /// connection's executor and its future stays there; a panic in it ends this connection only.
    /// Where another answer is sent instead, for instance by a layer, `run` is dropped uncalled.
    pub fn on_upgrade<F, B>(self, run: impl FnOnce(WebSocket) -> F + Send + 'static) -> Response<B>
    where
        F: Future<Output = ()> + 'static,
        B: Default,
    {
        let WebSocketUpgrade { upgrade, accept, protocol, limits, .. } = self;
        upgrade.then(move |upgraded| run(WebSocket::new(upgraded, limits)));
        let mut response = Response::new(B::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let fields = response.headers_mut();
        fields.insert(UPGRADE, WEBSOCKET);
        fields.insert(SEC_WEBSOCKET_ACCEPT, accept);
        if let Some(protocol) = protocol {
            fields.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        response
    }
}

/// What is needed of a request's fields.
struct Fields {
    accept: HeaderValue,
    offered: Vec<HeaderValue>,
}

fn check(method: &Method, fields: &HeaderMap) -> Result<Fields, WebSocketRejection> {
    if method != Method::GET {
        return Err(WebSocketRejection::Method);
    }
    if !lists(fields, CONNECTION, b"upgrade") || !lists(fields, UPGRADE, b"websocket") {
        return Err(WebSocketRejection::NotAsked);
    }
    // §4.2.2: another version is answered with those that are spoken.
    if only(fields, SEC_WEBSOCKET_VERSION) != Some(&VERSION) {
        return Err(WebSocketRejection::Version);
    }
    let key = only(fields, SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
    let key = key.filter(|key| is_key(key)).ok_or(WebSocketRejection::Key)?;
    let accept = HeaderValue::try_from(derive_accept_key(key));
    let offered = fields.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let offered = offered.flat_map(|value| tokens(value.as_bytes()));
    Ok(Fields {
        accept: accept.map_err(|_| WebSocketRejection::Key)?,
        offered: offered.filter_map(|token| HeaderValue::from_bytes(token).ok()).collect(),
    })
}

/// Whether a field that is a list has a member, in any case of its letters.
fn lists(fields: &HeaderMap, name: HeaderName, member: &[u8]) -> bool {
    let values = fields.get_all(name);
    let mut members = values.iter().flat_map(|value| tokens(value.as_bytes()));
    members.any(|token| token.eq_ignore_ascii_case(member))
}

/// The value of a field that occurs once.
fn only(fields: &HeaderMap, name: HeaderName) -> Option<&HeaderValue> {
    let mut values = fields.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// §4.1: 16 bytes in base64, which is 22 digits and two signs of padding.
fn is_key(key: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.len() == 24 && key.ends_with(b"==") && key[..22].iter().all(is_digit)
}

impl WebSocketRejection {
    /// The status of the answer.
    pub fn status(self) -> StatusCode {
        match self {
            WebSocketRejection::Method => StatusCode::METHOD_NOT_ALLOWED,
            WebSocketRejection::NotAsked | WebSocketRejection::Version => {
                StatusCode::UPGRADE_REQUIRED
            }
            WebSocketRejection::Key | WebSocketRejection::Connection => StatusCode::BAD_REQUEST,
        }
    }

    /// The answer, with its reason as a text and the fields that say how to do better.
    pub fn into_response<B: From<&'static str>>(self) -> Response<B> {
        let mut response = Response::new(B::from(self.reason()));
        *response.status_mut() = self.status();
        let fields = response.headers_mut();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        match self {
            WebSocketRejection::Method => {
                fields.insert(ALLOW, HeaderValue::from_static("GET"));
            }
            // RFC 9110 §15.5.22: 426 says what to upgrade to.
            WebSocketRejection::NotAsked | WebSocketRejection::Version => {
                fields.insert(UPGRADE, WEBSOCKET);
                fields.insert(SEC_WEBSOCKET_VERSION, VERSION);
            }
            WebSocketRejection::Key | WebSocketRejection::Connection => {}
        }
        response
    }

    fn reason(self) -> &'static str {
        match self {
            WebSocketRejection::Method => "a WebSocket is asked for with GET",
            WebSocketRejection::NotAsked => "only WebSocket is spoken here",
            WebSocketRejection::Version => "the version of WebSocket that is spoken here is 13",
            WebSocketRejection::Key => "Sec-WebSocket-Key is not 16 bytes in base64",
            WebSocketRejection::Connection => "this connection cannot become a WebSocket",
        }
    }
}

impl fmt::Display for WebSocketRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for WebSocketRejection {}
