//! A subject that has been started, as the main thread holds it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::measure::{Ask, Figure, Measure};

/// What a subject is called and what can be told of it.
#[derive(Clone, Copy)]
pub(crate) struct Label {
    pub(crate) name: &'static str,
    /// What its worker does with nothing to do.
    pub(crate) worker_waits: &'static str,
    /// Whether its tasks are awaited, so that the latency of one can be told.
    pub(crate) is_awaited: bool,
}

/// A subject whose producer waits for what is asked.
pub(crate) struct Running {
    pub(crate) label: Label,
    asks: UnboundedSender<Ask>,
    figures: Receiver<Figure>,
    end: Box<dyn FnOnce()>,
}

impl Running {
    /// Starts one: `start` gets the producer's ends and returns how to wait for its end, which
    /// follows when nobody can ask any more.
    pub(crate) fn start<E: FnOnce() + 'static>(
        label: Label,
        start: impl FnOnce(UnboundedReceiver<Ask>, Sender<Figure>) -> E,
    ) -> Self {
        let (asks, asked) = unbounded_channel();
        let (told, figures) = channel();
        Running { label, asks, figures, end: Box::new(start(asked, told)) }
    }

    /// Measures for so long.
    pub(crate) fn measure(&self, measure: Measure, window: Duration) -> Figure {
        let stop = Arc::new(AtomicBool::new(false));
        let ask = Ask { measure, stop: stop.clone() };
        assert!(self.asks.send(ask).is_ok(), "the producer lives");
        std::thread::sleep(window);
        stop.store(true, Ordering::Relaxed);
        self.figures.recv().expect("the producer answers")
    }

    /// Ends its threads.
    pub(crate) fn end(self) {
        drop(self.asks);
        (self.end)();
    }
}
