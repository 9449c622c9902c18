//! A server with several listeners: TCP beside TCP, Unix sockets, sockets of a supervisor.

use std::convert::Infallible;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use http_body_util::Full;
use sidecore::config::Listen;
use sidecore::{Config, Incoming, Request, Response, Running, Server};
use sidecore_tests::{Client, server_command, wait_until};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
const LARGE_BYTES: usize = 16 << 20;

/// A server of two executors whose answers name the executor.
fn start(listens: impl IntoIterator<Item = Listen>, change: impl FnOnce(&mut Config)) -> Running {
    let mut config = Config::default();
    config.port = 0;
    config.options.worker_num = Some(2);
    config.options.task_worker_num = Some(0);
    change(&mut config);
    let server = listens.into_iter().fold(Server::new(config), Server::listen);
    server
        .start(|executor| {
            let index = executor.index();
            tower::service_fn(move |request: Request<Incoming>| async move {
                if request.uri().path() == "/slow" {
                    sidecore_runtime::executor::sleep(Duration::from_millis(300)).await;
                }
                let body = match request.uri().path() {
                    "/large" => vec![b'a'; LARGE_BYTES],
                    _ => index.to_string().into_bytes(),
                };
                Ok::<_, Infallible>(Response::new(Full::new(body.into())))
            })
        })
        .expect("it starts")
}

fn end(running: Running) {
    running.shutdown().raise();
    running.wait().expect("it ends");
}

