//! What placement refuses and what it warns of, in words that say the cure.

use std::fmt;

use super::TASK_WORKER_NUM_MAX;
use crate::machine::cpu_list::{CpuId, CpuList};
use crate::machine::topology::{PINNABLE_CPUS, Topology};

/// The setting that holds a CPU list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// `worker_cpus`
    WorkerCpus,
    /// `task_worker_cpus`
    TaskWorkerCpus,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Setting::WorkerCpus => "worker_cpus (SIDECORE_WORKER_CPUS)",
            Setting::TaskWorkerCpus => "task_worker_cpus (SIDECORE_TASK_WORKER_CPUS)",
        })
    }
}

/// Why a CPU that was asked for cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CpuFault {
    /// The machine has no such CPU, but these.
    Absent {
        /// The CPUs of the machine.
        present: CpuList,
    },
    /// It exists but is offline.
    Offline,
    /// The affinity mask leaves it out.
    OutsideAffinity {
        /// The affinity mask.
        affinity: CpuList,
    },
    /// The control group's cpuset leaves it out.
    OutsideCpuset {
        /// The cpuset.
        cpuset: CpuList,
    },
    /// Its number is too high to pin a thread to it.
    NotPinnable,
}

impl CpuFault {
    /// What keeps this process from the CPU, if anything does.
    pub(super) fn find(topology: &Topology, cpu: CpuId) -> Option<CpuFault> {
        if topology.affinity.contains(cpu) {
            return (cpu.0 >= PINNABLE_CPUS).then_some(CpuFault::NotPinnable);
        }
        let cpuset = topology.cpuset.as_ref().filter(|cpuset| !cpuset.contains(cpu));
        Some(if !topology.present.contains(cpu) {
            CpuFault::Absent { present: topology.present.clone() }
        } else if topology.cpu(cpu).is_none() {
            CpuFault::Offline
        } else if let Some(cpuset) = cpuset {
            // Before the mask: the kernel narrows the mask to the cpuset, which is the cause.
            CpuFault::OutsideCpuset { cpuset: cpuset.clone() }
        } else {
            CpuFault::OutsideAffinity { affinity: topology.affinity.clone() }
        })
    }
}

/// A request that cannot be satisfied.
#[derive(Clone, PartialEq, Eq)]
pub enum PlacementError {
    /// The topology has no usable CPU.
    NoUsableCpu,
    /// `worker_num` is 0.
    NoExecutors,
    /// There are fewer usable CPUs than executors were asked for.
    MoreExecutorsThanCpus {
        /// `worker_num`.
        asked: usize,
        /// The CPUs this process may use.
        usable: CpuList,
    },
    /// `worker_cpus` lists fewer CPUs than executors were asked for.
    MoreExecutorsThanListed {
        /// `worker_num`.
        asked: usize,
        /// `worker_cpus`.
        listed: CpuList,
    },
    /// `task_worker_num` is above [`TASK_WORKER_NUM_MAX`].
    TooManyTaskWorkers {
        /// `task_worker_num`.
        asked: usize,
    },
    /// A list of CPUs is set but lists none.
    EmptyList(Setting),
    /// A listed CPU cannot be had.
    Cpu {
        /// The list that names it.
        setting: Setting,
        /// The CPU.
        cpu: CpuId,
        /// What is in the way.
        fault: CpuFault,
    },
}

