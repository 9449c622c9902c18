//! The bench program: `cargo run --release -p sidecore-bench -- --help`.

use std::error::Error;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use sidecore_bench::compare::{Comparison, table};
use sidecore_bench::load::{Load, Pace};
use sidecore_bench::peers::{CompanionCosts, TaskComparison};
use sidecore_bench::subject::{Cpus, Subject};
use sidecore_bench::{budgets, controls};

/// Measures sidecore: latency budgets, servers side by side, loads on this machine.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the criterion benches and fails if one exceeds its budget in budgets.toml
    Budgets,
    /// Compares servers by CPU per request, in alternating rounds
    Compare(Compare),
    /// Compares task pools: sidecore's, spawn_blocking, rayon, crossbeam-channel, flume
    Tasks(Tasks),
    /// Measures what tokio costs in handlers (`Server::with_tokio`), and what it costs others
    Companion(Companion),
    /// Loads a server on this machine and prints latencies
    Load(LoadArguments),
    /// Runs a raw control server
    Control {
        kind: Control,
        /// CPU to run on
        #[arg(long, default_value_t = 0)]
        cpu: usize,
        /// Ends after so many seconds
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
}

#[derive(Args)]
struct Compare {
    /// Of uring, epoll, sidecore, hyper, axum, companion-on, companion-off; a request may follow:
    /// sidecore:dispatch (get, echo, dispatch, run, audited), then variables of the server:
    /// sidecore@SIDECORE_TASK_SPIN_US=0; SIDECORE_BENCH_BINARY names another build of it
    #[arg(default_values = ["uring", "epoll", "sidecore", "hyper"])]
    subjects: Vec<Subject>,
    /// Connections to each; a table for each number
    #[arg(long, value_delimiter = ',', default_values_t = [1, 64, 512])]
    connections: Vec<usize>,
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Milliseconds of load on one server in a round
    #[arg(long, default_value_t = 500)]
    window_ms: u64,
    /// Pipelined requests in flight a connection
    #[arg(long, default_value_t = 1)]
    depth: usize,
    /// Requests a second, in an open loop
    #[arg(long)]
    rate: Option<u64>,
    /// Count system calls too (needs perf)
    #[arg(long)]
    syscalls: bool,
    #[arg(long, default_value_t = 0)]
    server_cpu: usize,
    #[arg(long, default_value_t = 1)]
    task_worker_cpu: usize,
    #[arg(long, default_value_t = 1)]
    client_cpu: usize,
}

#[derive(Args)]
struct Tasks {
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Of all rounds together
    #[arg(long, default_value_t = 50)]
    seconds: usize,
    /// CPU of the threads that dispatch and await
    #[arg(long, default_value_t = 0)]
    producer_cpu: usize,
    /// CPU of the threads that run the jobs
    #[arg(long, default_value_t = 1)]
    worker_cpu: usize,
}

#[derive(Args)]
struct Companion {
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Of all rounds of the first table together
    #[arg(long, default_value_t = 50)]
    seconds: usize,
    /// Connections to the servers of the second table
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Milliseconds of load on one server in a round of the second table
    #[arg(long, default_value_t = 500)]
    window_ms: u64,
    /// CPU of the executors and of the plain tokio runtime
    #[arg(long, default_value_t = 0)]
    server_cpu: usize,
    /// CPU of clients and of the server that is asked
    #[arg(long, default_value_t = 1)]
    peer_cpu: usize,
}

