//! A PostgreSQL server of the tests' own: a new cluster in a temporary folder.
//!
//! ```text
//!  test ── a pipe ──► sh, the keeper ──► postgres, which listens at 127.0.0.1 and in the folder
//! ```
//!
//! The keeper ends the server and removes the folder when the pipe is closed: by the last test that
//! uses it, after a panic too, or by the kernel where the tests are killed.

use std::fs;
use std::io::{self, Write};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::Scratch;

/// Set: a machine without PostgreSQL fails the tests that need it.
const REQUIRED: &str = "SIDECORE_TEST_REQUIRE_POSTGRES";
/// How long it may take to start, or to end.
const LIMIT: Duration = Duration::from_secs(60);
/// Of the user `postgres`, at 127.0.0.1; in the folder, which nobody else can read, none is asked.
const PASSWORD: &str = "sidecore";
/// A free port may be taken before the server has it.
const PORTS_TRIED: usize = 3;
/// As the server tells that.
const PORT_TAKEN: &str = "Address already in use";
/// `$1` is the folder, what follows is the server.
const KEEPER: &str = r#"folder=$1; shift
"$@" 2>"$folder/log" &
read -r _
kill -INT $!
wait $!
rm -rf "$folder""#;

/// A running server.
#[derive(Debug)]
pub struct Postgres {
    keeper: Child,
    scratch: Scratch,
    port: u16,
}

impl Postgres {
    /// The one that the tests of this process share while they run. Where PostgreSQL is not
    /// installed that is said, and the test is to return; with SIDECORE_TEST_REQUIRE_POSTGRES it
    /// panics instead.
    ///
    /// # Panics
    /// If one is installed and does not start.
    pub fn shared() -> Option<Arc<Postgres>> {
        static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = shared.upgrade() {
            return Some(running);
        }
        let Some(programs) = programs() else {
            let missing = "no PostgreSQL (initdb and postgres) in PATH, in /usr/lib/postgresql/*/bin \
                           or where pg_config says: install it (Debian: postgresql)";
            assert!(std::env::var_os(REQUIRED).is_none(), "{missing}, or unset {REQUIRED}");
            // Not by `eprintln`, which is shown of tests that fail only.
            let _ = writeln!(io::stderr(), "skipped, there is {missing}");
            return None;
        };
        let mut attempts = 0..PORTS_TRIED;
        let started = loop {
            match Postgres::start(&programs) {
                Ok(started) => break Arc::new(started),
                Err(said) => assert!(
                    said.contains(PORT_TAKEN) && attempts.next().is_some(),
                    "PostgreSQL does not start: {said}"
                ),
            }
        };
        *shared = Arc::downgrade(&started);
        Some(started)
    }

