//! What is decided before a server starts: who runs where, which tasks it has, what it needs of the
//! system.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sidecore_runtime::executor::{ExecutorConfig, ExecutorWatch};
use sidecore_runtime::machine::placement::{Placement, PlacementRequest, place};
use sidecore_runtime::machine::probe;
use sidecore_runtime::machine::topology::Topology;
use sidecore_runtime::net::RingConfig;
use sidecore_runtime::pool::{OnNotice, Tasks};
use sidecore_runtime::sys::doorbell::Doorbell;

use crate::config::settings::{Config, Options};
use crate::lifecycle::error::{Error, Result};
use crate::tasks::callbacks::{OnFinish, OnTask};
use crate::tasks::pool_start::{DEFAULT, PoolSpec, PoolStart, StartPool, stack_signal};

/// The longest name of a pool: its threads' names have 15 bytes (prctl(2), PR_SET_NAME).
const NAME_MAX: usize = 10;
/// The most further pools: a task's id has one byte for the number of its pool.
const POOLS_MAX: usize = u8::MAX as usize;
/// Descriptors that are no connections and no executor's: standard streams, signals, files.
const DESCRIPTORS_KEPT: u64 = 64;

/// Who runs where, and whether the server has tasks of its own. Who has neither of their callbacks and
/// asks for no task workers has none: further pools get the CPUs that those would have had.
pub(super) fn decide_placement(
    topology: &Topology,
    options: &Options,
    callbacks: (bool, bool),
    has_pools: bool,
) -> Result<(Placement, bool)> {
    let is_asked = options.task_worker_num.is_some() || options.task_worker_cpus.is_some();
    let has_tasks = is_asked || callbacks != (false, false);
    let mut request = request(options);
    if !has_tasks && !has_pools {
        request.task_worker_num = Some(0);
    }
    let placement = place(topology, &request)?;
    let task_workers = placement.task_workers.len();
    match callbacks {
        _ if !has_tasks || task_workers == 0 => {}
        (false, _) => return Err(Error::missing_callback("on_task", task_workers)),
        (_, false) => return Err(Error::missing_callback("on_finish", task_workers)),
        (true, true) => {}
    }
    Ok((placement, has_tasks))
}

/// A server's own pool, and where its handle will be.
pub(super) struct OwnPool<J, O> {
    pub(super) mount: Option<PoolStart>,
    pub(super) tasks: Arc<OnceLock<Tasks<J, O>>>,
}

pub(super) fn own_pool<J: Send + Unpin + 'static, O: Send + 'static>(
    options: &Options,
    on_task: Option<OnTask<J, O>>,
    on_finish: Option<OnFinish<O>>,
    on_notice: Option<OnNotice>,
) -> OwnPool<J, O> {
    let tasks = Arc::new(OnceLock::new());
    let told = tasks.clone();
    let spec = on_task.zip(on_finish).map(|(on_task, on_finish)| -> Box<dyn StartPool> {
        Box::new(PoolSpec {
            name: DEFAULT.into(),
            thread_name: "task".into(),
            jobs: on_task.into(),
            on_finish,
            on_notice,
            on_start: Box::new(move |tasks| {
                let _ = told.set(tasks);
            }),
        })
    });
    let mount = spec.map(|start| PoolStart {
        name: DEFAULT.into(),
        options: options.clone(),
        start: Some(start),
    });
    OwnPool { mount, tasks }
}

/// Names that cannot be, or that the configuration has and the server has not.
pub(super) fn check_names(config: &Config, pools: &[PoolStart]) -> Result<()> {
    let names: Vec<&str> = pools.iter().map(|pool| &*pool.name).collect();
    if let Some(name) = names.get(POOLS_MAX) {
        return Err(Error::pool_name(
            name,
            "there are too many pools: 255 beside the server's own",
        ));
    }
    for (at, name) in names.iter().enumerate() {
        let right = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let problem = match name {
            name if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(right) => {
                "give it 1 to 10 lower-case letters, digits and `_`"
            }
            &DEFAULT => "that is the server's own pool: give it another name",
            name if names[..at].contains(name) => "there are two of that name",
            _ if pools[at].start.is_none() => "it belongs to another server already",
            _ => continue,
        };
        return Err(Error::pool_name(name, problem));
    }
    config.check_pools(&names)?;
    Ok(())
}

pub(super) fn doorbells(count: usize) -> Result<Vec<Arc<Doorbell>>> {
    (0..count)
        .map(|_| Doorbell::new().map(Arc::new))
        .collect::<std::io::Result<_>>()
        .map_err(|cause| Error::io("no descriptor for an eventfd; raise `ulimit -n`", cause))
}

fn request(options: &Options) -> PlacementRequest {
    PlacementRequest {
        worker_num: options.worker_num,
        task_worker_num: options.task_worker_num,
        worker_cpus: options.worker_cpus.clone(),
        task_worker_cpus: options.task_worker_cpus.clone(),
    }
}

pub(super) fn needs(config: &Config, executors: usize, async_workers: usize) -> probe::Needs {
    let options = &config.options;
    let descriptors = probe::DESCRIPTORS_PER_EXECUTOR + config.listen.len() as u64;
    probe::Needs {
        executors,
        async_workers,
        ring_entries: options.ring_entries as u32,
        recv_buffers: options.recv_buffers as u16,
        descriptors: DESCRIPTORS_KEPT + descriptors * executors as u64,
    }
}

pub(super) fn executor_config(options: &Options, index: usize, cpu: usize) -> ExecutorConfig {
    ExecutorConfig {
        index,
        cpu,
        ring: RingConfig {
            entries: options.ring_entries as u32,
            recv_buffers: options.recv_buffers as u16,
            recv_buffer_bytes: options.recv_buffer_bytes as u32,
            coalesce: Duration::from_micros(options.executor_gather_us),
        },
        spin: Duration::from_micros(options.executor_spin_us),
    }
}

/// Made before the executors are, so that they can be asked where they are.
pub(super) fn executor_watch(options: &Options) -> Option<ExecutorWatch> {
    let limit = Duration::from_millis(options.executor_blocked_after_ms);
    (!limit.is_zero()).then(|| ExecutorWatch::new(limit, stack_signal(options)))
}