impl fmt::Display for PlacementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PlacementError::NoUsableCpu => f.write_str(
                "no CPU is left to run on; widen the affinity mask (taskset -c) or the cpuset",
            ),
            PlacementError::NoExecutors => f.write_str(
                "worker_num (SIDECORE_WORKER_NUM) is 0; at least one executor has to serve",
            ),
            PlacementError::MoreExecutorsThanCpus { asked, usable } => write!(
                f,
                "worker_num (SIDECORE_WORKER_NUM) is {asked}, but this process may use {} \
                 ({usable}) and two executors never share a CPU; set it to {} or less, or leave \
                 it out",
                Cpus(usable.len()),
                usable.len()
            ),
            PlacementError::MoreExecutorsThanListed { asked, listed } => write!(
                f,
                "worker_num (SIDECORE_WORKER_NUM) is {asked}, but {} lists {} ({listed}) and two \
                 executors never share a CPU; list more CPUs or leave worker_num out",
                Setting::WorkerCpus,
                Cpus(listed.len())
            ),
            PlacementError::TooManyTaskWorkers { asked } => write!(
                f,
                "task_worker_num (SIDECORE_TASK_WORKER_NUM) is {asked}; set it to \
                 {TASK_WORKER_NUM_MAX} or less"
            ),
            PlacementError::EmptyList(setting) => {
                write!(f, "{setting} lists no CPU; list CPUs as in 0-3,8 or leave it out")
            }
            PlacementError::Cpu { setting, cpu, fault } => {
                write!(f, "{setting} lists CPU {cpu}, ")?;
                match fault {
                    CpuFault::Absent { present } => {
                        write!(f, "which this machine does not have; it has {present}")
                    }
                    CpuFault::Offline => write!(
                        f,
                        "which is offline; take it out, or bring it online by writing 1 to \
                         /sys/devices/system/cpu/cpu{cpu}/online"
                    ),
                    CpuFault::OutsideAffinity { affinity } => write!(
                        f,
                        "which is outside this process's affinity mask ({affinity}); take it out, \
                         or start with a wider mask (taskset -c, systemd CPUAffinity=)"
                    ),
                    CpuFault::OutsideCpuset { cpuset } => write!(
                        f,
                        "which is outside the control group's cpuset ({cpuset}); take it out, or \
                         widen the cpuset (docker --cpuset-cpus, systemd AllowedCPUs=)"
                    ),
                    CpuFault::NotPinnable => write!(
                        f,
                        "but threads are pinned to CPUs below {PINNABLE_CPUS} only; take it out"
                    ),
                }
            }
        }
    }
}

/// As it is displayed, for a `main` that returns it.
impl fmt::Debug for PlacementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for PlacementError {}

/// What works, but not as well as it could.
#[derive(Clone, Debug, PartialEq)]
pub enum PlacementWarning {
    /// Executors and task workers run on the same CPUs.
    Overlap {
        /// Those CPUs.
        cpus: CpuList,
    },
    /// There are more task workers than CPUs for them.
    TaskWorkersShare {
        /// How many task workers there are.
        task_workers: usize,
        /// The CPUs they share.
        cpus: CpuList,
    },
    /// `task_worker_cpus` is set and `task_worker_num` is 0.
    UnusedTaskWorkerCpus,
    /// The control group allows less CPU time than the CPUs used could spend.
    Quota {
        /// CPU time allowed, in CPUs.
        quota_cpus: f64,
        /// How many CPUs are used.
        used: usize,
    },
}

impl fmt::Display for PlacementWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PlacementWarning::Overlap { cpus } => write!(
                f,
                "executors and task workers share CPU {cpus}: requests wait while tasks run there; \
                 lower worker_num, or keep worker_cpus and task_worker_cpus apart"
            ),
            PlacementWarning::TaskWorkersShare { task_workers, cpus } => write!(
                f,
                "{task_workers} task workers share {} ({cpus}): good for tasks that wait, no gain \
                 for tasks that compute; lower task_worker_num or worker_num",
                Cpus(cpus.len())
            ),
            PlacementWarning::UnusedTaskWorkerCpus => {
                write!(
                    f,
                    "{} is set but task_worker_num is 0: nothing uses it",
                    Setting::TaskWorkerCpus
                )
            }
            PlacementWarning::Quota { quota_cpus, used } => write!(
                f,
                "{} in use but the control group's quota is {quota_cpus:.2} CPUs of time: the \
                 kernel will stop all threads whenever it is spent; raise the quota (cpu.max, \
                 docker --cpus, systemd CPUQuota=) or use fewer CPUs",
                Cpus(*used)
            ),
        }
    }
}

/// A number of CPUs in words.
struct Cpus(usize);

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} CPU{}", self.0, if self.0 == 1 { "" } else { "s" })
    }
}