fn scratch(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("sidecore-{}-{name}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

fn connect(path: &PathBuf) -> UnixStream {
    let stream = UnixStream::connect(path).expect("the server accepts");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time limit");
    stream
}

/// Sends and reads to the end.
fn ask(mut stream: impl Read + Write, request: &str) -> String {
    stream.write_all(request.as_bytes()).expect("the server takes it");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the server answers");
    answer
}

fn body(answer: &str) -> &str {
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer:?}");
    answer.split_once("\r\n\r\n").expect("a head").1
}

#[test]
fn all_listeners_serve_and_all_of_them_end() {
    let path = scratch("all");
    let running = start(
        [
            Listen::tcp("127.0.0.1:0".parse().unwrap()),
            Listen::unix(&path),
            "[::1]:0".parse().unwrap(),
        ],
        |_| {},
    );
    let addresses = running.addresses().to_vec();
    assert_eq!(addresses.len(), 3);
    assert_eq!(addresses[0], running.address());
    for address in &addresses {
        body(&ask(TcpStream::connect(address).unwrap(), GET));
    }
    body(&ask(connect(&path), GET));
    let said = running.describe().join("\n");
    assert!(said.contains(&format!("unix:{}", path.display())), "{said}");
    assert!(said.contains(&addresses[1].to_string()), "{said}");
    end(running);
    assert!(!path.exists());
    for address in &addresses {
        assert!(TcpStream::connect(address).is_err());
    }
}

/// Nothing listens at host and port, and what is said names what does.
#[test]
fn without_a_host_the_others_listen_alone() {
    let path = scratch("alone");
    let running = start([Listen::unix(&path)], |config| config.host = "none".to_owned());
    assert_eq!(running.addresses(), []);
    assert_eq!(running.address().to_string(), "0.0.0.0:0");
    let said = running.describe().join("\n");
    assert!(said.contains(&format!("listening on http+unix:{} with", path.display())), "{said}");
    body(&ask(connect(&path), GET));
    end(running);

    let running = start(["[::1]:0".parse().unwrap()], |config| config.host = "none".to_owned());
    assert!(running.address().is_ipv6() && running.addresses().len() == 1);
    body(&ask(TcpStream::connect(running.address()).unwrap(), GET));
    end(running);
}

#[test]
fn a_server_that_would_listen_nowhere_is_refused() {
    let output = server_command(&[("SIDECORE_HOST", "none")]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("listen nowhere: host is none"), "{said}");
    assert_eq!(said.trim().lines().count(), 1, "{said}");
}

/// The first to wait takes the next connection: none takes all.
#[test]
fn the_executors_take_connections_of_a_unix_socket_in_turn() {
    let path = scratch("turn");
    let running = start([Listen::unix(&path)], |_| {});
    let mut taken = [0; 2];
    for _ in 0..40 {
        taken[body(&ask(connect(&path), GET)).parse::<usize>().unwrap()] += 1;
    }
    end(running);
    println!("{taken:?}");
    assert!(taken.iter().all(|taken| *taken >= 10), "{taken:?}");
}

#[test]
fn a_unix_connection_is_served_like_any_other() {
    let path = scratch("alike");
    let running = start([Listen::unix(&path)], |config| config.options.head_timeout_ms = 200);
    let mut kept = connect(&path);
    kept.write_all("GET / HTTP/1.1\r\nHost: h\r\n\r\n".repeat(3).as_bytes()).unwrap();
    let mut lines = BufReader::new(kept.try_clone().unwrap()).lines().map_while(Result::ok);
    let answers = lines.by_ref().filter(|line| line.contains("200 OK")).take(3).count();
    assert_eq!(answers, 3);
    assert!(ask(connect(&path), "nonsense\r\n\r\n").starts_with("HTTP/1.1 400 "));
    // A head that does not end.
    assert!(ask(connect(&path), "GET / HTTP/1.1\r\n").starts_with("HTTP/1.1 408 "));
    end(running);
}

/// The kernel has room for more only when three quarters of what it keeps were read.
#[test]
fn a_slow_reader_of_a_unix_socket_keeps_its_connection() {
    let path = scratch("slow");
    let running = start([Listen::unix(&path)], |config| config.options.write_timeout_ms = 800);
    let mut slow = connect(&path);
    slow.write_all(GET.replace("GET /", "GET /large").as_bytes()).unwrap();
    let (start, mut piece) = (Instant::now(), vec![0; 12 * 1024]);
    while start.elapsed() < Duration::from_secs(5) {
        slow.read_exact(&mut piece)
            .unwrap_or_else(|error| panic!("{error}, {:?}", start.elapsed()));
        std::thread::sleep(Duration::from_millis(100));
    }
    // One that reads no more is not waited for.
    std::thread::sleep(Duration::from_millis(2500));
    let mut rest = Vec::new();
    let _ = slow.read_to_end(&mut rest);
    assert!(rest.len() < LARGE_BYTES / 2, "{} bytes", rest.len());
    end(running);
}

/// The limit is of an executor, whichever listener a connection came by.
#[test]
fn a_full_server_refuses_on_every_listener() {
    let path = scratch("full");
    let running = start([Listen::unix(&path)], |config| {
        config.options.worker_num = Some(1);
        config.options.connections_max = 1;
        config.options.accept_timeout_ms = 50;
    });
    let mut kept = Client::connect(running.address());
    assert_eq!(kept.request("GET", "/", "").status, 200);
    assert!(ask(connect(&path), GET).starts_with("HTTP/1.1 503 "));
    assert!(ask(TcpStream::connect(running.address()).unwrap(), GET).starts_with("HTTP/1.1 503 "));
    drop(kept);
    let is_served = || ask(connect(&path), GET).starts_with("HTTP/1.1 200 OK\r\n");
    wait_until("there is room again", is_served);
    end(running);
}

/// What is being served, and what waits in the backlog, is answered.
#[test]
fn the_drain_answers_what_came_by_a_unix_socket() {
    let path = scratch("drain");
    let running = start([Listen::unix(&path)], |_| {});
    let slow = GET.replace("GET /", "GET /slow");
    let mut streams: Vec<_> = (0..32).map(|_| connect(&path)).collect();
    streams.iter_mut().for_each(|stream| stream.write_all(slow.as_bytes()).unwrap());
    end(running);
    for stream in streams {
        body(&ask(stream, ""));
    }
    assert!(!path.exists());
}

#[test]
fn a_socket_in_use_is_refused_and_named() {
    let path = scratch("twice");
    let running = start([Listen::unix(&path)], |_| {});
    let mut config = Config::default();
    config.port = 0;
    config.options.task_worker_num = Some(0);
    let refused = Server::new(config).listen_unix(&path).start(|_| {
        tower::service_fn(|_: Request<Incoming>| async {
            Ok::<_, Infallible>(Response::new(Full::new(bytes::Bytes::new())))
        })
    });
    let error = refused.err().expect("a second server is refused");
    assert!(error.is_bind() && error.to_string().contains("in use by this process"), "{error}");
    body(&ask(connect(&path), GET));
    end(running);
}

/// As systemd starts it: descriptor 3 listens, and two variables say so.
#[test]
fn a_socket_of_a_supervisor_is_taken_over() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // It waits until the server is there.
    let early = TcpStream::connect(address).unwrap();
    let server = server_command(&[]);
    let script = "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\"";
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(server.get_program());
    command.env("SIDECORE_PORT", "0").env("SIDECORE_LISTEN", "systemd");
    command.current_dir(std::env::temp_dir());
    command.stdin(Stdio::from(OwnedFd::from(listener)));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    early.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let answers = [ask(early, GET), ask(TcpStream::connect(address).unwrap(), GET)];
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
    for answer in answers {
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
    }
}

