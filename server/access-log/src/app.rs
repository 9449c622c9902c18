//! The application around another, of a sidecore server: it hears of direct answers, and of what the
//! connection refuses.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use sidecore::app::{Plain, RefusedRequest};
use sidecore::codec::{RequestHead, Target, Version};
use sidecore::{App, Incoming};

use crate::AccessLog;
use crate::format::{Format, Item, ResponseItem};
use crate::layer::{Entry, LogTarget, Logged, LoggedBody};
use crate::line::Line;
use crate::request::{RequestInfo, cut, line_of};

/// The application that [`AccessLog::app`] makes.
#[derive(Clone)]
pub struct LoggedApp<A> {
    target: LogTarget,
    inner: A,
}

impl AccessLog {
    /// Logs the requests of an application, its [`Direct`](sidecore::app::Direct) answers and what the
    /// connection refuses included, and has peers' addresses told to it.
    ///
    /// ```no_run
    /// use sidecore::{Config, Incoming, Request, Response, Server};
    /// use sidecore_access_log::{AccessLog, Format};
    ///
    /// fn main() -> sidecore::Result<()> {
    ///     let log = AccessLog::to_file("access.log", Format::combined())?;
    ///     log.reopen_on_sighup()?;
    ///     let logging = log.clone();
    ///     Server::new(Config::load()?).serve(move |_executor| {
    ///         logging.app(tower::service_fn(async |_: Request<Incoming>| {
    ///             Ok::<_, std::convert::Infallible>(Response::new("OK".to_owned()))
    ///         }))
    ///     })?;
    ///     // Here `log` goes, and with it all that was logged is in the file.
    ///     Ok(())
    /// }
    /// ```
    pub fn app<A: App>(&self, app: A) -> LoggedApp<A> {
        LoggedApp { target: self.target(), inner: app }
    }
}

impl<A: App> App for LoggedApp<A> {
    type Body = LoggedBody<A::Body>;
    type Future = Logged<A::Future>;

    fn direct(&self, head: &RequestHead<'_>, body: &[u8]) -> Option<Plain> {
        let began = Instant::now();
        let plain = self.inner.direct(head, body)?;
        if !(200..600).contains(&plain.status.as_u16()) {
            // No final status: the connection refuses it, and tells of that.
            return Some(plain);
        }
        let mut entry = Entry::begin(&self.target, head);
        (entry.began, entry.running) = (began, false);
        entry.answer(plain.status, &fields_of(&plain, &self.target.format));
        entry.bytes = if head.method == "HEAD" { 0 } else { plain.body.len() as u64 };
        Some(plain)
    }

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        Logged::call(&self.target, request, |request| self.inner.call(request))
    }

    fn wants_peers(&self) -> bool {
        true
    }

    fn refused(&self, refused: &RefusedRequest<'_>) {
        let LogTarget { format, queue } = &self.target;
        let mut line = Line::begin(format, refused, SystemTime::now());
        line.answer(format, Some((refused.status, refused.fields)));
        queue.push(&line.end(format, refused.body_bytes, refused.waited));
        self.inner.refused(refused);
    }
}

/// The fields of a direct answer, which has no map of them, where its line names any.
fn fields_of(plain: &Plain, format: &Format) -> HeaderMap {
    let mut fields = HeaderMap::new();
    if format.items.iter().any(|item| matches!(item, Item::Response(ResponseItem::Field(_)))) {
        fields.extend(plain.field.clone());
        if let Ok(content_type) = HeaderValue::from_str(plain.content_type) {
            fields.insert(CONTENT_TYPE, content_type);
        }
    }
    fields
}

impl RequestInfo for RequestHead<'_> {
    fn line(&self) -> Cow<'_, [u8]> {
        let target = self.target.path_and_query();
        match self.target.authority() {
            None => line_of(RequestInfo::method(self), target.as_bytes(), self.protocol()),
            Some(authority) => {
                let is_https = matches!(self.target, Target::Absolute { is_https: true, .. });
                let scheme = if is_https { "https" } else { "http" };
                let target = format!("{scheme}://{authority}{target}");
                line_of(RequestInfo::method(self), target.as_bytes(), self.protocol())
            }
        }
    }

    fn is_https(&self) -> bool {
        self.is_secured
    }

    fn method(&self) -> &[u8] {
        self.method.as_bytes()
    }

    fn path(&self) -> &[u8] {
        self.target.path().as_bytes()
    }

    fn query(&self) -> Option<&[u8]> {
        self.target.path_and_query().split_once('?').map(|(_, query)| query.as_bytes())
    }

    fn protocol(&self) -> &[u8] {
        match self.version {
            Version::Http10 => b"HTTP/1.0",
            Version::Http11 => b"HTTP/1.1",
        }
    }

    fn field(&self, name: &HeaderName) -> Option<&[u8]> {
        let mut fields = self.fields.iter();
        fields.find(|field| field.name.eq_ignore_ascii_case(name.as_str())).map(|field| field.value)
    }

    fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }
}

/// What is known of a request that was refused: its line as it came, whole or not, and its parts
/// as far as they are told apart. Its fields are not read: they may be what it was refused for.
impl RequestInfo for RefusedRequest<'_> {
    fn line(&self) -> Cow<'_, [u8]> {
        cut(RefusedRequest::line(self)).into()
    }

    fn is_https(&self) -> bool {
        self.is_secured
    }

    fn method(&self) -> &[u8] {
        part(self, 0).unwrap_or_default()
    }

    fn path(&self) -> &[u8] {
        let target = part(self, 1).unwrap_or_default();
        target.split(|&byte| byte == b'?').next().unwrap_or_default()
    }

    fn query(&self) -> Option<&[u8]> {
        let target = part(self, 1)?;
        target.iter().position(|&byte| byte == b'?').map(|at| &target[at + 1..])
    }

    fn protocol(&self) -> &[u8] {
        part(self, 2).unwrap_or_default()
    }

    fn field(&self, _: &HeaderName) -> Option<&[u8]> {
        None
    }

    fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }
}

/// A part of the request line, between its spaces.
fn part<'a>(refused: &RefusedRequest<'a>, index: usize) -> Option<&'a [u8]> {
    refused.line().splitn(3, |&byte| byte == b' ').nth(index)
}
