//! How a pool's workers are woken: by a futex, or by doorbells where an executor hosts them.

pub(crate) mod heartbeat;
pub(crate) mod heartbeat_state;
pub(crate) mod park;
pub(crate) mod sleepers;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::pool::wake::heartbeat::Heartbeat;
use crate::pool::wake::park::{Park, Source};
use crate::pool::wake::sleepers::Sleepers;
use crate::sys::doorbell::Doorbell;

/// The workers of a pool, asleep or not.
pub(crate) struct Parking {
    /// Where plain workers sleep.
    park: Park,
    /// Async workers, in a pool of these.
    hosted: Option<Hosted>,
}

/// What is needed to wake async workers.
pub(crate) struct Hosted {
    pub(crate) sleepers: Sleepers,
    pub(crate) doorbells: Box<[Arc<Doorbell>]>,
    pub(crate) heartbeat: Arc<Heartbeat>,
    /// The time of `close` is over: what is left is dropped. Set once.
    abandoned: AtomicBool,
}

impl Parking {
    pub(crate) fn new() -> Self {
        Parking { park: Park::new(), hosted: None }
    }

    pub(crate) fn hosted(doorbells: Vec<Arc<Doorbell>>, heartbeat: Arc<Heartbeat>) -> Self {
        let hosted = Hosted {
            sleepers: Sleepers::new(doorbells.len()),
            doorbells: doorbells.into(),
            heartbeat,
            abandoned: AtomicBool::new(false),
        };
        Parking { park: Park::new(), hosted: Some(hosted) }
    }

    /// After a push that any worker may take.
    pub(crate) fn notify(&self) {
        match &self.hosted {
            Some(hosted) => hosted.notify(),
            None => self.park.notify(),
        }
    }

    /// After a push to one worker's mailbox.
    pub(crate) fn post(&self, worker: usize) {
        match &self.hosted {
            Some(hosted) => {
                if hosted.sleepers.post(worker) {
                    hosted.ring(worker);
                }
            }
            None => self.park.post(),
        }
    }

    /// Has every plain worker look at what it is asked to do besides jobs.
    pub(crate) fn call_all(&self) {
        self.park.post();
    }

    /// System calls that were made to wake plain workers.
    pub(crate) fn wakes(&self) -> u64 {
        self.park.wakes()
    }

    /// The next item of a plain worker; None once closed and empty.
    pub(crate) fn next<S: Source>(&self, source: &S) -> Option<S::Item> {
        self.park.next(source)
    }

    /// No push may follow. Workers leave when they find the queue empty and have no job.
    pub(crate) fn close(&self) {
        self.park.close();
        if let Some(hosted) = &self.hosted {
            hosted.sleepers.close(hosted.doorbells.len(), |worker| hosted.ring(worker));
        }
    }

    /// The time for what is left is over: async workers drop it. False: these are plain ones.
    pub(crate) fn abandon(&self) -> bool {
        let Some(hosted) = &self.hosted else { return false };
        // Each looks at it after it has armed its doorbell, which orders it (`armed.rs`).
        hosted.abandoned.store(true, Ordering::Relaxed);
        (0..hosted.doorbells.len()).for_each(|worker| hosted.ring(worker));
        true
    }

    /// Workers that sleep and may take a job.
    pub(crate) fn sleeping(&self) -> u32 {
        match &self.hosted {
            Some(hosted) => hosted.sleepers.sleeping(),
            None => self.park.sleeping(),
        }
    }

    /// Of an async worker's pool.
    pub(crate) fn as_hosted(&self) -> Option<&Hosted> {
        self.hosted.as_ref()
    }
}

impl Hosted {
    pub(crate) fn notify(&self) {
        if let Some(worker) = self.sleepers.notify() {
            self.ring(worker);
        }
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }

    /// Beats come first: should the host take the doorbell's completion in and park, they help.
    fn ring(&self, worker: usize) {
        self.heartbeat.beat_for(worker);
        self.doorbells[worker].ring();
    }
}
