//! Direct answers by path: a table of routes over the borrowed request.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::rc::Rc;

use bytes::Bytes;
use http::header::ALLOW;
use http::{HeaderValue, StatusCode};

use crate::app::service::{Direct, Plain};
use crate::codec::head::RequestHead;

/// Routes for direct answers: what [`Direct`] asks before a service.
///
/// ```
/// use sidecore::app::{DirectRouter, Plain};
/// # use sidecore::{Incoming, Request, Response};
/// # let service = tower::service_fn(|_: Request<Incoming>| async {
/// #     Ok::<_, std::convert::Infallible>(Response::new(String::new()))
/// # });
///
/// let app = DirectRouter::new()
///     .get("/health", |_, _| Plain::text("OK"))
///     .get("/users/{id}", |_, params| match params.get("id") {
///         Some("ada") => Plain::text("Ada Lovelace"),
///         _ => Plain { status: sidecore::StatusCode::NOT_FOUND, ..Plain::text("nobody") },
///     })
///     .post("/events", |request, _| (request.body.len() < 1024).then(|| Plain::text("taken")))
///     .before(service);
/// ```
///
/// A path is literal, or has parameters: `{name}` takes one segment, `{*name}` the rest. Literal
/// paths go first. A parameter is as it was sent, its `%41` not decoded.
///
/// A path that no route has goes to the service. One that has routes of other methods only is
/// answered 405 with Allow (RFC 9110 §15.5.6). HEAD is answered by GET's handler, without the body;
/// OPTIONS, where there is no handler of it, by the service.
///
/// A handler returns a [`Plain`], or an `Option` of one: None leaves the request to the service.
/// The service must know these routes too, as [`Direct`] says: a request with a body comes here only
/// if all of it arrived with its head, and none of HTTP/2 does.
///
/// Finding a route allocates nothing, with one exception: where paths with parameters overlap
/// (`/{page}` beside `/users/{id}`) or one has more than three of them, the search may keep a list.
#[derive(Default)]
pub struct DirectRouter {
    routes: Vec<Route>,
    /// By their whole path.
    literals: HashMap<String, usize>,
    patterns: matchit::Router<usize>,
}

/// What there is at one path.
#[derive(Default)]
struct Route {
    path: String,
    handlers: Vec<(&'static str, Handler)>,
    allow: Option<HeaderValue>,
}

type Handler = Box<dyn Fn(&DirectRequest<'_>, &DirectParams<'_>) -> Option<Plain>>;

/// A request, as a handler of a [`DirectRouter`] borrows it.
#[derive(Clone, Copy, Debug)]
pub struct DirectRequest<'a> {
    /// Its head.
    pub head: &'a RequestHead<'a>,
    /// Its body, whole.
    pub body: &'a [u8],
}

/// What stands in a path for its parameters.
#[derive(Debug)]
pub struct DirectParams<'a>(matchit::Params<'a, 'a>);

impl<'a> DirectParams<'a> {
    /// A parameter by its name, as it was sent.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.0.get(name)
    }
}

impl DirectRouter {
    /// Without routes: all goes to the service.
    pub fn new() -> Self {
        DirectRouter::default()
    }

    /// Answers GET and HEAD of a path.
    ///
    /// # Panics
    /// As [`on`](Self::on).
    pub fn get<R: Into<Option<Plain>>>(
        self,
        path: &str,
        handler: impl Fn(&DirectRequest<'_>, &DirectParams<'_>) -> R + 'static,
    ) -> Self {
        self.on("GET", path, handler)
    }

    /// Answers POST of a path, where the whole body has arrived.
    ///
    /// # Panics
    /// As [`on`](Self::on).
    pub fn post<R: Into<Option<Plain>>>(
        self,
        path: &str,
        handler: impl Fn(&DirectRequest<'_>, &DirectParams<'_>) -> R + 'static,
    ) -> Self {
        self.on("POST", path, handler)
    }

