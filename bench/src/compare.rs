//! Servers side by side: CPU per request, in rounds that alternate, told as ratios of pairs.
//!
//! All servers run at once, each with its connections open; in each round every one of them is
//! loaded in turn, in an order that rotates, while the others sleep. Throughput is not the figure:
//! one client saturates before a good server does. CPU time of the whole server process is
//! (`/proc/PID/task/*/schedstat`), which includes the kernel's work on its behalf and its task
//! workers.

use std::io;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::thread::{sched_getaffinity, sched_setaffinity};
use sidecore_tests::ServerProcess;

use crate::load::{Load, LoadReport, Pace};
use crate::statistics::{Ratio, median};
use crate::subject::{Cpus, Server, Subject};

/// A comparison.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// What is compared; ratios are to the best of the raw controls among them, else to the first.
    pub subjects: Vec<Subject>,
    /// Connections to each.
    pub connections: usize,
    /// How requests come.
    pub pace: Pace,
    /// Rounds; each loads every subject once.
    pub rounds: usize,
    /// Time of one load.
    pub window: Duration,
    /// Who runs where.
    pub cpus: Cpus,
    /// Count system calls too, by `perf`.
    pub syscalls: bool,
}

/// A subject's figures, a value for each round.
pub struct Measured {
    /// What was measured.
    pub subject: Subject,
    /// CPU microseconds of the server process for each answer.
    pub cpu_us: Vec<f64>,
    /// Answers a second.
    pub rate: Vec<f64>,
    /// Microseconds.
    pub p50_us: Vec<f64>,
    /// Microseconds.
    pub p99_us: Vec<f64>,
    /// System calls of the server process for each answer; empty unless asked for.
    pub syscalls: Vec<f64>,
    /// Answers that were refusals.
    pub refusals: u64,
}

struct Running {
    process: ServerProcess,
    load: Load,
    measured: Measured,
}

impl Comparison {
    /// Runs it.
    pub fn run(&self) -> io::Result<Vec<Measured>> {
        let subjects = self.subjects.iter();
        let mut running =
            subjects.map(|subject| self.start(subject.clone())).collect::<io::Result<Vec<_>>>()?;
        let mask = sched_getaffinity(None)?;
        core_affinity::set_for_current(core_affinity::CoreId { id: self.cpus.client });
        let alternated = self.alternate(&mut running);
        // What is started later must not inherit the pinning.
        sched_setaffinity(None, &mask)?;
        alternated?;
        Ok(running.into_iter().map(|running| running.measured).collect())
    }

    fn alternate(&self, running: &mut [Running]) -> io::Result<()> {
        for subject in &mut *running {
            // Caches, page tables and branch predictors are warm in each round alike.
            subject.load.run(self.pace, self.window / 4)?;
        }
        for round in 0..self.rounds {
            for turn in 0..running.len() {
                let at = (round + turn) % running.len();
                self.measure(&mut running[at])?;
            }
        }
        Ok(())
    }

    fn start(&self, subject: Subject) -> io::Result<Running> {
        let process = subject.start(self.cpus);
        let load = Load::connect(process.address(), self.connections, &subject.request.bytes())?;
        let measured = Measured {
            subject,
            cpu_us: Vec::new(),
            rate: Vec::new(),
            p50_us: Vec::new(),
            p99_us: Vec::new(),
            syscalls: Vec::new(),
            refusals: 0,
        };
        Ok(Running { process, load, measured })
    }

    fn measure(&self, running: &mut Running) -> io::Result<()> {
        let Running { process, load, measured } = running;
        let before = process.cpu_time();
        let report = load.run(self.pace, self.window)?;
        measured.record(&report, process.cpu_time() - before);
        if self.syscalls {
            let counter = SyscallCounter::start(process.pid())?;
            let report = load.run(self.pace, self.window)?;
            measured.syscalls.push(counter.stop()? / report.latency_ns.len() as f64);
        }
        Ok(())
    }
}

impl Measured {
    fn record(&mut self, report: &LoadReport, cpu: Duration) {
        let answers = report.latency_ns.len() as f64;
        self.cpu_us.push(cpu.as_secs_f64() * 1e6 / answers);
        self.rate.push(report.rate());
        self.p50_us.push(report.latency_ns.value_at_quantile(0.50) as f64 / 1e3);
        self.p99_us.push(report.latency_ns.value_at_quantile(0.99) as f64 / 1e3);
        self.refusals += report.refusals;
    }
}

/// The subject that ratios are to: the better of the raw controls, else the first.
pub fn base(measured: &[Measured]) -> &Measured {
    measured
        .iter()
        .filter(|m| matches!(m.subject.server, Server::Uring | Server::Epoll))
        .min_by(|a, b| median(&a.cpu_us).total_cmp(&median(&b.cpu_us)))
        .unwrap_or(&measured[0])
}

/// The table of a comparison.
pub fn table(measured: &[Measured]) -> String {
    let base = base(measured);
    let mut text = format!(
        "{:<42} {:>10} {:>7} {:>15} {:>10} {:>9} {:>9} {:>9}  refused\n",
        "server",
        "CPU us/req",
        "ratio",
        "(least, most)",
        "answers/s",
        "p50 us",
        "p99 us",
        "syscalls"
    );
    for row in measured {
        let ratio = Ratio::of(&row.cpu_us, &base.cpu_us);
        let syscalls = match row.syscalls.is_empty() {
            true => "-".to_owned(),
            false => format!("{:.3}", median(&row.syscalls)),
        };
        text += &format!(
            "{:<42} {:>10.3} {:>7.3} {:>15} {:>10.0} {:>9.1} {:>9.1} {:>9}  {}\n",
            row.subject,
            median(&row.cpu_us),
            ratio.median,
            format!("({:.3}, {:.3})", ratio.min, ratio.max),
            median(&row.rate),
            median(&row.p50_us),
            median(&row.p99_us),
            syscalls,
            row.refusals,
        );
    }
    text + &format!("ratios are to {}, pair by pair\n", base.subject)
}

/// Counts a process's system calls from outside, without slowing them as a tracer would.
struct SyscallCounter(Child);

impl SyscallCounter {
    fn start(pid: u32) -> io::Result<Self> {
        let advice = |error: io::Error| {
            io::Error::new(error.kind(), format!("perf does not start: {error}; install it"))
        };
        let child = Command::new("perf")
            .args(["stat", "--field-separator=,", "--event=raw_syscalls:sys_enter", "--pid"])
            .arg(pid.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(advice)?;
        // It says nothing when it has attached.
        std::thread::sleep(Duration::from_millis(200));
        Ok(SyscallCounter(child))
    }

    fn stop(self) -> io::Result<f64> {
        let pid = rustix::process::Pid::from_raw(self.0.id() as i32).expect("a process id");
        rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
        let output = self.0.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stderr);
        let count = text.lines().find(|line| line.contains("sys_enter"));
        count.and_then(|line| line.split(',').next()?.parse().ok()).ok_or_else(|| {
            io::Error::other(format!(
                "perf counted nothing: {text}; it needs tracefs and CAP_PERFMON"
            ))
        })
    }
}
