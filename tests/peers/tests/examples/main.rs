//! Each example does what its header says, as a process of its own on a free port.

mod opentelemetry;
mod pasted;
mod pushes;

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sidecore_tests::{
    Answer, Client, Ended, Scratch, ServerProcess, example_command, get, wait_until,
};

/// One executor and one task worker, so that what is counted is exact.
const ONE: [(&str, &str); 2] = [("SIDECORE_WORKER_NUM", "1"), ("SIDECORE_TASK_WORKER_NUM", "1")];

/// A running example.
struct Example(ServerProcess);

impl Example {
    fn start(name: &str, variables: &[(&str, &str)]) -> Example {
        Example(ServerProcess::spawn(example_command(name, variables)))
    }

    fn client(&self) -> Client {
        Client::connect(self.0.address())
    }

    /// The status and the text of an answer on a connection of its own.
    fn ask(&self, method: &str, path: &str) -> (u16, String) {
        let answer = self.client().request(method, path, "");
        (answer.status, text(&answer))
    }

    fn get(&self, path: &str) -> String {
        let (status, text) = self.ask("GET", path);
        assert_eq!(status, 200, "{path}: {text}");
        text
    }

    /// Ends it as Ctrl-C does.
    fn end(self) -> Ended {
        self.0.terminate();
        let ended = self.0.wait();
        assert!(ended.status.success(), "{ended:?}");
        ended
    }
}

fn text(answer: &Answer) -> String {
    String::from_utf8(answer.body.clone()).expect("a text")
}

fn says(ended: &Ended, what: &str) {
    assert!(ended.log.iter().any(|line| line.contains(what)), "{what:?} is not in {ended:?}");
}

#[test]
fn hello() {
    let example = Example::start("hello", &[("SIDECORE_WORKER_NUM", "1")]);
    assert_eq!(example.get("/ada"), "hello /ada, from executor 0\n");
    example.end();
}

/// An error that `main` returns is told as it tells itself.
#[test]
fn what_keeps_an_example_from_starting_is_one_line_with_its_cure() {
    let mut command = example_command("hello", &[("SIDECORE_TASK_WORKER_NUM", "1")]);
    let refused = command.output().expect("it runs");
    let said = String::from_utf8(refused.stderr).expect("a text");
    assert!(!refused.status.success() && said.lines().count() == 1, "{said}");
    assert!(said.starts_with("Error: task_worker_num is 1 and on_task is missing: "), "{said}");
}

#[test]
fn task() {
    let example = Example::start("task", &[]);
    let mut client = example.client();
    let mut post = |path| {
        let answer = client.request("POST", path, "");
        (answer.status, text(&answer))
    };
    let (accepted, also) = (post("/mails/ada"), post("/mails/nobody"));
    // Each takes a second, and both were answered before the first was sent.
    assert_eq!(text(&client.request("GET", "/mails", "")), "0 sent, 0 failed\n");
    assert_eq!((accepted, also.0), ((202, "task 1\n".into()), 202));
    wait_until("both end", || example.get("/mails") == "1 sent, 1 failed\n");
    let ended = example.end();
    says(&ended, "task 1: mail sent to ada in 1");
    says(&ended, "there is no such mailbox");
}

#[test]
fn wait() {
    let example = Example::start("wait", &ONE);
    assert_eq!(example.get("/one/20"), "slept 20 ms\n");
    let start = Instant::now();
    let expected = "slept 20 ms\nslept 30 ms\nhad not ended in time\n";
    assert_eq!(example.get("/all/20,30,60000"), expected);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    // The nap of a minute has learned that nobody waits: its worker is free.
    assert_eq!(example.get("/one/20"), "slept 20 ms\n");
    assert_eq!(example.ask("GET", "/all/20,x").0, 400);
    example.end();
}