/// Two sockets of a supervisor, given in either order, of which one is behind a proxy.
#[test]
fn sockets_of_a_supervisor_are_told_apart_by_name() {
    let header = "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n";
    for (first, second) in [("web", "api"), ("api", "web")] {
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let address = |name| listeners[usize::from(name == second)].local_addr().unwrap();
        let (web, api) = (address("web"), address("api"));
        let [one, two] = listeners.map(OwnedFd::from);
        let names = format!("{first}:{second}");
        let mut command = supervised(&names, "systemd:web proxy, systemd:api");
        command.stdin(Stdio::from(one)).stdout(Stdio::from(two));
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let (web, api) = (TcpStream::connect(web).unwrap(), TcpStream::connect(api).unwrap());
        for stream in [&web, &api] {
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        }
        let answers = [ask(web, &format!("{header}{GET}")), ask(api, GET)];
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(child.wait().unwrap().success(), "{names}");
        for answer in answers {
            assert!(answer.starts_with("HTTP/1.1 200 "), "{names}: {answer:?}");
        }
    }
}

#[test]
fn a_name_that_no_inherited_socket_has_is_refused_with_those_there_are() {
    let listeners = [(); 2].map(|()| OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap()));
    let [one, two] = listeners;
    let mut command = supervised("web:api", "systemd:wbe, systemd");
    command.stdin(Stdio::from(one)).stdout(Stdio::from(two));
    let said = String::from_utf8(command.output().unwrap().stderr).unwrap();
    assert!(
        said.contains("no inherited socket is named wbe, those that there are: web, api"),
        "{said}"
    );
}

/// The server with descriptors 3 and 4 of these names, from its standard input and output.
fn supervised(names: &str, listen: &str) -> Command {
    let script = "exec 3<&0 4<&1 </dev/null >/dev/null; LISTEN_FDS=2 LISTEN_PID=$$ exec \"$0\"";
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(server_command(&[]).get_program());
    command.env("SIDECORE_PORT", "0").env("SIDECORE_LISTEN", listen);
    command.env("LISTEN_FDNAMES", names).current_dir(std::env::temp_dir());
    command
}

#[test]
fn sockets_of_no_supervisor_are_missed() {
    let output = server_command(&[("SIDECORE_LISTEN", "systemd")]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("LISTEN_FDS is not set"), "{said}");
}

/// The binary is built without the feature `tls` here.
#[test]
fn a_server_without_tls_says_so_rather_than_speak_plain() {
    let output = server_command(&[("SIDECORE_LISTEN", "127.0.0.1:0 tls")]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("built without TLS"), "{said}");
}
