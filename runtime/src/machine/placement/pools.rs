//! Places for the task workers of further pools, beside those that are decided.

use std::collections::BTreeMap;

use super::{CpuFault, Placement, PlacementError, Setting, TASK_WORKER_NUM_MAX, TaskWorkerSeat};
use crate::machine::cpu_list::{CpuId, CpuList};
use crate::machine::topology::Topology;

/// What a further pool asks for; `None` leaves it to the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolRequest {
    /// How many task workers: by default one for each CPU listed, else one.
    pub task_worker_num: Option<usize>,
    /// The CPUs they may take: by default those of the placement's own task workers, else of its
    /// last executor.
    pub task_worker_cpus: Option<CpuList>,
}

/// Decides the seats of a further pool, dealt over its CPUs round robin. Workers of other pools on
/// these CPUs are no reason not to spin there: they mostly sleep, and a spin is short.
///
/// # Errors
/// [`PlacementError`], which names the setting at fault.
pub fn place_pool(
    topology: &Topology,
    placement: &Placement,
    request: &PoolRequest,
) -> Result<Vec<TaskWorkerSeat>, PlacementError> {
    let setting = Setting::TaskWorkerCpus;
    let cpus: Vec<CpuId> = match &request.task_worker_cpus {
        Some(listed) if listed.is_empty() => return Err(PlacementError::EmptyList(setting)),
        Some(listed) => {
            for cpu in listed.iter() {
                if let Some(fault) = CpuFault::find(topology, cpu) {
                    return Err(PlacementError::Cpu { setting, cpu, fault });
                }
            }
            listed.iter().collect()
        }
        None => {
            let mut cpus: Vec<CpuId> = placement.task_workers.iter().map(|seat| seat.cpu).collect();
            cpus.dedup();
            match (cpus.is_empty(), placement.executors.last()) {
                (true, Some(last)) => vec![*last],
                _ => cpus,
            }
        }
    };
    let listed = request.task_worker_cpus.as_ref().map(|_| cpus.len());
    let asked = request.task_worker_num.or(listed).unwrap_or(1);
    if asked > TASK_WORKER_NUM_MAX {
        return Err(PlacementError::TooManyTaskWorkers { asked });
    }
    let seat = |at: usize| TaskWorkerSeat { cpu: cpus[at % cpus.len()], shared: false };
    let mut seats: Vec<TaskWorkerSeat> = (0..asked).map(seat).collect();
    mark_shared(&placement.executors, &mut seats);
    Ok(seats)
}

/// Marks the seats of a pool whose CPU has an executor or another of them.
fn mark_shared(executors: &[CpuId], seats: &mut [TaskWorkerSeat]) {
    let mut threads: BTreeMap<CpuId, usize> = BTreeMap::new();
    for cpu in executors.iter().copied().chain(seats.iter().map(|seat| seat.cpu)) {
        *threads.entry(cpu).or_default() += 1;
    }
    seats.iter_mut().for_each(|seat| seat.shared = threads[&seat.cpu] > 1);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seats(cpus: &[usize]) -> Vec<TaskWorkerSeat> {
        cpus.iter().map(|cpu| TaskWorkerSeat { cpu: CpuId(*cpu), shared: false }).collect()
    }

    #[test]
    fn seats_are_shared_with_each_other_and_with_executors() {
        let mut seats = seats(&[1, 2, 2, 3, 0]);
        mark_shared(&[CpuId(0)], &mut seats);
        let shared: Vec<_> = seats.iter().map(|seat| seat.shared).collect();
        assert_eq!(shared, [false, true, true, false, true]);
    }
}