    /// What it has said, where it does not start.
    fn start(programs: &Path) -> Result<Postgres, String> {
        let scratch = Scratch::new("sidecore-postgres");
        let account = Account::of_the_server();
        init(programs, &scratch, &account);
        let port = free_port();
        let mut server = vec![programs.join("postgres").into_os_string()];
        let data = scratch.path().join("data");
        server.extend(["-D".into(), data.into(), "-k".into(), scratch.path().into()]);
        server.extend(["-p".into(), port.to_string().into()]);
        for setting in SETTINGS {
            server.extend(["-c".into(), setting.into()]);
        }
        let mut command = Command::new("sh");
        command.arg("-c").arg(KEEPER).arg("sh").arg(scratch.path()).args(server);
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        // A group of its own: Ctrl-C in a terminal is for the tests, whose end it then notices.
        account.run(command.process_group(0).current_dir(scratch.path()));
        let keeper = command.spawn().expect("sh runs");
        let started = Postgres { keeper, scratch, port };
        let start = Instant::now();
        while !started.log().contains("ready to accept connections") {
            if start.elapsed() > LIMIT || started.log().contains("FATAL") {
                return Err(started.log());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(started)
    }

    /// How a client that calls itself `application` reaches it by TCP, with a password.
    pub fn url(&self, application: &str) -> String {
        let port = self.port;
        format!(
            "postgres://postgres:{PASSWORD}@127.0.0.1:{port}/postgres?application_name={application}"
        )
    }

    /// The folder with its Unix socket, and the port which is a part of that one's name; the user
    /// `postgres` needs no password there.
    pub fn socket(&self) -> (&Path, u16) {
        (self.scratch.path(), self.port)
    }

    /// What it has logged, each line with the application's name first, connections and their ends
    /// among it.
    pub fn log(&self) -> String {
        fs::read_to_string(self.scratch.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let start = Instant::now();
        while let Ok(None) = self.keeper.try_wait() {
            if start.elapsed() > LIMIT {
                // Its group: the server is in it.
                let group = rustix::process::Pid::from_child(&self.keeper);
                let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
                let _ = self.keeper.wait();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// It is small, keeps nothing over a crash, and tells how connections end: that one which did not
/// take leave is told from `debug1` on.
const SETTINGS: [&str; 9] = [
    "listen_addresses=127.0.0.1",
    "max_connections=64",
    "shared_buffers=16MB",
    "fsync=off",
    "log_destination=stderr",
    "log_min_messages=debug1",
    "log_disconnections=on",
    "log_line_prefix=%a ",
    "unix_socket_permissions=0700",
];

fn init(programs: &Path, scratch: &Scratch, account: &Account) {
    let password = scratch.path().join("password");
    fs::write(&password, PASSWORD).expect("the folder can be written");
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o700)).expect("it is ours");
    for path in [scratch.path(), &password] {
        account.give(path);
    }
    let mut command = Command::new(programs.join("initdb"));
    command.arg("-D").arg(scratch.path().join("data")).arg("--pwfile").arg(&password);
    command.args(["--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync"]);
    command.args(["--auth-local=trust", "--auth-host=scram-sha-256"]);
    command.current_dir(scratch.path());
    account.run(&mut command);
    let Output { status, stderr, .. } = command.output().expect("initdb runs");
    let said = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "initdb fails, as {account:?} in {:?}: {said}", scratch.path());
}

/// Where `initdb` and `postgres` are; the newest first among those of Debian.
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = std::env::split_paths(&path).collect();
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<_> = versions.map(|version| version.path()).collect();
    versions.sort_by_key(|version| {
        let number = version.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
        std::cmp::Reverse(number)
    });
    folders.extend(versions.into_iter().map(|version| version.join("bin")));
    if let Ok(said) = Command::new("pg_config").arg("--bindir").output() {
        folders.push(String::from_utf8_lossy(&said.stdout).trim().into());
    }
    folders
        .into_iter()
        .find(|folder| ["initdb", "postgres"].iter().all(|program| folder.join(program).is_file()))
}

/// Another may bind it before the server does.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// As whom the server runs: PostgreSQL refuses to be root.
#[derive(Debug)]
struct Account(Option<(u32, u32)>);

impl Account {
    fn of_the_server() -> Account {
        if !rustix::process::geteuid().is_root() {
            return Account(None);
        }
        let users = fs::read_to_string("/etc/passwd").expect("root has a list of users");
        let ids = |wanted: &&str| {
            let mut line = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
            let line = line.find(|fields| fields.first() == Some(wanted) && fields.len() > 3)?;
            Some((line[2].parse().ok()?, line[3].parse().ok()?))
        };
        let found = ["postgres", "nobody"].iter().find_map(ids);
        Account(Some(found.expect("a user `postgres` or `nobody`: PostgreSQL refuses to be root")))
    }

    fn give(&self, path: &Path) {
        if let Some((user, group)) = self.0 {
            chown(path, Some(user), Some(group)).expect("root may give a file away");
        }
    }

    fn run(&self, command: &mut Command) {
        if let Some((user, group)) = self.0 {
            command.uid(user).gid(group);
        }
    }
}