#[test]
fn many() {
    let [worker, task_worker] = ONE;
    let variables = [worker, task_worker, ("SIDECORE_TASK_QUEUE_DEPTH", "64")];
    let example = Example::start("many", &variables);
    let (_, said) = example.ask("POST", "/dispatch/1000");
    let counts: Vec<u64> = said.split(' ').filter_map(|word| word.parse().ok()).collect();
    let [accepted, refused] = counts[..] else { panic!("{said}") };
    assert!(accepted >= 64 && accepted + refused == 1000 && refused > 0, "{said}");
    // Behind those, in turn, without a refusal.
    assert_eq!(example.ask("POST", "/send/1000"), (200, "1000 accepted\n".into()));
    let all = (1000 + accepted).to_string();
    wait_until("all have ended", || example.get("/finished") == all);
    example.end();
}

#[test]
fn middleware() {
    let [worker, task_worker] = ONE;
    let variables = [worker, task_worker, ("SIDECORE_TASK_QUEUE_DEPTH", "2")];
    let example = Example::start("middleware", &variables);
    let mut client = example.client();
    assert_eq!(client.request("GET", "/broken", "").status, 500);
    let audited = client.request("GET", "/admin/users", "");
    assert_eq!((audited.status, text(&audited).as_str()), (200, "done\n"));
    assert!(audited.field("x-task-id").is_some(), "{audited:?}");
    // The audit takes a second, and the queue holds two more.
    let more: Vec<_> = (0..4).map(|_| client.request("GET", "/admin/more", "")).collect();
    let refused = more.iter().find(|answer| answer.status == 503).expect("a full queue");
    assert_eq!(refused.field("retry-after"), Some("2"));
    assert_eq!(client.request("GET", "/", "").status, 200);
    let ended = example.end();
    says(&ended, "audit: GET /admin/users");
    says(&ended, "alarm: /broken answered 500");
}

