//! How a pool's workers are woken: by a futex, or by bells where an executor hosts them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::heart::Heart;
use super::park::{Park, Source};
use super::roster::Roster;
use crate::sys::doorbell::Bell;

/// The workers of a pool, asleep or not.
pub(crate) struct Parking {
    /// Where plain workers sleep.
    park: Park,
    /// Async workers, in a pool of these.
    hosted: Option<Hosted>,
}

/// What is needed to wake async workers.
pub(super) struct Hosted {
    pub(super) roster: Roster,
    pub(super) bells: Box<[Arc<Bell>]>,
    pub(super) heart: Arc<Heart>,
    /// The time of `close` is over: what is left is dropped. Set once.
    abandoned: AtomicBool,
}

impl Parking {
    pub(super) fn new() -> Self {
        Parking { park: Park::new(), hosted: None }
    }

    pub(super) fn hosted(bells: Vec<Arc<Bell>>, heart: Arc<Heart>) -> Self {
        let hosted = Hosted {
            roster: Roster::new(bells.len()),
            bells: bells.into(),
            heart,
            abandoned: AtomicBool::new(false),
        };
        Parking { park: Park::new(), hosted: Some(hosted) }
    }

    /// After a push that any worker may take.
    pub(super) fn notify(&self) {
        match &self.hosted {
            Some(hosted) => hosted.notify(),
            None => self.park.notify(),
        }
    }

    /// After a push to one worker's mailbox.
    pub(super) fn post(&self, worker: usize) {
        match &self.hosted {
            Some(hosted) => {
                if hosted.roster.post(worker) {
                    hosted.ring(worker);
                }
            }
            None => self.park.post(),
        }
    }

    /// Has every plain worker look at what it is asked to do besides jobs.
    pub(super) fn call_all(&self) {
        self.park.post();
    }

    /// System calls that were made to wake plain workers.
    pub(super) fn wakes(&self) -> u64 {
        self.park.wakes()
    }

    /// The next item of a plain worker; None once closed and empty.
    pub(super) fn next<S: Source>(&self, source: &S) -> Option<S::Item> {
        self.park.next(source)
    }

    /// No push may follow. Workers leave when they find the queue empty and have no job.
    pub(super) fn close(&self) {
        self.park.close();
        if let Some(hosted) = &self.hosted {
            hosted.roster.close(hosted.bells.len(), |worker| hosted.ring(worker));
        }
    }

    /// The time for what is left is over: async workers drop it. False: these are plain ones.
    pub(super) fn abandon(&self) -> bool {
        let Some(hosted) = &self.hosted else { return false };
        // Each looks at it after it has armed its bell, which orders it (`armed.rs`).
        hosted.abandoned.store(true, Ordering::Relaxed);
        (0..hosted.bells.len()).for_each(|worker| hosted.ring(worker));
        true
    }

    /// Workers that sleep and may take a job.
    pub(super) fn sleeping(&self) -> u32 {
        match &self.hosted {
            Some(hosted) => hosted.roster.sleeping(),
            None => self.park.sleeping(),
        }
    }

    /// Of an async worker's pool.
    pub(super) fn as_hosted(&self) -> Option<&Hosted> {
        self.hosted.as_ref()
    }
}

impl Hosted {
    pub(super) fn notify(&self) {
        if let Some(worker) = self.roster.notify() {
            self.ring(worker);
        }
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }

    /// Beats come first: should the host take the bell's completion in and park, they help.
    fn ring(&self, worker: usize) {
        self.heart.beat_for(worker);
        self.bells[worker].ring();
    }
}
