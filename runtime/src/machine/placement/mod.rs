//! Who runs where: one CPU for each executor, and a CPU for each task worker.
//!
//! A pure function of the topology and the settings. Two executors never share a CPU; task
//! workers share only where CPUs run out. How many, where the settings leave it open:
//!
//! | given | executors | task workers |
//! |---|---|---|
//! | nothing, one CPU | 1 | 1, on the same CPU |
//! | nothing, two CPUs | 1 | 1 |
//! | nothing, more | the rest | a quarter of the CPUs, at least 1 |
//! | `worker_num` | as asked | a quarter, but no more than CPUs are left, at least 1 |
//! | `task_worker_num` | the CPUs left after a CPU for each task worker, at least 1 | as asked |
//! | `worker_cpus` | one for each CPU listed | as above, from the CPUs not listed |
//! | `task_worker_cpus` | one for each usable CPU not listed, at least 1 | one for each CPU listed |
//!
//! Where: executors take distinct physical cores first, as many cache domains as are needed and
//! no more, evenly. Task workers come next: on cores of their own, then beside each other, last
//! on the SMT siblings of executors; each time in a cache domain or NUMA node that has executors,
//! if one is left, because jobs and finishes then travel through a shared cache.

use std::collections::BTreeSet;
use std::fmt;

use crate::machine::cpu_list::{CpuId, CpuList};
use crate::machine::topology::{Cpu, Topology};

mod choice;
mod error;
mod pools;

pub use error::{CpuFault, PlacementError, PlacementWarning, Setting};
pub use pools::{PoolRequest, place_pool};

/// The most task workers of one process. Each has a finish ring to each executor, so memory
/// grows with it; past this a pool's queue, not its workers, is what limits a machine.
pub const TASK_WORKER_NUM_MAX: usize = 1024;

/// What the settings ask for; `None` leaves it to the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlacementRequest {
    /// How many executors.
    pub worker_num: Option<usize>,
    /// How many task workers; none at all with 0.
    pub task_worker_num: Option<usize>,
    /// The CPUs executors may take.
    pub worker_cpus: Option<CpuList>,
    /// The CPUs task workers may take.
    pub task_worker_cpus: Option<CpuList>,
}

/// Where a task worker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskWorkerSeat {
    /// The CPU it is pinned to.
    pub cpu: CpuId,
    /// Whether another task worker or an executor runs there too.
    pub shared: bool,
}

/// The decided places.
#[derive(Clone, Debug, PartialEq)]
pub struct Placement {
    /// The CPU of each executor, in order of CPU numbers; no CPU occurs twice.
    pub executors: Vec<CpuId>,
    /// The seat of each task worker.
    pub task_workers: Vec<TaskWorkerSeat>,
    /// What will work, but not as well as it could.
    pub warnings: Vec<PlacementWarning>,
}

/// Decides the places of executors and task workers.
///
/// # Errors
/// [`PlacementError`], which names the setting at fault.
pub fn place(topology: &Topology, request: &PlacementRequest) -> Result<Placement, PlacementError> {
    check(topology, request)?;
    let counts = Counts::decide(topology, request);
    let executors = executor_cpus(topology, request, counts)?;
    let task_cpus = task_worker_cpus(topology, request, &executors, counts.task_workers);
    let task_workers = seats(&task_cpus, &executors, counts.task_workers);
    let warnings = warnings(topology, request, &executors, &task_workers);
    Ok(Placement { executors, task_workers, warnings })
}

impl Placement {
    /// One line for each thread, such as `exec-0 on CPU 0 (cache domain 0, NUMA node 0)`.
    pub fn describe(&self, topology: &Topology) -> Vec<String> {
        let executors = self.executors.iter().enumerate();
        let executors = executors.map(|(index, &cpu)| {
            format!("exec-{index} on CPU {cpu}{}", Locality(topology.cpu(cpu)))
        });
        let tasks = self
            .task_workers
            .iter()
            .enumerate()
            .map(|(index, seat)| seat.describe("task", index, topology));
        executors.chain(tasks).collect()
    }
}

impl TaskWorkerSeat {
    /// One line, such as `task-0 on CPU 1 (cache domain 0, NUMA node 0), shared`.
    pub fn describe(&self, pool: &str, index: usize, topology: &Topology) -> String {
        let shared = if self.shared { ", shared" } else { "" };
        format!("{pool}-{index} on CPU {}{}{shared}", self.cpu, Locality(topology.cpu(self.cpu)))
    }
}

struct Locality<'a>(Option<&'a Cpu>);

impl fmt::Display for Locality<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(cpu) => {
                write!(f, " (cache domain {}, NUMA node {})", cpu.cache_domain, cpu.numa_node)
            }
            None => Ok(()),
        }
    }
}

/// Refuses what no choice of CPUs can satisfy.
fn check(topology: &Topology, request: &PlacementRequest) -> Result<(), PlacementError> {
    let usable: CpuList = topology.usable().map(|cpu| cpu.id).collect();
    if usable.is_empty() {
        return Err(PlacementError::NoUsableCpu);
    }
    for (setting, list) in [
        (Setting::WorkerCpus, &request.worker_cpus),
        (Setting::TaskWorkerCpus, &request.task_worker_cpus),
    ] {
        let Some(list) = list else { continue };
        if list.is_empty() {
            return Err(PlacementError::EmptyList(setting));
        }
        let faults = list.iter().map(|cpu| (cpu, CpuFault::find(topology, cpu)));
        if let Some((cpu, Some(fault))) = faults.into_iter().find(|(_, fault)| fault.is_some()) {
            return Err(PlacementError::Cpu { setting, cpu, fault });
        }
    }
    match (request.worker_num, &request.worker_cpus) {
        (Some(0), _) => return Err(PlacementError::NoExecutors),
        (Some(asked), _) if asked > usable.len() => {
            return Err(PlacementError::MoreExecutorsThanCpus { asked, usable });
        }
        (Some(asked), Some(listed)) if asked > listed.len() => {
            return Err(PlacementError::MoreExecutorsThanListed { asked, listed: listed.clone() });
        }
        _ => {}
    }
    match request.task_worker_num {
        Some(asked) if asked > TASK_WORKER_NUM_MAX => {
            Err(PlacementError::TooManyTaskWorkers { asked })
        }
        _ => Ok(()),
    }
}

