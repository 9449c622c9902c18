//! What the executors, task workers and external threads of a pool share.

pub(crate) mod close_barrier;
pub(crate) mod external;
pub(crate) mod shared_credits;
mod snapshot;

use crate::pool::config::PoolSetup;
use std::sync::Arc;

use crossbeam_queue::SegQueue;

use self::external::Foreign;
use crate::pool::config::PoolConfig;
use crate::pool::queue::Queues;
use crate::pool::stats::{LaneStats, TaskWorkerStats};
use crate::pool::task::kinds::Kinds;
use crate::pool::task::{SlotKey, TaskId};
use crate::pool::wake::Parking;
use crate::sys::doorbell::Bell;
use crate::sys::published::Version;

/// Above the ids of one pool stands its number.
const POOL_SHIFT: u32 = 44;

/// Names a dispatch that waits. Tickets go up.
pub(crate) type Ticket = u64;

/// What executors and task workers of a pool share.
pub(crate) struct Shared<J, O> {
    pub(crate) queues: Queues<J, O>,
    pub(crate) park: Parking,
    pub(crate) lanes: Vec<Arc<LaneShared>>,
    pub(crate) foreign: Foreign<O>,
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

impl<J, O> Shared<J, O> {
    pub(crate) fn new(
        config: &PoolConfig,
        setup: PoolSetup<J>,
        credits: usize,
        bells: &[Arc<Bell>],
        park: Parking,
    ) -> Self {
        let PoolSetup { number, name, thread_name, kinds, .. } = setup;
        let id_base = TaskId::from(number) << POOL_SHIFT;
        let workers = 0..config.seats.len() + config.spares;
        Shared {
            queues: Queues::new(config.queue_depth, config.seats.len(), config.places()),
            park,
            lanes: bells.iter().map(LaneShared::new).collect(),
            foreign: Foreign::new(credits, id_base),
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

/// What task workers and foreign threads reach of an executor's lane.
pub(crate) struct LaneShared {
    pub(crate) bell: Arc<Bell>,
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
    Leave(Ticket),
    /// The task of this slot was cancelled before it ran, or, `attempted`, before it ran again.
    Withdrawn { slot: SlotKey, attempted: bool },
}

impl LaneShared {
    fn new(bell: &Arc<Bell>) -> Arc<Self> {
        let (bell, commands, stats) = (bell.clone(), SegQueue::new(), LaneStats::default());
        Arc::new(LaneShared { bell, commands, stats })
    }
}
