//! Static files over real sockets: literal requests in, whole answers out.

mod conditions;
mod paths;
mod ranges;
mod resources;
mod variants;

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sidecore::{Config, Incoming, Request, Response, Running, Server, StatusCode};
use sidecore_static_files::{StaticFiles, StaticFilesBuilder, StaticFilesError};
use sidecore_tests::{Client, Scratch};
use tower::{Layer, service_fn};

/// Sun, 09 Sep 2001 01:46:40 GMT
const MODIFIED_S: u64 = 1_000_000_000;
const MODIFIED: &str = "Sun, 09 Sep 2001 01:46:40 GMT";

/// A directory that is served, before an application that says what was left to it.
struct Site {
    root: Scratch,
    running: Running,
}

impl Site {
    fn start(make: impl FnOnce(StaticFilesBuilder) -> StaticFilesBuilder) -> Site {
        let root = Scratch::new("static-files");
        let files = make(StaticFiles::of(root.path())).build().expect("the root is there");
        let left = |request: Request<Incoming>| async move {
            let mut answer = Response::new(format!("left: {}", request.uri()));
            *answer.status_mut() = match request.uri().query() {
                Some("absent") => StatusCode::NOT_FOUND,
                _ => StatusCode::IM_A_TEAPOT,
            };
            Ok::<_, std::convert::Infallible>(answer)
        };
        let mut config = Config::default();
        config.port = 0;
        config.options.worker_num = Some(1);
        config.options.task_worker_num = Some(0);
        let start = Server::new(config).start(move |_| files.layer(service_fn(left)));
        Site { root, running: start.expect("the server starts") }
    }

    /// Writes a file that was modified in 2001.
    fn file(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.root.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        set_modified(&path, MODIFIED_S);
    }

    fn client(&self) -> Client {
        Client::connect(self.running.address())
    }

    /// The whole answer to a GET with these fields, without its Date.
    fn get(&self, path: &str, fields: &str) -> String {
        self.ask("GET", path, fields)
    }