#[derive(Args)]
struct LoadArguments {
    /// Such as 127.0.0.1:8080
    address: SocketAddr,
    #[arg(long, default_value_t = 64)]
    connections: usize,
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    #[arg(long, default_value_t = 1)]
    depth: usize,
    /// Requests a second, in an open loop
    #[arg(long)]
    rate: Option<u64>,
    #[arg(long, default_value = "/")]
    path: String,
    /// A body; the request is then a POST
    #[arg(long)]
    body: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Control {
    Uring,
    Epoll,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Budgets => budgets::run(),
        Command::Compare(arguments) => compare(&arguments),
        Command::Tasks(arguments) => tasks(&arguments),
        Command::Companion(arguments) => companion(&arguments),
        Command::Load(arguments) => load(&arguments),
        Command::Control { kind, cpu, seconds } => control(kind, cpu, seconds),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sidecore-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn pace(depth: usize, rate: Option<u64>) -> Pace {
    match rate {
        Some(rate) => Pace::Open { rate },
        None => Pace::Closed { depth },
    }
}

fn compare(arguments: &Compare) -> Result<(), Box<dyn Error>> {
    for &connections in &arguments.connections {
        let comparison = Comparison {
            subjects: arguments.subjects.clone(),
            connections,
            pace: pace(arguments.depth, arguments.rate),
            rounds: arguments.rounds.max(1),
            window: Duration::from_millis(arguments.window_ms.max(1)),
            cpus: Cpus {
                server: arguments.server_cpu,
                task_worker: arguments.task_worker_cpu,
                client: arguments.client_cpu,
            },
            syscalls: arguments.syscalls,
        };
        let measured = comparison.run()?;
        println!(
            "{connections} connections, {} rounds of {} ms each in turn, medians",
            comparison.rounds, arguments.window_ms
        );
        println!("{}", table(&measured));
    }
    Ok(())
}

fn tasks(arguments: &Tasks) -> Result<(), Box<dyn Error>> {
    let &Tasks { rounds, seconds, producer_cpu, worker_cpu } = arguments;
    Ok(TaskComparison { producer_cpu, worker_cpu, rounds, seconds }.run()?)
}

/// Both tables: what it costs who uses it, then what it costs a server that does not.
fn companion(arguments: &Companion) -> Result<(), Box<dyn Error>> {
    let &Companion { rounds, seconds, connections, window_ms, server_cpu, peer_cpu } = arguments;
    CompanionCosts { server_cpu, peer_cpu, rounds, seconds }.run()?;
    println!();
    compare(&Compare {
        subjects: vec!["companion-off".parse()?, "companion-on".parse()?],
        connections: vec![connections],
        rounds,
        window_ms,
        depth: 1,
        rate: None,
        syscalls: false,
        server_cpu,
        task_worker_cpu: peer_cpu,
        client_cpu: peer_cpu,
    })
}

fn load(arguments: &LoadArguments) -> Result<(), Box<dyn Error>> {
    let path = &arguments.path;
    let host = arguments.address;
    let request = match &arguments.body {
        None => format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        Some(body) => format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ),
    };
    let mut load = Load::connect(arguments.address, arguments.connections, request.as_bytes())?;
    let pace = pace(arguments.depth, arguments.rate);
    let report = load.run(pace, Duration::from_secs(arguments.seconds))?;
    println!(
        "{} answers and {} refusals in {:.2} s: {:.0} a second",
        report.answers,
        report.refusals,
        report.elapsed.as_secs_f64(),
        report.rate()
    );
    for quantile in [0.5, 0.9, 0.99, 0.999, 1.0] {
        let latency_ns = report.latency_ns.value_at_quantile(quantile);
        println!("  p{:<5} {:>10.1} us", quantile * 100.0, latency_ns as f64 / 1e3);
    }
    Ok(())
}

fn control(kind: Control, cpu: usize, seconds: u64) -> Result<(), Box<dyn Error>> {
    if !core_affinity::set_for_current(core_affinity::CoreId { id: cpu }) {
        return Err(format!("CPU {cpu} is not there or not permitted").into());
    }
    let listener = TcpListener::bind("127.0.0.1:0")?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(seconds));
        stopped.store(true, Ordering::Relaxed);
    });
    match kind {
        Control::Uring => controls::uring::serve(&listener, &stop)?,
        Control::Epoll => controls::epoll::serve(&listener, &stop)?,
    }
    Ok(())
}
