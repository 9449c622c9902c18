//! What a plain request takes from a client's write to its read of the answer, with one connection
//! and with 64 at once, beside raw loops that answer the same bytes. CPU per request, the better
//! figure under load, is what `sidecore-bench compare` measures.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use sidecore::app::{Direct, Plain};
use sidecore::{Config, Incoming, Request, Response, Server};
use sidecore_bench::controls;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
const SERVER_CPU: usize = 0;
const CLIENT_CPU: usize = 1;

fn pin(cpu: usize) {
    core_affinity::set_for_current(core_affinity::CoreId { id: cpu });
}

/// Connections that each send a request, then each read the answer.
struct Clients(Vec<TcpStream>);

impl Clients {
    fn connect(address: SocketAddr, count: usize) -> Self {
        let connect = |_| {
            let stream = TcpStream::connect(address).expect("the server accepts");
            stream.set_nodelay(true).expect("no delay");
            stream
        };
        Clients((0..count).map(connect).collect())
    }

    fn round(&mut self) {
        for stream in &mut self.0 {
            stream.write_all(REQUEST).expect("the server takes it");
        }
        let mut answer = [0; 512];
        for stream in &mut self.0 {
            let count = stream.read(&mut answer).expect("an answer");
            assert!(answer[..count].ends_with(b"\r\n\r\nOK"), "a whole answer");
        }
    }
}

struct Control {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Control {
    fn start(serve: fn(&TcpListener, &AtomicBool) -> std::io::Result<()>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            pin(SERVER_CPU);
            serve(&listener, &stopped).expect("the control serves");
        });
        Control { address, stop, thread }
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the control ends");
    }
}

fn measure(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, address: SocketAddr, count: u64) {
    let mut clients = Clients::connect(address, count as usize);
    group.bench_function(name, |bencher| bencher.iter(|| clients.round()));
}

fn request(criterion: &mut Criterion) {
    let variables = [
        ("SIDECORE_PORT", "0".to_owned()),
        ("SIDECORE_WORKER_CPUS", SERVER_CPU.to_string()),
        ("SIDECORE_TASK_WORKER_NUM", "0".to_owned()),
    ];
    let config = Config::loader().variables(variables).load().expect("a configuration");
    let server = Server::new(config)
        .start(|_| {
            let service = tower::service_fn(|_: Request<Incoming>| async {
                Ok::<_, std::convert::Infallible>(Response::new(String::new()))
            });
            Direct::new(service, |_, _| Some(Plain::text("OK")))
        })
        .expect("the server starts");
    let uring = Control::start(controls::uring::serve);
    let epoll = Control::start(controls::epoll::serve);
    pin(CLIENT_CPU);
    for count in [1, 64] {
        let mut group = criterion.benchmark_group(format!("request_{count}"));
        measure(&mut group, "get", server.address(), count);
        measure(&mut group, "control_uring", uring.address, count);
        measure(&mut group, "control_epoll", epoll.address, count);
        group.finish();
    }
    uring.stop();
    epoll.stop();
    server.shutdown().raise();
    server.wait().expect("the server ends");
}

criterion_group!(benches, request);
criterion_main!(benches);
