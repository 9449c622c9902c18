//! A thread with tokio's current-thread runtime, as a program without sidecore would have it.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::client::Client;
use crate::measures::{self, Measure};
use crate::{echo, host};

/// A running host.
pub(crate) struct Tokio {
    orders: UnboundedSender<(Measure, Duration)>,
    figures: Receiver<f64>,
    echoes: Client,
    thread: JoinHandle<()>,
}

impl Tokio {
    pub(crate) fn start(cpu: usize, peer: SocketAddr) -> Tokio {
        let (orders, mut ordered) = unbounded_channel();
        let (figure, figures) = channel();
        let (tell, told): (Sender<SocketAddr>, _) = channel();
        let thread = std::thread::spawn(move || {
            host::pin(cpu);
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                tell.send(echo::on_tokio().expect("a port")).expect("it is waited for");
                while let Some((measure, window)) = ordered.recv().await {
                    let us = measures::within(measure, window, peer, tokio::task::yield_now).await;
                    figure.send(us).expect("it is waited for");
                }
            });
        });
        let echo = told.recv().expect("the thread starts");
        Tokio { orders, figures, echoes: Client::connect(echo), thread }
    }

    /// Microseconds of one operation.
    pub(crate) fn measure(&mut self, measure: Measure, window: Duration) -> f64 {
        if measure == Measure::Echo {
            return self.echoes.echoes(window);
        }
        self.orders.send((measure, window)).expect("the thread lives");
        self.figures.recv().expect("the thread lives")
    }

    pub(crate) fn end(self) {
        let Tokio { orders, thread, .. } = self;
        drop(orders);
        thread.join().expect("it ends");
    }
}
