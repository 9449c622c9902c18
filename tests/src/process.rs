//! The server's binary, built if need be, started on a free port, ended with the test.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long a server may take to start or to end.
const LIMIT: Duration = Duration::from_secs(40);

/// A running server; killed when dropped.
pub struct ServerProcess {
    child: Child,
    address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

/// A server that has ended: how, and what it said.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// Its lines on standard error.
    pub log: Vec<String>,
}

impl Ended {
    /// A count of the last line, such as `lost` of `accepted=3 finished=3 lost=0`.
    pub fn count(&self, name: &str) -> u64 {
        let last = self.log.last().expect("the server says how it ended");
        let field = last.split_whitespace().find_map(|word| word.strip_prefix(&format!("{name}=")));
        field.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {last}"))
    }
}

/// The command that starts the server on a free port, without a configuration file.
pub fn server_command(variables: &[(&str, &str)]) -> Command {
    server_command_of(binary(), variables)
}

/// The same for an example of any package. It is built as a part of the whole workspace, so that
/// its dependencies have the features, and so are the builds, that `cargo test --workspace` has.
pub fn example_command(name: &str, variables: &[(&str, &str)]) -> Command {
    let binary = build(&["--workspace", "--example", name], name);
    server_command_of(&binary, variables)
}

/// The same for the binary of another package.
pub fn binary_command(name: &str, variables: &[(&str, &str)]) -> Command {
    let binary = build(&["--workspace", "--bin", name], name);
    server_command_of(&binary, variables)
}

/// The same for another build of the server.
pub fn server_command_of(binary: &Path, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(binary);
    command.env("SIDECORE_PORT", "0").current_dir(std::env::temp_dir()).stdin(Stdio::null());
    command.envs(variables.iter().copied());
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

impl ServerProcess {
    /// Starts the server and waits until it listens.
    pub fn start(variables: &[(&str, &str)]) -> Self {
        Self::spawn(server_command(variables))
    }

    /// Starts a command of [`server_command`] that was changed.
    pub fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().expect("the server starts");
        let mut stderr = BufReader::new(child.stderr.take().expect("stderr is piped"));
        let mut lines = Vec::new();
        let address = loop {
            let mut line = String::new();
            if stderr.read_line(&mut line).expect("the log is text") == 0 {
                let _ = child.kill();
                panic!("the server did not start: {lines:?}");
            }
            let rest = ["http", "https"].iter().find_map(|scheme| {
                line.split_once(&format!("listening on {scheme}://")).map(|(_, rest)| rest)
            });
            let address = rest.map(|rest| {
                let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                rest[..end].parse().expect("the server says its address")
            });
            lines.push(line.trim_end().to_owned());
            if let Some(address) = address {
                break address;
            }
        };
        let log = Arc::new(Mutex::new(lines));
        let kept = log.clone();
        let reader = std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                kept.lock().unwrap().push(line);
            }
        });
        ServerProcess { child, address, log, reader: Some(reader) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        let pid = Pid::from_raw(self.pid() as i32).expect("a process id is not 0");
        kill_process(pid, Signal::TERM).expect("the server is there to be told");
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Ended {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("the server can be waited for") {
                break status;
            }
            assert!(start.elapsed() < LIMIT, "the server does not end: {:?}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        };
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the log is read to its end");
        }
        Ended { status, log: self.log() }
    }

    /// Ends it by SIGTERM and checks that nothing was lost.
    pub fn stop(self) -> Ended {
        self.terminate();
        let ended = self.wait();
        assert!(ended.status.success(), "{ended:?}");
        assert_eq!(ended.count("lost"), 0, "{ended:?}");
        ended
    }

    /// Descriptors it has open.
    pub fn descriptors(&self) -> usize {
        let path = format!("/proc/{}/fd", self.pid());
        std::fs::read_dir(path).expect("the server lives").count()
    }

    /// CPU time of all its threads so far.
    pub fn cpu_time(&self) -> Duration {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).expect("it lives");
        let nanoseconds = tasks.filter_map(|task| {
            let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanoseconds.sum())
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> usize {
        let text =
            std::fs::read_to_string(format!("/proc/{}/statm", self.pid())).expect("it lives");
        let pages: usize = text.split(' ').nth(1).and_then(|n| n.parse().ok()).expect("statm");
        pages * rustix::param::page_size()
    }

    fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The demo of this profile, brought up to date once: with the features that it is shipped with,
/// and not with all that the workspace's tests turn on.
fn binary() -> &'static PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| build(&["--package", "sidecore-demo"], "sidecore-demo"))
}

/// Brings a target of this profile up to date; its path.
fn build(target: &[&str], name: &str) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.current_dir(env!("CARGO_MANIFEST_DIR")).arg("build").args(target);
    build.args(["--profile", &profile()]);
    build.args(["--message-format", "json"]).stderr(Stdio::inherit());
    let output = build.output().expect("cargo runs");
    assert!(output.status.success(), "{name} does not build");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .find(|path| path.file_name().is_some_and(|file| file == name))
        .expect("cargo names the binary")
}

/// The profile this program was built in: its folder, `target/PROFILE/`, has the profile's name.
fn profile() -> String {
    let folder = profile_folder();
    match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") => "dev".into(),
        Some(profile) => profile.into(),
        None => panic!("{} is no folder of a profile", folder.display()),
    }
}

/// Where what is built in this program's profile lies: `target/PROFILE/`.
fn profile_folder() -> PathBuf {
    let program = std::env::current_exe().expect("a program has a path");
    let folder = program.ancestors().skip(1).find(|folder| !folder.ends_with("deps"));
    folder.expect("a program lies in a folder").to_owned()
}

/// Builds a project that is not of this workspace, in this program's profile and beside what is built
/// here, of which it takes what is the same; the folder of its programs, or what the compiler says.
pub fn build_project(project: &Path) -> Result<PathBuf, String> {
    let folder = profile_folder();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.current_dir(project).args(["build", "--workspace", "--quiet", "--profile", &profile()]);
    build.env("CARGO_TARGET_DIR", folder.parent().expect("it lies in the target folder"));
    let built = build.output().expect("cargo runs");
    match built.status.success() {
        true => Ok(folder),
        false => Err(String::from_utf8_lossy(&built.stderr).into_owned()),
    }
}