    /// Answers a method, a case-sensitive token, of a path.
    ///
    /// # Panics
    /// Where the path has this method already, is none, or cannot be told from another one. That is
    /// a mistake in the program; in `make_app` it keeps the server from starting.
    pub fn on<R: Into<Option<Plain>>>(
        mut self,
        method: &'static str,
        path: &str,
        handler: impl Fn(&DirectRequest<'_>, &DirectParams<'_>) -> R + 'static,
    ) -> Self {
        assert!(path.starts_with('/'), "the path of a route begins with `/`: {path}");
        let route = self.route_of(path);
        let known = route.handlers.iter().any(|(known, _)| *known == method);
        assert!(!known, "there are two routes for {method} {path}");
        let handler = move |request: &DirectRequest<'_>, params: &DirectParams<'_>| {
            handler(request, params).into()
        };
        route.handlers.push((method, Box::new(handler)));
        route.allow = Some(allow(&route.handlers));
        self
    }

    /// These routes before a service.
    pub fn before<S>(
        self,
        service: S,
    ) -> Direct<S, impl Fn(&RequestHead<'_>, &[u8]) -> Option<Plain> + Clone + 'static> {
        let routes = Rc::new(self);
        Direct::new(service, move |head, body| routes.answer(head, body))
    }

    /// The answer to a request; None leaves it to the service.
    pub fn answer(&self, head: &RequestHead<'_>, body: &[u8]) -> Option<Plain> {
        let path = head.target.path();
        if let Some(&route) = self.literals.get(path) {
            return self.routes[route].answer(DirectRequest { head, body }, Default::default());
        }
        let found = self.patterns.at(path).ok()?;
        self.routes[*found.value].answer(DirectRequest { head, body }, found.params)
    }

    /// The route of a path, added if need be.
    fn route_of(&mut self, path: &str) -> &mut Route {
        let known = self.routes.iter().position(|route| route.path == path);
        let route = known.unwrap_or_else(|| {
            let route = self.routes.len();
            if path.contains(['{', '}']) {
                let inserted = self.patterns.insert(path, route);
                inserted.unwrap_or_else(|error| panic!("the route {path} cannot be: {error}"));
            } else {
                self.literals.insert(path.to_owned(), route);
            }
            self.routes.push(Route { path: path.to_owned(), ..Route::default() });
            route
        });
        &mut self.routes[route]
    }
}

impl Route {
    fn answer(&self, request: DirectRequest<'_>, params: matchit::Params<'_, '_>) -> Option<Plain> {
        let method = request.head.method;
        let of = |method| self.handlers.iter().find(|(known, _)| *known == method);
        let found = of(method).or_else(|| if method == "HEAD" { of("GET") } else { None });
        match found {
            Some((_, handler)) => handler(&request, &DirectParams(params)),
            None if method == "OPTIONS" => None,
            None => Some(Plain {
                status: StatusCode::METHOD_NOT_ALLOWED,
                field: self.allow.clone().map(|allow| (ALLOW, allow)),
                ..Plain::text("")
            }),
        }
    }
}

/// The value of Allow, such that its clones allocate nothing.
fn allow(handlers: &[(&'static str, Handler)]) -> HeaderValue {
    let mut methods = String::new();
    for (method, _) in handlers {
        let head = if *method == "GET" { ", HEAD" } else { "" };
        let _ = write!(methods, "{}{method}{head}", if methods.is_empty() { "" } else { ", " });
    }
    let methods = Bytes::from(methods.into_bytes());
    // With the first clone bytes begin to be counted.
    let value = HeaderValue::from_maybe_shared(methods.clone());
    value.unwrap_or_else(|_| panic!("a method is a token: {methods:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::head::{HeadLimits, Parsed, next_head};
    use crate::codec::head_scan::HeadScan;
    use std::mem::MaybeUninit;

    fn answer(router: &DirectRouter, method: &str, path: &str) -> Option<(u16, String)> {
        let bytes = format!("{method} {path} HTTP/1.1\r\nHost: h\r\n\r\n");
        let limits = HeadLimits {
            size_max_bytes: 4096,
            header_count_max: 8,
            target_length_max_bytes: 4096,
            is_secured: false,
            takes_raw_utf8: false,
        };
        let mut slots = [MaybeUninit::uninit(); 8];
        let parsed = next_head(bytes.as_bytes(), &mut HeadScan::default(), &mut slots, &limits);
        let Ok(Parsed::Complete(head)) = parsed else { panic!("{bytes}: {parsed:?}") };
        router.answer(&head, b"body").map(|plain| {
            let allow = plain.field.map(|(name, value)| {
                assert_eq!(name, ALLOW);
                value.to_str().unwrap().to_owned()
            });
            let body = String::from_utf8(plain.body.to_vec()).unwrap();
            (plain.status.as_u16(), allow.unwrap_or(body))
        })
    }

    fn said(text: String) -> Plain {
        Plain { body: text.into(), ..Plain::text("") }
    }

    fn router() -> DirectRouter {
        DirectRouter::new()
            .get("/", |_, _| Plain::text("root"))
            .get("/users/{id}", |_, params| said(format!("user {:?}", params.get("id"))))
            .get("/users/me", |request, params| {
                said(format!("{} {:?}", request.head.method, params.get("id")))
            })
            .on("DELETE", "/users/{id}", |_, _| Plain::text("gone"))
            .get("/files/{*path}", |_, params| said(format!("{:?}", params.get("path"))))
            .post("/echo", |request, _| said(String::from_utf8_lossy(request.body).into_owned()))
            .on("PUT", "/echo", |_, _| None::<Plain>)
    }

    #[test]
    fn routes_are_found_by_path_and_method() {
        let router = router();
        let check = |method, path, expected: Option<(u16, &str)>| {
            let expected = expected.map(|(status, said)| (status, said.to_owned()));
            assert_eq!(answer(&router, method, path), expected, "{method} {path}");
        };
        check("GET", "/", Some((200, "root")));
        check("GET", "/?a=b", Some((200, "root")));
        check("GET", "/users/7?a=b", Some((200, "user Some(\"7\")")));
        check("GET", "/users/%41", Some((200, "user Some(\"%41\")")));
        check("DELETE", "/users/7", Some((200, "gone")));
        check("GET", "/files/a/b.txt", Some((200, "Some(\"a/b.txt\")")));
        check("POST", "/echo", Some((200, "body")));
        // A literal path goes before one with parameters, HEAD to the handler of GET.
        check("GET", "/users/me", Some((200, "GET None")));
        check("HEAD", "/users/me", Some((200, "HEAD None")));
        check("HEAD", "/users/7", Some((200, "user Some(\"7\")")));
        // What no route has, and what a handler leaves, is the service's.
        for (method, path) in [
            ("GET", "/nowhere"),
            ("GET", "/users"),
            ("GET", "/users/"),
            ("GET", "/users/7/x"),
            ("GET", "/files/"),
            ("OPTIONS", "*"),
            ("PUT", "/echo"),
            ("OPTIONS", "/users/7"),
        ] {
            check(method, path, None);
        }
        check("POST", "/", Some((405, "GET, HEAD")));
        check("get", "/", Some((405, "GET, HEAD")));
        check("PATCH", "/users/7", Some((405, "GET, HEAD, DELETE")));
        check("HEAD", "/echo", Some((405, "POST, PUT")));
    }

    #[test]
    fn what_cannot_be_a_route_says_so() {
        let check = |add: fn(DirectRouter) -> DirectRouter, expected: &str| {
            let added = std::panic::catch_unwind(|| drop(add(router())));
            let payload = added.expect_err(expected);
            let said = payload.downcast_ref::<String>().cloned().unwrap_or_default();
            assert!(said.contains(expected), "{said}");
        };
        check(|router| router.get("/", |_, _| Plain::text("")), "two routes for GET /");
        check(|router| router.get("users", |_, _| Plain::text("")), "begins with `/`: users");
        check(|router| router.get("/users/{name}", |_, _| Plain::text("")), "/users/{name} cannot");
        check(|router| router.get("/a/{b", |_, _| Plain::text("")), "/a/{b cannot be");
        check(|router| router.on("a\nb", "/x", |_, _| Plain::text("")), "a method is a token");
    }
}