    /// The same of another method.
    fn ask(&self, method: &str, path: &str, fields: &str) -> String {
        let mut client = self.client();
        client.send(format!(
            "{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{fields}\r\n"
        ));
        let answer = String::from_utf8(client.rest()).expect("text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let lines: Vec<_> = head.split("\r\n").filter(|line| !line.starts_with("Date: ")).collect();
        format!("{}\r\n\r\n{body}", lines.join("\r\n"))
    }

    fn status(&self, path: &str, fields: &str) -> u16 {
        self.get(path, fields)[9..12].parse().unwrap()
    }

    /// The entity tag of a file.
    fn tag(&self, path: &str) -> String {
        let answer = self.get(path, "");
        let (_, rest) = answer.split_once("etag: ").expect("a tag");
        rest.split_once("\r\n").unwrap().0.to_owned()
    }

    fn stop(self) {
        self.running.shutdown().raise();
        self.running.wait().expect("it ends");
    }
}

fn set_modified(path: &Path, seconds: u64) {
    let file = std::fs::File::options().append(true).open(path).unwrap();
    file.set_modified(UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
}

#[test]
fn a_file_is_sent_whole_with_what_its_copies_need() {
    let site = Site::start(|files| {
        files.cache_control("/img/*", "public, max-age=60").cache_control("*", "no-cache")
    });
    site.file("a.txt", "hello");
    site.file("img/b.svg", "<svg/>");
    site.file("empty.css", "");
    let tag = site.tag("/a.txt");
    assert!(tag.starts_with("\"5-"), "{tag}");
    assert_eq!(
        site.get("/a.txt", ""),
        format!(
            "HTTP/1.1 200 OK\r\netag: {tag}\r\nlast-modified: {MODIFIED}\r\n\
             cache-control: no-cache\r\naccept-ranges: bytes\r\n\
             content-type: text/plain; charset=utf-8\r\nContent-Length: 5\r\n\
             Connection: close\r\n\r\nhello"
        )
    );
    // Without its body the answer to HEAD is that to GET.
    let get = site.get("/a.txt", "");
    assert_eq!(site.ask("HEAD", "/a.txt", ""), get.strip_suffix("hello").unwrap());
    let image = site.get("/img/b.svg?v=1", "");
    assert!(image.contains("cache-control: public, max-age=60\r\n"), "{image}");
    assert!(image.contains("content-type: image/svg+xml\r\n"), "{image}");
    let empty = site.get("/empty.css", "");
    assert!(empty.contains("Content-Length: 0\r\n") && empty.ends_with("\r\n\r\n"), "{empty}");
    site.stop();
}

/// An endpoint may have the path of a file, or of the index: a form's POST, a preflight.
#[test]
fn methods_beside_get_and_head_are_the_applications() {
    let site = Site::start(|files| files);
    site.file("a.txt", "hello");
    site.file("index.html", "page");
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "X"] {
        for path in ["/a.txt", "/", "/b.txt"] {
            let answer = site.ask(method, path, "");
            assert!(answer.ends_with(&format!("left: {path}")), "{method} {path}: {answer}");
        }
    }
    assert!(site.ask("OPTIONS", "*", "").ends_with("left: *"));
    site.stop();
}

#[test]
fn an_upgrade_is_the_applications_but_one_to_http2_is_none() {
    let site = Site::start(|files| files);
    site.file("a.txt", "hello");
    site.file("index.html", "page");
    let offer = |protocols| format!("Upgrade: {protocols}\r\n");
    let get = |path, fields: &str| {
        let mut client = site.client();
        client
            .send(format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\n{fields}\r\n"));
        String::from_utf8(client.answer().body).unwrap()
    };
    for (protocols, root, file) in [
        ("websocket", "left: /", "left: /a.txt"),
        ("h2c, websocket", "left: /", "left: /a.txt"),
        ("h2c", "page", "hello"),
    ] {
        let answers = (get("/", &offer(protocols)), get("/a.txt", &offer(protocols)));
        assert_eq!((&*answers.0, &*answers.1), (root, file), "{protocols}");
    }
    // RFC 9110 §7.8: without `Connection: upgrade` the field is none of this hop's.
    assert!(site.get("/a.txt", &offer("websocket")).ends_with("hello"));
    site.stop();
}

/// Static files as the service itself.
fn start_alone(root: &Scratch, prefix: &str) -> Running {
    let files = StaticFiles::of(root.path()).under(prefix).build().unwrap();
    let mut config = Config::default();
    config.port = 0;
    config.options.worker_num = Some(1);
    config.options.task_worker_num = Some(0);
    Server::new(config).start(move |_| files.service()).unwrap()
}

#[test]
fn without_an_application_what_is_no_file_is_not_found() {
    let root = Scratch::new("static-files");
    std::fs::write(root.path().join("a.txt"), "hello").unwrap();
    std::fs::create_dir(root.path().join("empty")).unwrap();
    let running = start_alone(&root, "");
    let mut client = Client::connect(running.address());
    let answer = client.request("GET", "/a.txt", "");
    assert_eq!((answer.status, &*answer.body), (200, &b"hello"[..]));
    client.send(
        "GET /a.txt HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    assert_eq!(client.answer().body, b"hello");
    for (method, path) in [("GET", "/b.txt"), ("GET", "/empty"), ("POST", "/b.txt")] {
        let answer = client.request(method, path, "");
        assert_eq!((answer.status, answer.body.len()), (404, 0), "{method} {path}");
    }
    let answer = client.request("OPTIONS", "/a.txt", "");
    assert_eq!((answer.status, answer.field("allow")), (204, Some("GET, HEAD, OPTIONS")));
    for method in ["POST", "PUT", "DELETE", "PATCH", "X"] {
        let answer = client.request(method, "/a.txt", "");
        assert_eq!((answer.status, answer.field("allow")), (405, Some("GET, HEAD, OPTIONS")));
    }
    drop(client);
    running.shutdown().raise();
    running.wait().unwrap();
}

#[test]
fn a_mount_is_found_without_its_slash() {
    let root = Scratch::new("static-files");
    std::fs::write(root.path().join("index.html"), "hello").unwrap();
    let running = start_alone(&root, "/docs");
    let mut client = Client::connect(running.address());
    let answer = client.request("GET", "/docs", "");
    assert_eq!((answer.status, answer.field("location")), (301, Some("./docs/")));
    assert_eq!(client.request("GET", "/docs/", "").body, b"hello");
    drop(client);
    running.shutdown().raise();
    running.wait().unwrap();
}

#[test]
fn a_file_that_was_just_written_has_a_weak_tag_and_no_date() {
    let site = Site::start(|files| files);
    site.file("a.txt", "hello");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    set_modified(&site.root.path().join("a.txt"), now + 100);
    let answer = site.get("/a.txt", "");
    assert!(answer.contains("etag: W/\"5-") && !answer.contains("last-modified"), "{answer}");
    site.stop();
}

#[test]
fn a_description_that_cannot_be_served_is_refused_with_its_cause() {
    let root = Scratch::new("static-files");
    let error = |builder: StaticFilesBuilder| builder.build().expect_err("it is refused");
    let missing = error(StaticFiles::of(root.path().join("missing")));
    assert!(missing.to_string().contains("missing cannot be opened: No such file"), "{missing}");
    let value = error(StaticFiles::of(root.path()).cache_control("*", "a\r\nb"));
    assert!(matches!(value, StaticFilesError::Value { .. }), "{value}");
    let prefix = error(StaticFiles::of(root.path()).under("assets"));
    assert!(matches!(prefix, StaticFilesError::Prefix(_)), "{prefix}");
    let prefix = error(StaticFiles::of(root.path()).under("/assets/"));
    assert!(matches!(prefix, StaticFilesError::Prefix(_)), "{prefix}");
    let index = error(StaticFiles::of(root.path()).index("../x.html"));
    assert!(matches!(index, StaticFilesError::Index(_)), "{index}");
}
