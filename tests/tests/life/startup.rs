//! Bad starts: one clear line that names cause and cure, an exit code that is not 0, no panic.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};
use sidecore::tasks::TaskPool;
use sidecore::test_server::TestServer;
use sidecore::{Config, Incoming, Request, Response, Server};
use sidecore_tests::{ServerProcess, server_command};

/// Starts the server, which must refuse, and checks what it says.
fn refuses(mut command: Command, expected: &[&str]) {
    let mut child = command.spawn().expect("the server starts");
    let mut log = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut log).expect("text");
    let status = child.wait().expect("it ends");
    assert_eq!(status.code(), Some(2), "{log}");
    assert_eq!(log.lines().count(), 1, "{log}");
    for expected in expected {
        assert!(log.contains(expected), "{log:?} does not say {expected:?}");
    }
}

/// The server with `prepare` run in its process before it starts.
fn prepared(
    variables: &[(&str, &str)],
    prepare: impl Fn() -> std::io::Result<()> + Send + Sync + 'static,
) -> Command {
    let mut command = server_command(variables);
    // SAFETY: between fork and exec only system calls are made, on memory of the closure's own.
    unsafe { command.pre_exec(prepare) };
    command
}

fn limit(resource: Resource, maximum: u64) -> impl Fn() -> std::io::Result<()> {
    move || Ok(setrlimit(resource, Rlimit { current: Some(maximum), maximum: Some(maximum) })?)
}

/// A seccomp filter under which a call fails with `errno`, as a container's profile does.
fn deny(call: libc::c_long, errno: i32) -> impl Fn() -> std::io::Result<()> {
    move || {
        const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
        const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
        const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
        let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
        let mut filter = [
            step(LOAD, 0, 0, 0),
            step(JUMP, 0, 1, call as u32),
            step(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | errno as u32),
            step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
        ];
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
        // SAFETY: `program` and the filter it points to live through both calls.
        let denied = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) == 0
        };
        if denied { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    }
}

fn affinity(cpu: usize) -> impl Fn() -> std::io::Result<()> {
    move || {
        let mut set = CpuSet::new();
        set.set(cpu);
        Ok(sched_setaffinity(None, &set)?)
    }
}

#[test]
fn io_uring_that_is_denied_is_named_with_its_cure() {
    refuses(
        prepared(&[], deny(libc::SYS_io_uring_setup, libc::EPERM)),
        &["io_uring is not permitted", "seccomp"],
    );
    refuses(
        prepared(&[], deny(libc::SYS_io_uring_setup, libc::ENOSYS)),
        &["io_uring", "ENOSYS", "kernel"],
    );
}

/// As a systemd unit with `SystemCallFilter=~@resources` and `SystemCallErrorNumber=EPERM` has it.
#[test]
fn pinning_that_is_denied_is_named_with_its_cure() {
    let command = prepared(&[], deny(libc::SYS_sched_setaffinity, libc::EPERM));
    refuses(command, &["cannot be pinned", "sched_setaffinity", "SystemCallFilter="]);
}

/// The line is there though no thread could be started to write it, either.
#[test]
fn threads_that_are_not_to_be_had_are_named_with_their_cure() {
    let command = prepared(&[], deny(libc::SYS_clone3, libc::EAGAIN));
    refuses(command, &["the signal thread cannot start", "TasksMax=", "ulimit -u"]);
}

#[test]
fn too_little_memlock_is_named_with_its_cure() {
    let command = prepared(&[], limit(Resource::Memlock, 64 * 1024));
    refuses(command, &["locked memory is 64 KiB", "ulimit -H -l"]);
}

#[test]
fn too_few_descriptors_are_named_with_their_cure() {
    refuses(prepared(&[], limit(Resource::Nofile, 20)), &["open files is 20", "ulimit -H -n"]);
}

#[test]
fn a_cpu_outside_the_affinity_mask_is_refused_and_never_escaped_to() {
    let command = prepared(&[("SIDECORE_WORKER_CPUS", "0")], affinity(1));
    refuses(command, &["CPU 0", "affinity mask"]);
    // Without the wish for CPU 0 all threads stay within the mask.
    let server = ServerProcess::spawn(prepared(&[], affinity(1)));
    for task in std::fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap() {
        let path = task.unwrap().path().join("status");
        let status = std::fs::read_to_string(path).unwrap();
        assert!(status.contains("Cpus_allowed_list:\t1\n"), "{status}");
    }
    server.stop();
}

