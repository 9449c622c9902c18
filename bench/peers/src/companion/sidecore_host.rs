//! An executor of sidecore, with the companion or without, which a client asks to measure.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use sidecore::{Config, Incoming, Request, Response, Running, Server};
use sidecore_runtime::executor;

use crate::client::Client;
use crate::measures::{self, Measure};
use crate::{echo, host};

/// A running host, and the connections to it.
pub(crate) struct Sidecore {
    running: Running,
    orders: Client,
    gets: Client,
    echoes: Client,
}

impl Sidecore {
    pub(crate) fn start(cpu: usize, has_companion: bool, peer: SocketAddr) -> Sidecore {
        let running = server(host::one_executor(cpu), has_companion)
            .start(move |_| {
                tower::service_fn(move |request: Request<Incoming>| async move {
                    let text = answer(request.uri().path(), has_companion, peer).await;
                    Ok::<_, Infallible>(Response::new(text))
                })
            })
            .unwrap_or_else(|error| panic!("{error}"));
        let connect = || Client::connect(running.address());
        let (mut orders, gets) = (connect(), connect());
        let echo = orders.get("/echo").parse().expect("an address");
        Sidecore { orders, gets, echoes: Client::connect(echo), running }
    }

    /// Microseconds of one operation.
    pub(crate) fn measure(&mut self, measure: Measure, window: Duration) -> f64 {
        match measure {
            Measure::Get => self.gets.gets(window),
            Measure::Echo => self.echoes.echoes(window),
            within => {
                let path = format!("/{}/{}", within.name(), window.as_micros());
                self.orders.get(&path).parse().expect("a figure")
            }
        }
    }

    pub(crate) fn end(self) {
        let Sidecore { running, orders, gets, echoes } = self;
        drop((orders, gets, echoes));
        host::end(running);
    }
}

fn server(config: Config, has_companion: bool) -> Server {
    let server = Server::new(config);
    if has_companion { server.with_tokio() } else { server }
}

/// Serves `GET /` for loads from outside, and ends by itself.
pub(crate) fn serve(cpu: usize, has_companion: bool, limit: Duration) {
    let running = server(host::one_executor(cpu), has_companion).start(|_| {
        tower::service_fn(|_: Request<Incoming>| async {
            Ok::<_, Infallible>(Response::new("OK".to_owned()))
        })
    });
    let running = running.unwrap_or_else(|error| panic!("{error}"));
    eprintln!("listening on http://{}", running.address());
    std::thread::sleep(limit);
    host::end(running);
}

/// `/`, `/echo`, or `/MEASURE/MICROSECONDS`.
async fn answer(path: &str, has_companion: bool, peer: SocketAddr) -> String {
    if path == "/" {
        return "OK".to_owned();
    }
    if path == "/echo" {
        let echo = if has_companion { echo::through_the_companion() } else { echo::on_the_ring() };
        return echo.expect("a port").to_string();
    }
    let (name, window) = path.trim_start_matches('/').split_once('/').expect("a measure");
    let measure = Measure::ALL.iter().find(|(known, _)| *known == name).expect("a known one").1;
    let window = Duration::from_micros(window.parse().expect("microseconds"));
    measures::within(measure, window, peer, executor::yield_now).await.to_string()
}
