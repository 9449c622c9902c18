//! The access log of a running server: what its lines say, and that none is lost or forged.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::routing::{get, post};
use sidecore::app::{Direct, PeerAddress, Plain, WithPeers};
use sidecore::{App, Config, Running, Server};
use sidecore_access_log::{AccessLog, Format};
use sidecore_request_id::RequestIds;
use sidecore_tests::{Client, Scratch, ServerProcess, example_command, get as ask, wait_until};

/// A server with a log in a file.
struct Site {
    root: Scratch,
    log: AccessLog,
    running: Running,
}

impl Site {
    fn start(format: Format, executors: usize) -> Site {
        Site::start_with(format, executors, |log, router| {
            log.app(Direct::new(router, |head, _| {
                let field = Some((axum::http::header::RETRY_AFTER, "7".parse().unwrap()));
                let direct = head.target.path() == "/direct";
                direct.then(|| Plain { field, ..Plain::text("direct") })
            }))
        })
    }

    fn start_with<A: App>(
        format: Format,
        executors: usize,
        make: impl Fn(&AccessLog, Router) -> A + Send + Sync + 'static,
    ) -> Site {
        let mut config = Config::default();
        config.options.worker_num = Some(executors);
        Site::start_configured(format, config, make)
    }

    fn start_configured<A: App>(
        format: Format,
        mut config: Config,
        make: impl Fn(&AccessLog, Router) -> A + Send + Sync + 'static,
    ) -> Site {
        let root = Scratch::new("access-log");
        let log = AccessLog::to_file(root.path().join("access.log"), format).unwrap();
        let logging = log.clone();
        config.port = 0;
        config.options.task_worker_num = Some(0);
        let running = Server::new(config).start(move |_| {
            let router = Router::new()
                .route("/hello", get(async || "hello"))
                .route("/empty", get(async || StatusCode::NO_CONTENT))
                .route("/upload", post(async |body: Bytes| body.len().to_string()))
                .route("/hang", get(async || -> &'static str { std::future::pending().await }))
                .route("/panic", get(async || -> &'static str { panic!("as it should") }))
                .route("/large", get(async || Body::from(vec![b'x'; 8 << 20])));
            make(&logging, router)
        });
        Site { root, log, running: running.expect("the server starts") }
    }

    fn address(&self) -> SocketAddr {
        self.running.address()
    }

    fn path(&self) -> PathBuf {
        self.root.path().join("access.log")
    }

    /// Ends server and log; the lines that are in the file then.
    fn stop(self) -> Vec<String> {
        self.running.shutdown().raise();
        self.running.wait().expect("it ends");
        drop(self.log);
        let text = std::fs::read_to_string(self.root.path().join("access.log")).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'), "the last line is whole");
        text.lines().map(str::to_owned).collect()
    }
}

/// A line without its time.
fn untimed(line: &str) -> String {
    let (before, rest) = line.split_once(" [").expect("a time");
    let (time, after) = rest.split_once("] ").expect("a time");
    assert!(time.len() == 26 && time.ends_with(" +0000"), "{time}");
    format!("{before} {after}")
}

#[test]
fn each_request_is_a_line_in_the_combined_format() {
    let site = Site::start(Format::combined(), 1);
    let mut client = Client::connect(site.address());
    client.send(
        "GET /hello?a=b HTTP/1.1\r\nHost: h\r\nReferer: http://x/\r\nUser-Agent: t \"1\"\r\n\r\n",
    );
    assert_eq!(client.answer().body, b"hello");
    assert_eq!(client.request("HEAD", "/hello", "").status, 200);
    assert_eq!(client.request("GET", "/empty", "").status, 204);
    assert_eq!(client.request("GET", "/none", "").status, 404);
    assert_eq!(client.request("GET", "/direct", "").body, b"direct");
    assert_eq!(client.request("HEAD", "/direct", "").status, 200);
    client.send("GET http://other:8080/hello HTTP/1.0\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    drop(client);
    let lines: Vec<_> = site.stop().iter().map(|line| untimed(line)).collect();
    assert_eq!(
        lines,
        [
            r#"127.0.0.1 - - "GET /hello?a=b HTTP/1.1" 200 5 "http://x/" "t \"1\"""#,
            r#"127.0.0.1 - - "HEAD /hello HTTP/1.1" 200 - "-" "-""#,
            r#"127.0.0.1 - - "GET /empty HTTP/1.1" 204 - "-" "-""#,
            r#"127.0.0.1 - - "GET /none HTTP/1.1" 404 - "-" "-""#,
            r#"127.0.0.1 - - "GET /direct HTTP/1.1" 200 6 "-" "-""#,
            r#"127.0.0.1 - - "HEAD /direct HTTP/1.1" 200 - "-" "-""#,
            r#"127.0.0.1 - - "GET http://other:8080/hello HTTP/1.0" 200 5 "-" "-""#,
        ]
    );
}

#[test]
fn what_clients_send_forges_no_line() {
    let site = Site::start(Format::combined(), 1);
    let mut client = Client::connect(site.address());
    client.send(
        b"GET /hello HTTP/1.1\r\nHost: h\r\nUser-Agent: a\" 200 1 \"\\\t\xff\x80\r\n\r\n"
            .as_slice(),
    );
    assert_eq!(client.answer().status, 200);
    drop(client);
    let lines = site.stop();
    assert_eq!(lines.len(), 1);
    assert!(lines[0].ends_with(r#""-" "a\" 200 1 \"\\\t\xff\x80""#), "{lines:?}");
}

#[test]
fn lines_of_json_are_json_whatever_clients_send() {
    let site = Site::start(Format::json(), 1);
    let mut client = Client::connect(site.address());
    client.send(
        b"GET /hello?x=%22 HTTP/1.1\r\nHost: h:1\r\nUser-Agent: \"\\\t\xff\xc3\xa9\r\n\r\n"
            .as_slice(),
    );
    assert_eq!(client.answer().status, 200);
    assert_eq!(client.request("GET", "/direct", "").status, 200);
    drop(client);
    let lines: Vec<serde_json::Value> =
        site.stop().iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines[0]["user_agent"], "\"\\\t\u{fffd}\u{e9}");
    assert_eq!((&lines[0]["status"], &lines[0]["bytes"]), (&200.into(), &5.into()));
    assert_eq!((&lines[0]["host"], &lines[0]["query"]), (&"h".into(), &"?x=%22".into()));
    assert_eq!((&lines[1]["path"], &lines[1]["peer"]), (&"/direct".into(), &"127.0.0.1".into()));
    assert_eq!(lines.len(), 2);
}

#[test]
fn a_request_without_its_whole_answer_is_logged_as_far_as_it_came() {
    let site = Site::start(Format::parse("%U %>s %B").unwrap(), 1);
    assert_eq!(ask(site.address(), "/panic").status, 500);
    // A client that goes away: what was handed over is less than the whole.
    let mut client = Client::connect(site.address());
    client.send("GET /large HTTP/1.1\r\nHost: h\r\n\r\n");
    std::thread::sleep(Duration::from_millis(200));
    drop(client);
    wait_until("the line is written", || site.log.written() == 2);
    let lines = site.stop();
    assert_eq!(lines[0], "/panic 500 0");
    assert!(lines[1].starts_with("/large 200 "), "{lines:?}");
}

/// A server of one connection, with narrow limits.
fn narrow() -> Config {
    let mut config = Config::default();
    config.options.worker_num = Some(1);
    config.options.connections_max = 1;
    config.options.accept_timeout_ms = 50;
    config.options.head_timeout_ms = 300;
    config.options.request_timeout_ms = 300;
    config.options.body_size_max_bytes = 1000;
    config
}

#[test]
fn what_the_connection_refuses_is_one_line_each() {
    let site = Site::start_configured(Format::common(), narrow(), |log, router| log.app(router));
    let check = |bytes: &[u8], line: &str, status: u16| {
        let mut client = Client::connect(site.address());
        client.send(bytes);
        let answer = client.answer_to(bytes.starts_with(b"HEAD"));
        assert_eq!(answer.status, status, "{line}");
        let size = if answer.body.is_empty() { "-".into() } else { answer.body.len().to_string() };
        drop(client);
        format!("127.0.0.1 - - \"{line}\" {status} {size}")
    };
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(17_000));
    let fields = format!("GET /f HTTP/1.1\r\nHost: h\r\n{}\r\n", "a: b\r\n".repeat(201));
    let chunk = "a".repeat(0x800);
    let chunks = format!(
        "POST /upload HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n800\r\n{chunk}"
    );
    let expected = [
        check(b"nonsense\r\n\r\n", "nonsense", 400),
        check(b"\r\nGET /q?\"\xff\x01 HTTP/1.1\r\n\r\n", r#"GET /q?\"\xff\x01 HTTP/1.1"#, 400),
        check(b"GET /a HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n", "GET /a HTTP/1.1", 400),
        check(b"HEAD /a HTTP/1.1\r\n\r\n", "HEAD /a HTTP/1.1", 400),
        check(b"GET /a HTTP/9.0\r\nHost: h\r\n\r\n", "GET /a HTTP/9.0", 505),
        check(long.as_bytes(), &long[..2048], 414),
        check(fields.as_bytes(), "GET /f HTTP/1.1", 431),
        check(
            b"POST /upload HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\r\n",
            "POST /upload HTTP/1.1",
            413,
        ),
        // These are the application's already: its line has the status that the client was given.
        check(chunks.as_bytes(), "POST /upload HTTP/1.1", 413),
        check(b"GET /hang HTTP/1.1\r\nHost: h\r\n\r\n", "GET /hang HTTP/1.1", 503),
        // A part of a line, then nothing more.
        check(b"GET /slo", "GET /slo", 408),
    ];
    let mut held = Client::connect(site.address());
    assert_eq!(held.request("GET", "/empty", "").status, 204);
    let mut refused = Client::connect(site.address());
    assert_eq!(refused.answer().status, 503);
    let lines: Vec<_> = {
        drop((held, refused));
        site.stop().iter().map(|line| untimed(line)).collect()
    };
    assert_eq!(lines[..expected.len()], expected);
    let rest: Vec<_> = lines[expected.len()..].iter().map(String::as_str).collect();
    let [empty, no_room] = rest[..] else { panic!("{rest:?}") };
    assert_eq!(empty, "127.0.0.1 - - \"GET /empty HTTP/1.1\" 204 -");
    assert!(no_room.starts_with("127.0.0.1 - - \"-\" 503 "), "{no_room}");
}

#[test]
fn refusals_of_each_part_are_json_and_name_what_is_known() {
    let site = Site::start_configured(Format::json(), narrow(), |log, router| log.app(router));
    for bytes in ["G\"T /p?q HTTP/1.1\r\nHost: h\r\n\r\n", "\u{1}\r\n\r\n"] {
        let mut client = Client::connect(site.address());
        client.send(bytes);
        assert_eq!(client.answer().status, 400);
    }
    // Who says nothing is refused nothing.
    drop(Client::connect(site.address()));
    let lines: Vec<serde_json::Value> =
        site.stop().iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    let known = |line: &serde_json::Value| {
        ["method", "path", "query", "protocol", "status", "peer", "user_agent"]
            .map(|name| line[name].to_string().trim_matches('"').to_owned())
    };
    assert_eq!(known(&lines[0]), ["G\\\"T", "/p", "?q", "HTTP/1.1", "400", "127.0.0.1", "-"]);
    assert_eq!(known(&lines[1]), ["\\u0001", "-", "", "-", "400", "127.0.0.1", "-"]);
}

/// As many lines as requests, from several executors at once, and each whole.
#[test]
fn no_line_is_lost_at_a_clean_end() {
    let site = Site::start(Format::parse("%U%q %>s %B %{Retry-After}o").unwrap(), 2);
    let address = site.address();
    let (clients, requests) = (8, 1000);
    std::thread::scope(|scope| {
        for client in 0..clients {
            scope.spawn(move || {
                let mut connection = Client::connect(address);
                for number in 0..requests {
                    let path = ["/hello", "/direct"][number % 2];
                    let asked = format!("{path}?{client}-{number}");
                    assert_eq!(connection.request("GET", &asked, "").status, 200);
                }
            });
        }
    });
    assert_eq!(site.log.dropped(), 0);
    let mut lines = site.stop();
    assert_eq!(lines.len(), clients * requests);
    lines.sort();
    let mut expected: Vec<_> = (0..clients)
        .flat_map(|client| (0..requests).map(move |number| (client, number)))
        .map(|(client, number)| match number % 2 {
            0 => format!("/hello?{client}-{number} 200 5 -"),
            _ => format!("/direct?{client}-{number} 200 6 7"),
        })
        .collect();
    expected.sort();
    assert!(lines == expected);
}

#[test]
fn a_log_that_takes_nothing_costs_lines_and_no_request() {
    // A pipe that nobody reads holds 64 KiB; opened for reading too, so that writing it is no error.
    let root = Scratch::new("access-log");
    let pipe = root.path().join("pipe");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let both = std::fs::File::options().read(true).write(true).open(&pipe).unwrap();
    let log = AccessLog::to_file(&pipe, Format::combined()).unwrap();
    let logging = log.clone();
    let mut config = Config::default();
    config.port = 0;
    config.options.worker_num = Some(1);
    config.options.task_worker_num = Some(0);
    let running = Server::new(config)
        .start(move |_| {
            let answer = async |_: sidecore::Request<sidecore::Incoming>| {
                Ok::<_, std::convert::Infallible>(sidecore::Response::new("hello".to_owned()))
            };
            logging.app(tower::service_fn(answer))
        })
        .unwrap();
    let mut client = Client::connect(running.address());
    let request = format!("GET / HTTP/1.1\r\nHost: h\r\nUser-Agent: {}\r\n\r\n", "a".repeat(2000));
    let mut slowest = Duration::ZERO;
    for _ in 0..1500 {
        let start = Instant::now();
        client.send(&request);
        assert_eq!(client.answer().status, 200);
        slowest = slowest.max(start.elapsed());
    }
    let dropped = log.dropped();
    println!("{dropped} lines dropped, the slowest request took {slowest:?}");
    // 1,500 lines of 2 KiB: a pipe and a ring hold some 1,100 KiB of 3,000.
    assert!((500..1500).contains(&dropped), "{dropped} lines were dropped");
    assert!(slowest < Duration::from_secs(2), "a request took {slowest:?}");
    drop(client);
    running.shutdown().raise();
    running.wait().unwrap();
    // Somebody reads again, so that the log can end.
    let reader = std::thread::spawn(move || {
        let mut read = 0;
        let mut both = both;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = std::io::Read::read(&mut both, &mut buffer).unwrap();
            read += buffer[..count].iter().filter(|&&byte| byte == b'\n').count() as u64;
            if read + dropped >= 1500 {
                return read;
            }
        }
    });
    let start = Instant::now();
    drop(log);
    assert!(start.elapsed() < Duration::from_secs(4), "the log did not end");
    assert_eq!(reader.join().unwrap() + dropped, 1500);
}

#[test]
fn a_log_that_was_moved_away_goes_on_anew() {
    let site = Site::start(Format::parse("%U").unwrap(), 1);
    let mut client = Client::connect(site.address());
    assert_eq!(client.request("GET", "/hello", "").status, 200);
    wait_until("the line is written", || site.log.written() == 1);
    let old = site.root.path().join("access.log.1");
    std::fs::rename(site.path(), &old).unwrap();
    site.log.reopen();
    wait_until("the new file is there", || site.path().exists());
    assert_eq!(client.request("GET", "/empty", "").status, 204);
    drop(client);
    assert_eq!(std::fs::read_to_string(&old).unwrap(), "/hello\n");
    assert_eq!(site.stop(), ["/empty"]);
}

#[test]
fn sighup_reopens_and_sigterm_loses_nothing() {
    let root = Scratch::new("access-log");
    let path = root.path().join("access.log");
    let variables = [("SIDECORE_WORKER_NUM", "1"), ("SIDECORE_TASK_WORKER_NUM", "0")];
    let mut command = example_command("access_log", &variables);
    command.arg(&path).arg("%m %U %>s %{X-Request-Id}o");
    let server = ServerProcess::spawn(command);
    let mut client = Client::connect(server.address());
    client.send("GET /hello HTTP/1.1\r\nHost: h\r\nX-Request-Id: abc-1\r\n\r\n");
    assert_eq!(client.answer().field("x-request-id"), Some("abc-1"));
    let old = root.path().join("access.log.1");
    wait_until("the line is written", || std::fs::read(&path).is_ok_and(|text| !text.is_empty()));
    std::fs::rename(&path, &old).unwrap();
    let pid = rustix::process::Pid::from_raw(server.pid() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    // The signal is delivered to some thread of the process, soon.
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(client.request("GET", "/health", "").status, 200);
    drop(client);
    server.stop();
    assert_eq!(std::fs::read_to_string(&old).unwrap(), "GET /hello 200 abc-1\n");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "GET /health 200 -\n");
}

#[test]
fn as_a_layer_it_knows_peers_where_they_are_told_and_ids_from_around_it() {
    let format = Format::parse("%a %{remote}p %{X-Request-Id}i %{X-Request-Id}o").unwrap();
    let site = Site::start_with(format, 1, |log, router| {
        WithPeers(router.layer(log.clone()).layer(RequestIds::always_new()))
    });
    let mut client = Client::connect(site.address());
    client.send("GET /hello HTTP/1.1\r\nHost: h\r\nX-Request-Id: forged\r\n\r\n");
    let answer = client.answer();
    let id = answer.field("x-request-id").expect("an id").to_owned();
    assert!(id.len() == 32 && id != "forged", "{id}");
    let port = client.stream().local_addr().unwrap().port();
    drop(client);
    assert_eq!(site.stop(), [format!("127.0.0.1 {port} {id} -")]);
}

#[test]
fn handlers_see_their_peers_address() {
    let site = Site::start_with(Format::common(), 1, |_, router| {
        let peer = async |request: Request| {
            format!(
                "{:?}",
                request.extensions().get::<PeerAddress>().map(|PeerAddress(peer)| *peer)
            )
        };
        WithPeers(router.route("/peer", get(peer)))
    });
    let mut client = Client::connect(site.address());
    let own = client.stream().local_addr().unwrap();
    for _ in 0..2 {
        let answer = client.request("GET", "/peer", "");
        assert_eq!(String::from_utf8(answer.body).unwrap(), format!("Some({own})"));
    }
    drop(client);
    site.stop();
}

#[test]
fn the_line_of_half_a_head_says_how_long_it_was_awaited() {
    let format = Format::parse("%>s %{ms}T").unwrap();
    let site = Site::start_configured(format, narrow(), |log, router| log.app(router));
    let mut client = Client::connect(site.address());
    client.send("GET /slo");
    assert_eq!(client.answer().status, 408);
    drop(client);
    let mut client = Client::connect(site.address());
    client.send("GET /a HTTP/1.1\r\n");
    std::thread::sleep(Duration::from_millis(150));
    client.send("Ho st: h\r\n\r\n");
    assert_eq!(client.answer().status, 400);
    drop(client);
    let lines = site.stop();
    let ms = |line: &str| line.split(' ').nth(1).and_then(|ms| ms.parse::<u64>().ok()).unwrap();
    assert!(lines[0].starts_with("408 ") && (300..5000).contains(&ms(&lines[0])), "{lines:?}");
    assert!(lines[1].starts_with("400 ") && (140..300).contains(&ms(&lines[1])), "{lines:?}");
}