#[test]
fn nonsense_in_the_configuration_is_refused_with_its_name() {
    let check =
        |name, value, expected: &[&str]| refuses(server_command(&[(name, value)]), expected);
    check("SIDECORE_PORT", "banana", &["SIDECORE_PORT=banana"]);
    check("SIDECORE_WORKER_NUM", "0", &["SIDECORE_WORKER_NUM=0"]);
    check("SIDECORE_WORKER_CPUS", "4000", &["CPU 4000", "worker_cpus"]);
    check("SIDECORE_WORKER_NUM", "512", &["512"]);
    check("SIDECORE_TYPO", "1", &["SIDECORE_TYPO"]);
    check("SIDECORE_WRITE_TIMEOUT_MS", "100us", &["SIDECORE_WRITE_TIMEOUT_MS=100us", "whole"]);
    check("SIDECORE_CONFIG", "/nonexistent", &["/nonexistent"]);
}

/// The server with an argument, and with a setting that no start would take.
fn asked(argument: &str) -> Command {
    let mut command = server_command(&[("SIDECORE_WORKER_NUM", "banana")]);
    command.arg(argument).stdout(Stdio::piped());
    command
}

#[test]
fn help_and_version_are_told_without_a_start() {
    let check = |argument: &str, expected: &[&str]| {
        let output = asked(argument).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{said}");
        for expected in expected {
            assert!(said.contains(expected), "{said:?} does not say {expected:?}");
        }
    };
    let help = [
        "Usage: sidecore-demo",
        "sidecore.toml",
        "SIDECORE_CONFIG",
        "SIDECORE_PORT=8081",
        "tuning.md",
        "SIDECORE_DATA_DIR",
        "SIDECORE_APPEND_FILE",
    ];
    check("--help", &help);
    check("-h", &help);
    let version = [concat!("sidecore-demo ", env!("CARGO_PKG_VERSION"), "\n")];
    check("--version", &version);
    check("-V", &version);
}

#[test]
fn another_argument_is_refused_with_what_to_do_instead() {
    let cure = ["SIDECORE_PORT=8081", "sidecore.toml", "--help"];
    for argument in ["--port", "serve", "", "a\nb"] {
        let named = format!("error: {argument:?} is no argument");
        refuses(asked(argument), &[&named, cure[0], cure[1], cure[2]]);
    }
    let mut command = asked("--help");
    command.arg("--banana");
    refuses(command, &["\"--banana\" is no argument"]);
}

#[test]
fn help_is_told_to_who_has_stopped_reading_without_a_word() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = asked("--help").stdout(writer).output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
    let mut full = asked("--help");
    full.stdout(std::fs::File::options().write(true).open("/dev/full").unwrap());
    refuses(full, &["cannot write to standard output", "No space left"]);
}

#[test]
fn a_port_that_is_taken_is_refused_though_it_could_be_shared() {
    let server = ServerProcess::start(&[]);
    let port = server.address().port().to_string();
    refuses(server_command(&[("SIDECORE_PORT", &port)]), &["in use", &port]);
    server.stop();
}

fn config(task_workers: usize) -> Config {
    let mut config = Config::default();
    config.port = 0;
    config.options.task_worker_num = Some(task_workers);
    config
}

async fn hello(_: Request<Incoming>) -> Result<Response<String>, std::convert::Infallible> {
    Ok(Response::new("hello".to_owned()))
}

#[test]
fn a_server_with_task_workers_needs_both_callbacks() {
    let make = |_: &sidecore::Executor<u8, u8>| tower::service_fn(hello);
    let missing = Server::new(config(1)).on_task(|_, job: u8| job).start(make).err().unwrap();
    assert!(missing.is_missing_callback());
    assert!(missing.to_string().contains("on_finish is missing"), "{missing}");

    let missing = Server::new(config(1))
        .on_finish(|_, _: Result<u8, _>| {})
        .start(|_| tower::service_fn(hello));
    let missing = missing.err().unwrap().to_string();
    assert!(missing.contains("on_task is missing"), "{missing}");

    let missing = Server::new(config(2)).start(|_| tower::service_fn(hello)).err().unwrap();
    assert!(missing.to_string().contains("task_worker_num is 2 and on_task is missing"));
}

