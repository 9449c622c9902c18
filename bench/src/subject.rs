//! What is compared: a server and the request it is asked.

use std::fmt;
use std::process::{Command, Stdio};
use std::str::FromStr;

use sidecore_tests::{ServerProcess, server_command, server_command_of};

use crate::peers;

/// A server, a request and the server's environment, written `server`, `server:request` or
/// `server:request@KEY=VALUE,KEY=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The server.
    pub server: Server,
    /// What it is asked.
    pub request: Request,
    /// Variables it is started with.
    pub variables: Vec<(String, String)>,
    name: String,
}

/// The servers that can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// The raw io_uring control.
    Uring,
    /// The raw epoll control.
    Epoll,
    /// The product.
    Sidecore,
    /// hyper 1 on tokio's current-thread runtime (`bench/peers`).
    Hyper,
    /// An axum `Router` there. The same on sidecore is `sidecore` with SIDECORE_BENCH_BINARY at its
    /// example `axum`.
    Axum,
    /// The product's library in a program that does nothing but `GET /`, with the companion
    /// (`bench/peers`).
    CompanionOn,
    /// The same without.
    CompanionOff,
}

/// The requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// `GET /`, what every server here answers alike.
    Get,
    /// `POST /` with the bytes of the dispatching request, echoed.
    Echo,
    /// `POST /tasks`: dispatches a job that does nothing, answers with its id.
    Dispatch,
    /// `POST /tasks/run`: waits for the output.
    Run,
    /// `GET` under the middleware that dispatches a task on each request.
    Audited,
    /// `GET /hello` of the example `direct`, which dispatches a task and answers as `GET /`.
    Hello,
}

const SERVERS: [(Server, &str); 7] = [
    (Server::Uring, "uring"),
    (Server::Epoll, "epoll"),
    (Server::Sidecore, "sidecore"),
    (Server::Hyper, "hyper"),
    (Server::Axum, "axum"),
    (Server::CompanionOn, "companion-on"),
    (Server::CompanionOff, "companion-off"),
];
const REQUESTS: [(Request, &str); 6] = [
    (Request::Get, "get"),
    (Request::Echo, "echo"),
    (Request::Dispatch, "dispatch"),
    (Request::Run, "run"),
    (Request::Audited, "audited"),
    (Request::Hello, "hello"),
];

/// The CPUs of a comparison: the serving one, and the one that clients and task workers share.
#[derive(Clone, Copy, Debug)]
pub struct Cpus {
    /// Of every server's one serving thread.
    pub server: usize,
    /// Of the task worker.
    pub task_worker: usize,
    /// Of the load client.
    pub client: usize,
}

impl Subject {
    /// Starts it, its serving thread pinned to `cpus.server`.
    pub fn start(&self, cpus: Cpus) -> ServerProcess {
        let mut command = match self.server {
            Server::Uring => control_command("uring", cpus),
            Server::Epoll => control_command("epoll", cpus),
            Server::Sidecore => self.sidecore_command(cpus),
            Server::Hyper => peer_command("peer-hyper", &[], cpus),
            Server::Axum => peer_command("peer-axum", &[], cpus),
            Server::CompanionOn => peer_command("peer-companion", &["serve", "on"], cpus),
            Server::CompanionOff => peer_command("peer-companion", &["serve", "off"], cpus),
        };
        command.envs(self.variables.iter().map(|(key, value)| (key, value)));
        ServerProcess::spawn(command)
    }

    fn sidecore_command(&self, cpus: Cpus) -> Command {
        let variables = [
            ("SIDECORE_WORKER_CPUS", &*cpus.server.to_string()),
            ("SIDECORE_TASK_WORKER_CPUS", &*cpus.task_worker.to_string()),
        ];
        match self.variables.iter().find(|(key, _)| key == BINARY) {
            Some((_, path)) => server_command_of(path.as_ref(), &variables),
            None => server_command(&variables),
        }
    }
}

/// The variable that names another build of the server, to compare before with after.
const BINARY: &str = "SIDECORE_BENCH_BINARY";

/// This program's own subcommand, which ends by itself.
fn control_command(name: &str, cpus: Cpus) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.args(["control", name, "--cpu", &cpus.server.to_string(), "--seconds", "1800"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn peer_command(program: &str, mode: &[&str], cpus: Cpus) -> Command {
    let mut command = Command::new(peers::build(program));
    command.args(mode).args([&cpus.server.to_string(), "1800"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

impl Request {
    /// Its bytes.
    pub fn bytes(self) -> Vec<u8> {
        const NOOP: &str = r#"{"kind":"noop"}"#;
        let (method, path, body) = match self {
            Request::Get => ("GET", "/", ""),
            Request::Echo => ("POST", "/", NOOP),
            Request::Dispatch => ("POST", "/tasks", NOOP),
            Request::Run => ("POST", "/tasks/run", NOOP),
            Request::Audited => ("GET", "/audited/page", ""),
            Request::Hello => ("GET", "/hello", ""),
        };
        let length = match body {
            "" => String::new(),
            body => format!("Content-Length: {}\r\n", body.len()),
        };
        format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{length}\r\n{body}").into_bytes()
    }
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (subject, variables) = text.split_once('@').unwrap_or((text, ""));
        let (server, request) = subject.split_once(':').unwrap_or((subject, "get"));
        let variables = variables.split(',').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').ok_or(format!("`{pair}` is no KEY=VALUE"))?;
            Ok((key.to_owned(), value.to_owned()))
        });
        Ok(Subject {
            server: find(&SERVERS, server)?,
            request: find(&REQUESTS, request)?,
            variables: variables.collect::<Result<_, String>>()?,
            name: text.to_owned(),
        })
    }
}

fn find<T: Copy>(table: &[(T, &str)], name: &str) -> Result<T, String> {
    let found = table.iter().find(|(_, known)| *known == name);
    found.map(|(value, _)| *value).ok_or_else(|| {
        let names: Vec<_> = table.iter().map(|(_, known)| *known).collect();
        format!("`{name}` is none of {}", names.join(", "))
    })
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name)
    }
}
