//! Signals, as supervisors, terminals and containers send them.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use sidecore::lifecycle::Life;
use sidecore::{Config, Incoming, Request, Response, Server};
use sidecore_tests::{Client, ServerProcess, server_command, wait_for_task_count};

fn send(server: &ServerProcess, signal: Signal) {
    kill_process(Pid::from_raw(server.pid() as i32).unwrap(), signal).unwrap();
}

/// The server, started by a shell that does something before.
fn after(first: &str) -> Command {
    let server = server_command(&[]);
    let mut command = Command::new("sh");
    command.args(["-c", &format!(r#"{first}; exec "$0""#)]).arg(server.get_program());
    command.current_dir(std::env::temp_dir()).stdin(Stdio::null()).stdout(Stdio::null());
    for (name, value) in server.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command.stderr(Stdio::piped());
    command
}

/// A request that takes a while: its task sleeps.
fn slow(server: &ServerProcess) -> Client {
    let mut client = Client::connect(server.address());
    let body = r#"{"kind":"sleep","ms":1500}"#;
    client.send(format!(
        "POST /tasks/run HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    wait_for_task_count(server.address(), 1);
    client
}

#[test]
fn a_hangup_cuts_no_request() {
    let server = ServerProcess::start(&[]);
    let mut client = slow(&server);
    send(&server, Signal::HUP);
    assert_eq!(client.answer().status, 200);
    let ended = server.stop();
    assert!(ended.log.iter().any(|line| line.contains("no certificates")), "{ended:?}");
}

/// As `timeout` sends it: to the child, and to its process group.
#[test]
fn two_signals_at_once_are_one() {
    let server = ServerProcess::start(&[]);
    let mut client = slow(&server);
    for _ in 0..5 {
        send(&server, Signal::TERM);
        send(&server, Signal::INT);
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(client.answer().status, 200);
    let ended = server.wait();
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(ended.count("finished"), 1, "{ended:?}");
}

/// What the parent has done to signals keeps nobody from ending the server.
#[test]
fn signals_that_the_parent_ignores_or_blocks_are_taken() {
    ServerProcess::spawn(after("trap '' TERM INT HUP")).stop();
    let server = ServerProcess::spawn(after("trap '' HUP"));
    send(&server, Signal::HUP);
    server.stop();
    let mut command = server_command(&[]);
    // SAFETY: between fork and exec only system calls are made, on memory of the closure's own.
    unsafe { command.pre_exec(block_all) };
    ServerProcess::spawn(command).stop();
}

/// The mask is inherited.
fn block_all() -> std::io::Result<()> {
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: sigfillset initialises `set` before sigprocmask reads it.
    let failed = unsafe {
        libc::sigfillset(set.as_mut_ptr());
        libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut())
    };
    if failed == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// Also what comes before the configuration and the journal are read, which may take long: here the
/// configuration is a pipe.
#[test]
fn a_signal_before_anything_is_read_ends_the_start() {
    let path = std::env::temp_dir().join(format!("sidecore-{}-fifo", std::process::id()));
    let made = Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    let path = path.to_str().unwrap();
    let mut child = server_command(&[("SIDECORE_CONFIG", path)]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    kill_process(Pid::from_raw(child.id() as i32).unwrap(), Signal::TERM).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    std::fs::write(path, "port = 0\n").unwrap();
    let status = child.wait().unwrap();
    std::fs::remove_file(path).unwrap();
    assert_eq!(status.code(), Some(0), "{status:?}");
}

/// It ends by itself and with 0, whenever it was told: before it listens, and after.
#[test]
fn a_signal_during_the_start_ends_the_start() {
    for after_ms in [0, 1, 2, 3, 5, 8, 12, 20, 30, 50, 80] {
        let mut child = server_command(&[]).spawn().unwrap();
        let status = format!("/proc/{}/status", child.id());
        // Before that there is nobody to take it: it kills, as it should.
        while !catches_sigterm(&std::fs::read_to_string(&status).unwrap()) {
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_millis(after_ms));
        kill_process(Pid::from_raw(child.id() as i32).unwrap(), Signal::TERM).unwrap();
        let code = child.wait().unwrap();
        assert_eq!(code.code(), Some(0), "after {after_ms} ms: {code:?}");
    }
}

/// By the mask of caught signals (proc(5)).
fn catches_sigterm(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = u64::from_str_radix(mask.expect("a mask").trim(), 16).expect("a number");
    mask & (1 << (15 - 1)) != 0
}

/// The only server of this process: the other tests have theirs in processes of their own.
#[test]
fn an_end_is_heard_while_a_hook_holds_a_reload_up() {
    let (started_tx, started) = channel();
    let (let_go, held) = channel::<()>();
    let held = Mutex::new(held);
    let mut config = Config::default();
    config.port = 0;
    config.options.task_worker_num = Some(0);
    let server = Server::new(config).on_life(move |life| match life {
        Life::Started { .. } | Life::Reloading => {
            let _ = started_tx.send(*life);
            if *life == Life::Reloading {
                let _ = held.lock().unwrap().recv_timeout(Duration::from_secs(60));
            }
        }
        _ => {}
    });
    let (ended_tx, ended) = channel();
    std::thread::spawn(move || {
        let report = server.serve(|_| {
            tower::service_fn(|_: Request<Incoming>| async {
                Ok::<_, std::convert::Infallible>(Response::new(String::new()))
            })
        });
        let _ = ended_tx.send(report.is_ok());
    });
    let limit = Duration::from_secs(20);
    started.recv_timeout(limit).unwrap();
    // It is heard of by the signals' thread a moment after it has started.
    let this = rustix::process::getpid();
    while started.try_recv().is_err() {
        kill_process(this, Signal::USR1).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    kill_process(this, Signal::TERM).unwrap();
    assert_eq!(ended.recv_timeout(limit / 2), Ok(true), "the drain has begun");
    drop(let_go);
}