/// Nobody asked for tasks: there are none, and a line says so.
#[test]
fn a_server_without_callbacks_has_no_task_workers_unless_it_is_asked() {
    let mut unasked = config(0);
    unasked.options.task_worker_num = None;
    let running = Server::new(unasked.clone()).start(|_| tower::service_fn(hello)).unwrap();
    let said = running.describe().join("\n");
    assert!(said.contains("no task workers: the server has no on_task"), "{said}");
    assert!(!said.contains("task-0 on"), "{said}");
    running.shutdown().raise();
    running.wait().unwrap();
    let make = |_: &sidecore::Executor<u8, u8>| tower::service_fn(hello);
    let missing = Server::new(unasked).on_task(|_, job: u8| job).start(make).err().unwrap();
    assert!(missing.to_string().contains("or `.awaited()` where every task is"), "{missing}");
}

/// Its workers have the CPU that a server's own would have had.
#[test]
fn the_workers_of_a_lone_further_pool_leave_the_executors_cpu_alone() {
    let mut unasked = config(0);
    unasked.options.worker_num = None;
    unasked.options.task_worker_num = None;
    let jobs = TaskPool::named("jobs").on_task(|_, job: u8| job).awaited().build();
    let running =
        Server::new(unasked).with_pool(&jobs).start(|_| tower::service_fn(hello)).unwrap();
    let said = running.describe();
    let cpu = |what: &str| {
        let line = said.iter().find(|line| line.contains(what));
        let line = line.unwrap_or_else(|| panic!("{what:?} is not in {said:?}"));
        let after = line.split_once("CPU ").expect("a CPU").1;
        after.split(|c: char| !c.is_ascii_digit()).next().unwrap().to_owned()
    };
    if std::thread::available_parallelism().unwrap().get() > 1 {
        assert_ne!(cpu("exec-0"), cpu("jobs-0"), "{said:?}");
    }
    assert!(!said.iter().any(|line| line.contains("task-0 on")), "{said:?}");
    running.shutdown().raise();
    running.wait().unwrap();
}

#[test]
fn a_server_whose_tasks_are_awaited_needs_no_on_finish() {
    let server = Server::new(config(1)).on_task(|_, job: u64| job * 2).awaited();
    let server = TestServer::start(server, |executor| {
        let tasks = executor.tasks();
        sidecore::service_fn(move |_request| {
            let tasks = tasks.clone();
            async move { tasks.run(21).await.map(|output| output.to_string()) }
        })
    });
    assert_eq!(server.unwrap().get("/").unwrap().text(), "42");
}

#[test]
fn without_task_workers_a_dispatch_says_so() {
    let (sent, received) = std::sync::mpsc::channel();
    let running = Server::new(config(0))
        .on_task(|_, job: u8| job)
        .on_finish(|_, _| {})
        .start(move |executor| {
            sent.send(executor.tasks().dispatch(7)).unwrap();
            tower::service_fn(hello)
        })
        .unwrap();
    let refused = received.recv().unwrap().unwrap_err();
    assert!(refused.to_string().contains("set task_worker_num above 0"), "{refused}");
    assert_eq!(refused.into_job(), 7);
    running.shutdown().raise();
    running.wait().unwrap();
}

#[test]
fn a_dispatch_from_any_thread_is_run_and_after_the_end_gives_the_job_back() {
    let (sent, received) = std::sync::mpsc::channel();
    let (told, finished) = std::sync::mpsc::channel();
    let running = Server::new(config(1))
        .on_task(|task, job: u8| (task.executor, job + 1))
        .on_finish(move |finish, output| {
            told.send((finish.id, finish.executor, output.unwrap())).unwrap();
        })
        .start(move |executor| {
            sent.send(executor.tasks()).unwrap();
            tower::service_fn(hello)
        })
        .unwrap();
    let tasks = received.recv().unwrap();
    let id = tasks.dispatch(9).unwrap();
    assert_eq!(finished.recv().unwrap(), (id, None, (None, 10)));
    let ran = tasks.run(1).wait(std::time::Duration::from_secs(10)).unwrap();
    assert_eq!(ran.unwrap(), (None, 2));
    running.shutdown().raise();
    assert_eq!(running.wait().unwrap().finished, 2);
    let refused = tasks.dispatch(9).unwrap_err();
    assert!(refused.to_string().contains("closed"), "{refused}");
    assert_eq!(refused.into_job(), 9);
}
