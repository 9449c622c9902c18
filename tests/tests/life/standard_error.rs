//! Standard error, whoever reads it or does not: the server starts, serves, drains and ends.

use std::fs::{File, OpenOptions};
use std::io::{self, PipeReader, PipeWriter, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process};
use sidecore_tests::{Client, example_command, server_command, wait_until};

const LIMIT: Duration = Duration::from_secs(40);

/// A server whose lines are not read: it is on a port that was free.
struct Mute {
    child: Child,
    address: SocketAddr,
}

impl Mute {
    fn start(variables: &[(&str, &str)], set: impl FnOnce(&mut Command)) -> Self {
        Mute::spawn(server_command(variables), set)
    }

    fn spawn(mut command: Command, set: impl FnOnce(&mut Command)) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        command.env("SIDECORE_PORT", port.to_string());
        set(&mut command);
        let child = command.spawn().expect("the server starts");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        wait_until("it listens", || TcpStream::connect(address).is_ok());
        Mute { child, address }
    }

    /// SIGTERM, and its exit code.
    fn stop(mut self) -> Option<i32> {
        let pid = Pid::from_raw(self.child.id() as i32).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(began.elapsed() < LIMIT, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Mute {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A pipe in which there is no room, and its reader.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = io::pipe().unwrap();
    let flags = fcntl_getfl(writer.as_fd()).unwrap();
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    while writer.write(&[b'x'; 4096]).is_ok() {}
    while writer.write(b"x").is_ok() {}
    fcntl_setfl(&writer, flags).unwrap();
    (reader, writer)
}

/// Starts it with such a standard error, has tasks panic, and ends it.
fn check(what: &str, set: impl FnOnce(&mut Command)) {
    let server = Mute::start(&[("SIDECORE_TASK_WORKER_NUM", "2")], set);
    let mut client = Client::connect(server.address);
    for _ in 0..20 {
        let answer = client.request("POST", "/tasks/run", r#"{"kind":"panic"}"#);
        assert_eq!(answer.status, 500, "{what}: {answer:?}");
        assert_eq!(client.request("GET", "/", "").body, b"OK", "{what}");
    }
    let began = Instant::now();
    assert_eq!(server.stop(), Some(0), "{what}");
    assert!(began.elapsed() < Duration::from_secs(20), "{what}: {:?}", began.elapsed());
}

#[test]
fn the_server_drains_with_a_reader_that_has_gone() {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    check("no reader", |command| {
        command.stderr(writer);
    });
}

#[test]
fn the_server_drains_with_a_reader_that_does_not_read() {
    let (_reader, writer) = full_pipe();
    check("a full pipe", |command| {
        command.stderr(writer);
    });
}

#[test]
fn the_server_drains_with_a_full_pipe_that_does_not_block() {
    let (_reader, writer) = full_pipe();
    let flags = fcntl_getfl(writer.as_fd()).unwrap();
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    check("a full pipe that does not block", |command| {
        command.stderr(writer);
    });
}

#[test]
fn the_server_drains_with_a_full_disk() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    check("/dev/full", |command| {
        command.stderr(full);
    });
}

#[test]
fn the_server_drains_without_standard_error_or_output() {
    check("/dev/null", |command| {
        command.stderr(Stdio::null());
    });
    check("closed", |command| {
        let mut closed = Command::new("sh");
        closed.args(["-c", r#"exec "$0" 0<&- 1>&- 2>&-"#]).arg(command.get_program());
        closed.current_dir(std::env::temp_dir());
        for (name, value) in command.get_envs() {
            closed.env(name, value.unwrap_or_default());
        }
        *command = closed;
    });
}

#[test]
fn what_is_said_is_in_a_file_at_the_end() {
    let path = std::env::temp_dir().join(format!("sidecore-{}-stderr", std::process::id()));
    let file = File::create(&path).unwrap();
    check("a file", |command| {
        command.stderr(file);
    });
    let said = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(said.matches("panicked at").count(), 20, "{said}");
    assert!(said.contains("draining"), "{said}");
    assert!(said.lines().last().unwrap().starts_with("sidecore: ended: "), "{said}");
}

/// The log's own thread waits for the reader, and nobody else for long.
#[test]
fn the_server_drains_with_an_access_log_that_nobody_reads() {
    let (_reader, stdout) = full_pipe();
    let (_reader, stderr) = full_pipe();
    let server = Mute::spawn(example_command("access_log", &[]), |command| {
        command.stdout(stdout).stderr(stderr);
    });
    let mut client = Client::connect(server.address);
    for _ in 0..20 {
        assert_eq!(client.request("GET", "/hello", "").body, b"hello\n");
    }
    let began = Instant::now();
    assert_eq!(server.stop(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

/// Accepting pauses, which is said, and goes on.
#[test]
fn the_server_outlives_its_descriptors_without_a_reader() {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let variables = [("SIDECORE_WORKER_NUM", "1"), ("SIDECORE_TASK_WORKER_NUM", "1")];
    let server = Mute::start(&variables, |command| {
        let mut limited = Command::new("sh");
        limited.args(["-c", r#"ulimit -n 140; exec "$0""#]).arg(command.get_program());
        limited.current_dir(std::env::temp_dir()).stdin(Stdio::null()).stdout(Stdio::null());
        for (name, value) in command.get_envs() {
            limited.env(name, value.unwrap_or_default());
        }
        limited.stderr(writer);
        *command = limited;
    });
    let crowd: Vec<_> = (0..200).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    std::thread::sleep(Duration::from_millis(300));
    drop(crowd);
    assert_eq!(Client::connect(server.address).request("GET", "/", "").body, b"OK");
    assert_eq!(server.stop(), Some(0));
}

/// The error of a start is what standard error is for, also where no thread is to be had.
#[test]
fn the_error_of_a_start_is_said() {
    let output = server_command(&[("SIDECORE_PORT", "x")]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.starts_with("sidecore: error: SIDECORE_PORT=x: "), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

/// A panic of a destructor while another panic unwinds aborts the process, behind the report.
#[test]
fn the_report_of_a_panic_that_aborts_is_written_before() {
    const NAME: &str = "standard_error::the_report_of_a_panic_that_aborts_is_written_before";
    const CHILD: &str = "SIDECORE_TEST_ABORTS";
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("the second");
        }
    }
    if std::env::var_os(CHILD).is_some() {
        sidecore::lifecycle::stderr::report_panics();
        let _bomb = Bomb;
        panic!("the first");
    }
    let mut again = Command::new(std::env::current_exe().unwrap());
    let output = again.args([NAME, "--exact", "--nocapture"]).env(CHILD, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    for expected in ["the first", "the second", "panic in a destructor during cleanup"] {
        assert!(said.contains(expected), "{expected:?} is not in {said}");
    }
}