#[test]
fn axum() {
    let example = Example::start("axum", &[]);
    assert_eq!(example.get("/hello/ada?times=2"), "hello ada\nhello ada\n");
    let mut client = example.client();
    let body = r#"{"n":90}"#;
    client.send(format!(
        "POST /tasks/fibonacci HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert_eq!(client.answer().json()["value"], 2_880_067_194_370_816_120_u64);
    let large = "x".repeat(1 << 20);
    assert_eq!(text(&client.request("POST", "/length", &large)), "1048576\n");
    example.end();
}

#[test]
fn state() {
    let scratch = Scratch::new("state");
    let [worker, task_worker] = ONE;
    let directory = scratch.path().to_str().expect("a text");
    let example = Example::start("state", &[worker, task_worker, ("TMPDIR", directory)]);
    let job = |requests: u64, job: u64| {
        format!("request {requests} here, {requests} in all; job {job} of sidecore-state-0.log\n")
    };
    assert_eq!(example.get("/a"), job(1, 1));
    assert_eq!(example.get("/b"), job(2, 2));
    let log = scratch.path().join("sidecore-state-0.log");
    assert_eq!(std::fs::read_to_string(&log).expect("the log"), "/a\n/b\n");
    let pid = Pid::from_raw(example.0.pid() as i32).expect("a process id is not 0");
    kill_process(pid, Signal::USR2).expect("it is told");
    // Which jobs go to the worker that is made anew is a matter of time, but that it comes is not.
    wait_until("the task worker is made anew", || example.get("/c").contains("; job 1 of"));
    example.end();
}

#[test]
fn graceful() {
    let [worker, _] = ONE;
    let example = Example::start("graceful", &[worker, ("SIDECORE_TASK_WORKER_NUM", "2")]);
    let mut slow = example.client();
    slow.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
    for _ in 0..5 {
        assert_eq!(example.ask("POST", "/tasks").0, 202);
    }
    assert_eq!(example.ask("POST", "/stop").0, 200);
    assert_eq!(text(&slow.answer()), "slept 1000 ms\n");
    let ended = example.0.wait();
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!((ended.count("accepted"), ended.count("finished")), (6, 6));
    assert_eq!(ended.count("lost"), 0);
    says(&ended, "ready at 127.0.0.1:");
    says(&ended, "no new connections");
}

#[test]
fn durable() {
    let scratch = Scratch::new("durable-example");
    let directory = scratch.path().to_str().expect("a text");
    let example = Example::start("durable", &[("SIDECORE_DATA_DIR", directory)]);
    let answer = example.client().request("POST", "/mails", r#"{"to":"ada@example.org"}"#);
    assert_eq!(answer.status, 202, "{answer:?}");
    wait_until("it is acked", || get(example.0.address(), "/stats").json()["acked"] == 1);
    let outbox = std::fs::read_to_string(scratch.path().join("outbox")).expect("an outbox");
    assert_eq!(outbox, "ada@example.org 1\n");
    example.end();
}

#[test]
fn direct() {
    let example = Example::start("direct", &[]);
    assert_eq!((example.get("/"), example.get("/hello")), ("OK".into(), "OK".into()));
    assert_eq!(example.ask("GET", "/else"), (404, "/else is not here\n".into()));
    let ended = example.end();
    assert_eq!((ended.count("accepted"), ended.count("finished")), (1, 1));
}

#[test]
fn deferred_listener() {
    let example = Example::start("deferred_listener", &[]);
    let start = Instant::now();
    assert_eq!(example.ask("POST", "/signup/ada"), (200, "welcome, ada\n".into()));
    assert_eq!(example.ask("POST", "/signup/nobody"), (200, "welcome, nobody\n".into()));
    wait_until("the mail is sent", || example.get("/mails") == "1 mails\n");
    assert!(start.elapsed() >= Duration::from_secs(2), "{:?}", start.elapsed());
    let ended = example.end();
    says(&ended, "ada signed up");
    says(&ended, "there is no such mailbox");
}

#[test]
fn pools() {
    let example = Example::start("pools", &ONE);
    let statuses: Vec<_> =
        (0..9).map(|n| example.ask("POST", &format!("/reports/{n}")).0).collect();
    assert_eq!(statuses[..2], [202, 202]);
    assert!(statuses[2..].contains(&503), "{statuses:?}");
    for picture in 0..50 {
        let expected = format!("thumbnail of {picture}\n");
        assert_eq!(example.get(&format!("/thumbnails/{picture}")), expected);
    }
    let refused = statuses.iter().filter(|status| **status == 503).count();
    let expected = format!("reports: {} accepted, {refused} refused\n", 9 - refused);
    assert_eq!(example.get("/stats"), format!("default: 50 accepted, 0 refused\n{expected}"));
    says(&example.end(), "report 0 is written");
}

/// What an `EventSource` does: it asks again when the stream ends, with the last event's id, and
/// stops at 204 (HTML, § 9.2.3). The task ran once then.
#[test]
fn sse() {
    let example = Example::start("sse", &ONE);
    assert!(example.get("/").contains("events.close()"));
    let events = example.get("/count?steps=3");
    for event in ["event: progress\ndata: 3/3\n", "event: done\ndata: counted to 3\n"] {
        assert!(events.contains(event), "{events}");
    }
    let id =
        events.lines().filter_map(|line| line.strip_prefix("id: ")).next_back().expect("an id");
    let mut client = example.client();
    client.send(format!("GET /count?steps=3 HTTP/1.1\r\nHost: h\r\nLast-Event-ID: {id}\r\n\r\n"));
    assert_eq!(client.answer().status, 204);
    drop(client);
    assert_eq!(example.end().count("accepted"), 1);
}

#[test]
fn static_files() {
    let scratch = Scratch::new("static-example");
    std::fs::write(scratch.path().join("a.css"), "body {}").expect("a file");
    let mut command = example_command("static_files", &[("SIDECORE_WORKER_NUM", "1")]);
    command.arg(scratch.path());
    let example = Example(ServerProcess::spawn(command));
    assert_eq!(example.get("/a.css"), "body {}");
    let mut client = example.client();
    client.send("GET /a.css HTTP/1.1\r\nHost: h\r\nRange: bytes=0-3\r\n\r\n");
    let part = client.answer();
    assert_eq!((part.status, text(&part).as_str()), (206, "body"));
    assert_eq!(example.get("/hello"), "made here\n");
    assert_eq!(example.ask("GET", "/no/such/file").0, 404);
    // What is there and not served is said once of each kind.
    for name in [".env", ".hidden", "a.php", "b.php", "c.bak"] {
        std::fs::write(scratch.path().join(name), "secret").expect("a file");
        for _ in 0..2 {
            assert_eq!(example.ask("GET", &format!("/{name}")).0, 404, "{name}");
        }
    }
    let ended = example.end();
    let told = ended.log.iter().filter(|line| line.contains("is there and not served"));
    let told: Vec<_> = told.map(|line| line.split('"').nth(1).unwrap_or_default()).collect();
    let expected = [".env", "a.php", "c.bak"].map(|name| scratch.path().join(name));
    assert_eq!(told, expected.each_ref().map(|path| path.to_str().unwrap()));
}

#[test]
fn http2() {
    let scratch = Scratch::new("http2-example");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (chain, key) = (scratch.path().join("cert.pem"), scratch.path().join("key.pem"));
    std::fs::write(&chain, made.cert.pem()).expect("a file");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
    let mut command = example_command("http2", &ONE);
    command.args([&chain, &key]);
    let example = Example(ServerProcess::spawn(command));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a root");
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let socket = tokio::net::TcpStream::connect(example.0.address()).await.expect("it accepts");
        let tls = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
        let name = "localhost".try_into().expect("a name");
        let stream = tls.connect(name, socket).await.expect("a handshake");
        let (client, connection) = h2::client::handshake(stream).await.expect("a preface");
        tokio::spawn(connection);
        let paths = ["/", "/nap/1", "/nap/2", "/nap/3"];
        let mut answers = Vec::new();
        for path in paths {
            let request = http::Request::get(format!("https://localhost{path}")).body(());
            let mut client = client.clone().ready().await.expect("room");
            let sent = client.send_request(request.expect("a request"), true);
            answers.push(sent.expect("it is sent").0);
        }
        for (path, answer) in paths.iter().zip(answers) {
            let mut body = answer.await.expect("an answer").into_body();
            let said = body.data().await.expect("a body").expect("it comes");
            let expected =
                if *path == "/" { "HTTP/2.0, for https://localhost/\n" } else { "napped\n" };
            assert_eq!(said, expected);
        }
    });
    let ended = example.end();
    assert_eq!((ended.count("accepted"), ended.count("finished")), (3, 3));
}

#[test]
fn async_pool() {
    let example = Example::start("async_pool", &[("SIDECORE_WORKER_NUM", "1")]);
    let said = example.get("/naps/200");
    assert!(said.starts_with("200 naps of 100ms took "), "{said}");
    let took: u64 = said.split(' ').rev().nth(1).and_then(|ms| ms.parse().ok()).expect("a time");
    // One after the other they would take 20 seconds.
    assert!((100..10_000).contains(&took), "{said}");
    example.end();
}

/// Those that answer no question are instruments.
#[test]
fn every_example_is_in_the_index_of_the_documents() {
    const INSTRUMENTS: [&str; 3] = ["conformance.rs", "durable_rate.rs", "journal_rate.rs"];
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let index = std::fs::read_to_string(root.join("docs/README.md")).expect("an index");
    let packages = std::fs::read_dir(root.join("server")).expect("packages");
    let folders = packages.map(|entry| entry.expect("an entry").path().join("examples"));
    let folders = folders.chain([root.join("server/examples")]).filter(|folder| folder.is_dir());
    for entry in folders.flat_map(|folder| std::fs::read_dir(folder).expect("examples")) {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let name = path.file_name().and_then(|name| name.to_str()).expect("a text");
        let from_root = path.strip_prefix(&root).expect("it is in the repository").display();
        let known = INSTRUMENTS.contains(&name) || index.contains(&format!("(../{from_root})"));
        assert!(known, "docs/README.md has no row for {from_root}");
    }
}