/// How many there are of each: the table at the top.
#[derive(Clone, Copy)]
struct Counts {
    executors: usize,
    task_workers: usize,
}

impl Counts {
    fn decide(topology: &Topology, request: &PlacementRequest) -> Counts {
        let usable = topology.usable().count();
        let quarter = (usable / 4).max(1);
        let listed = |list: &Option<CpuList>| list.as_ref().map(CpuList::len);
        let listed_tasks = listed(&request.task_worker_cpus);
        let asked_executors = request.worker_num.or(listed(&request.worker_cpus));
        let task_workers = request.task_worker_num.or(listed_tasks).unwrap_or_else(|| {
            let left = usable - asked_executors.unwrap_or(0);
            quarter.min(left).clamp(1, TASK_WORKER_NUM_MAX)
        });
        let executors = asked_executors.unwrap_or_else(|| {
            // A list of CPUs for tasks is left to them whole, whatever their number; without
            // tasks it is left to nobody.
            let taken = if task_workers == 0 { 0 } else { listed_tasks.unwrap_or(task_workers) };
            usable.saturating_sub(taken).max(1)
        });
        Counts { executors, task_workers }
    }
}

fn executor_cpus(
    topology: &Topology,
    request: &PlacementRequest,
    counts: Counts,
) -> Result<Vec<CpuId>, PlacementError> {
    let usable: Vec<&Cpu> = topology.usable().collect();
    let candidates: Vec<&Cpu> = match (&request.worker_cpus, &request.task_worker_cpus) {
        (Some(listed), _) => usable.into_iter().filter(|cpu| listed.contains(cpu.id)).collect(),
        (None, Some(tasks)) if counts.task_workers > 0 => {
            let free: Vec<&Cpu> =
                usable.iter().copied().filter(|cpu| !tasks.contains(cpu.id)).collect();
            // More executors than the task workers' list leaves: they overlap, with a warning.
            if free.len() >= counts.executors { free } else { usable }
        }
        _ => usable,
    };
    let beside = match request.task_worker_cpus {
        Some(_) => 0,
        None => counts.task_workers,
    };
    let chosen = choice::executors(&candidates, counts.executors, beside);
    debug_assert_eq!(chosen.len(), counts.executors);
    Ok(chosen)
}

/// The CPUs task workers are dealt to, each once.
fn task_worker_cpus(
    topology: &Topology,
    request: &PlacementRequest,
    executors: &[CpuId],
    task_workers: usize,
) -> Vec<CpuId> {
    let candidates: Vec<&Cpu> = match &request.task_worker_cpus {
        Some(listed) => topology.usable().filter(|cpu| listed.contains(cpu.id)).collect(),
        None => {
            let free = topology.usable().filter(|cpu| !executors.contains(&cpu.id));
            let free: Vec<&Cpu> = free.collect();
            // No CPU is left: task workers go where executors are, the last ones first.
            if free.is_empty() {
                return executors.iter().rev().take(task_workers).copied().collect();
            }
            free
        }
    };
    let executors = executors.iter().filter_map(|&cpu| topology.cpu(cpu)).collect::<Vec<_>>();
    choice::task_workers(&candidates, &executors, task_workers)
}

/// Deals `task_workers` seats over the CPUs, round robin.
fn seats(cpus: &[CpuId], executors: &[CpuId], task_workers: usize) -> Vec<TaskWorkerSeat> {
    let seat = |index: usize| {
        let place = index % cpus.len();
        // Another seat is dealt to this CPU before or after this one.
        let crowded = place + cpus.len() < task_workers;
        TaskWorkerSeat { cpu: cpus[place], shared: crowded || executors.contains(&cpus[place]) }
    };
    (0..task_workers).map(seat).collect()
}

fn warnings(
    topology: &Topology,
    request: &PlacementRequest,
    executors: &[CpuId],
    task_workers: &[TaskWorkerSeat],
) -> Vec<PlacementWarning> {
    let mut warnings = Vec::new();
    let task_cpus: BTreeSet<CpuId> = task_workers.iter().map(|seat| seat.cpu).collect();
    let overlap: CpuList =
        executors.iter().filter(|&cpu| task_cpus.contains(cpu)).copied().collect();
    if !overlap.is_empty() {
        warnings.push(PlacementWarning::Overlap { cpus: overlap });
    }
    if task_workers.len() > task_cpus.len() {
        let (task_workers, cpus) = (task_workers.len(), task_cpus.iter().copied().collect());
        warnings.push(PlacementWarning::TaskWorkersShare { task_workers, cpus });
    }
    if task_workers.is_empty() && request.task_worker_cpus.is_some() {
        warnings.push(PlacementWarning::UnusedTaskWorkerCpus);
    }
    let used = task_cpus.iter().chain(executors).collect::<BTreeSet<_>>().len();
    match topology.quota_cpus {
        Some(quota_cpus) if quota_cpus < used as f64 => {
            warnings.push(PlacementWarning::Quota { quota_cpus, used });
        }
        _ => {}
    }
    warnings
}

#[cfg(test)]
mod tests;
