//! What the executors, task workers and external threads of a pool share.

pub(crate) mod close_barrier;
pub(crate) mod external;
pub(crate) mod shared_credits;
mod snapshot;

use crate::pool::config::PoolSetup;
use std::sync::Arc;

use crossbeam_queue::SegQueue;

use self::external::External;
use crate::pool::config::PoolConfig;
use crate::pool::queue::Queues;
use crate::pool::stats::{LaneStats, TaskWorkerStats};
use crate::pool::task::kinds::Kinds;
use crate::pool::task::{SlotKey, TaskId};
use crate::pool::wake::Parking;
use crate::sys::doorbell::Doorbell;
use crate::sys::published::Version;

/// Above the ids of one pool stands its number.
const POOL_SHIFT: u32 = 44;

/// Names a dispatch that waits. Tickets go up.
pub(crate) type WaitTicket = u64;

/// What executors and task workers of a pool share.
pub(crate) struct PoolShared<J, O> {
    pub(crate) queues: Queues<J, O>,
    pub(crate) park: Parking,
    pub(crate) lanes: Vec<Arc<LaneShared>>,
    pub(crate) external: External<O>,
    /// Task workers that are no spares; a job may be for one of these alone.
    pub(crate) seats: usize,
    /// Of the spares too.
    pub(crate) workers: Vec<TaskWorkerStats>,
    pub(crate) kinds: Kinds<J>,
    /// Raised when all task workers are to be made anew.
    pub(crate) generation: Version,
    /// What the ids of its tasks are above.
    pub(crate) id_base: TaskId,
    pub(crate) name: Arc<str>,
    pub(crate) thread_name: Arc<str>,
}

impl<J, O> PoolShared<J, O> {
    pub(crate) fn new(
        config: &PoolConfig,
        setup: PoolSetup<J>,
        credits: usize,
        doorbells: &[Arc<Doorbell>],
        park: Parking,
    ) -> Self {
        let PoolSetup { number, name, thread_name, kinds, .. } = setup;
        let id_base = TaskId::from(number) << POOL_SHIFT;
        let workers = 0..config.seats.len() + config.spares;
        PoolShared {
            queues: Queues::new(config.queue_depth, config.seats.len(), config.places()),
            park,
            lanes: doorbells.iter().map(LaneShared::new).collect(),
            external: External::new(credits, id_base),
            seats: config.seats.len(),
            workers: workers.map(|_| TaskWorkerStats::new(kinds.names().len())).collect(),
            kinds,
            generation: Version::new(),
            id_base,
            name,
            thread_name,
        }
    }

    /// Read before a worker is made anew: it is of that generation at least.
    pub(crate) fn generation(&self) -> u32 {
        self.generation.current()
    }
}

/// What task workers and external threads reach of an executor's lane.
pub(crate) struct LaneShared {
    pub(crate) doorbell: Arc<Doorbell>,
    /// At most two entries a slot, whose future was dropped elsewhere and which was withdrawn, and one
    /// for each dispatch that waited.
    pub(crate) commands: SegQueue<Command>,
    pub(crate) stats: LaneStats,
}

/// What another thread wants of a lane.
pub(crate) enum Command {
    /// The future of this slot is gone.
    Detach(SlotKey),
    /// The dispatch that waited with this ticket is gone, or waits on another executor now.
    Leave(WaitTicket),
    /// The task of this slot was cancelled before it ran, or, `attempted`, before it ran again.
    Withdrawn { slot: SlotKey, attempted: bool },
}

impl LaneShared {
    fn new(doorbell: &Arc<Doorbell>) -> Arc<Self> {
        let (doorbell, commands, stats) = (doorbell.clone(), SegQueue::new(), LaneStats::default());
        Arc::new(LaneShared { doorbell, commands, stats })
    }
}
