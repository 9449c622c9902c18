//! The machine as this process may use it: CPUs, what they share, and what limits them.
//!
//! Read once at start from the affinity mask, `/sys`, `/proc` and the control groups. What a thread
//! may run on is the mask's to say: the kernel keeps it within the online CPUs and the cpuset
//! (sched_getaffinity(2)). The files only describe, for a container may show those of another
//! machine. Where they are absent or odd each CPU is a core of its own, in one package, one cache
//! domain and one NUMA node.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use rustix::io::Errno;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::machine::cpu_list::{CpuId, CpuList};

mod cgroup;

/// Threads are pinned by a mask of this many CPUs (`cpu_set_t`); CPUs past it are left alone.
pub const PINNABLE_CPUS: usize = CpuSet::MAX_CPU;

/// One online CPU and what it shares with others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// The kernel's number of it.
    pub id: CpuId,
    /// The threads of its physical core, itself among them.
    pub core_siblings: CpuList,
    /// Numbered from 0; CPUs of one domain share their last level of cache.
    pub cache_domain: usize,
    /// The physical package (socket), by the kernel's number.
    pub package: usize,
    /// The NUMA node, by the kernel's number.
    pub numa_node: usize,
}

/// The machine's CPUs, and which of them this process may use.
#[derive(Clone, Debug, PartialEq)]
pub struct Topology {
    /// The online CPUs in order of their numbers, those of the affinity mask in any case.
    pub cpus: Vec<Cpu>,
    /// CPUs that exist, online or not.
    pub present: CpuList,
    /// The affinity mask of the thread that read this.
    pub affinity: CpuList,
    /// The cpuset of our control group, if there is one.
    pub cpuset: Option<CpuList>,
    /// CPU time our control groups allow, in CPUs, if it is limited.
    pub quota_cpus: Option<f64>,
}

impl Topology {
    /// Reads the topology of this machine, with the calling thread's affinity mask.
    ///
    /// # Errors
    /// Where the affinity mask cannot be read, or leaves no CPU.
    pub fn read() -> Result<Topology, TopologyError> {
        Topology::read_from(Path::new("/"), affinity()?)
    }

    /// Reads it from the `/sys` and `/proc` below `root`.
    fn read_from(root: &Path, affinity: CpuList) -> Result<Topology, TopologyError> {
        let sys = below(root, "/sys/devices/system/cpu");
        let list = |name: &str| read_list(&sys.join(name)).unwrap_or_default();
        let with = |list: CpuList, more: &CpuList| list.iter().chain(more.iter()).collect();
        let online: CpuList = with(list("online"), &affinity);
        let present = with(list("present"), &online);
        let limits = cgroup::read(root);
        let topology = Topology {
            cpus: read_cpus(root, &online),
            present,
            affinity,
            cpuset: limits.cpuset,
            quota_cpus: limits.quota_cpus,
        };
        if topology.usable().next().is_none() {
            return Err(TopologyError::NoUsableCpu(Box::new(topology)));
        }
        Ok(topology)
    }

    /// The CPUs this process may use: those of the affinity mask to which threads can be pinned.
    pub fn usable(&self) -> impl Iterator<Item = &Cpu> {
        self.cpus.iter().filter(|cpu| self.affinity.contains(cpu.id) && cpu.id.0 < PINNABLE_CPUS)
    }

    /// The online CPU of that number.
    pub fn cpu(&self, id: CpuId) -> Option<&Cpu> {
        self.cpus.iter().find(|cpu| cpu.id == id)
    }
}

/// Why the topology could not be read.
pub enum TopologyError {
    /// The affinity mask could not be read.
    Affinity(io::Error),
    /// The affinity mask has no CPU to which threads can be pinned.
    NoUsableCpu(Box<Topology>),
}

impl fmt::Display for TopologyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TopologyError::Affinity(error) => write!(
                f,
                "cannot read the CPU affinity mask: {error}; allow sched_getaffinity and mount /proc"
            ),
            TopologyError::NoUsableCpu(topology) => {
                let online: CpuList = topology.cpus.iter().map(|cpu| cpu.id).collect();
                write!(f, "no CPU is left to run on: online {online}, affinity ")?;
                write!(f, "{}, cpuset ", topology.affinity)?;
                match &topology.cpuset {
                    Some(cpuset) => cpuset.fmt(f)?,
                    None => f.write_str("none")?,
                }
                f.write_str("; widen the affinity mask (taskset -c) or the cpuset")
            }
        }
    }
}

/// As it is displayed, for a `main` that returns it.
impl fmt::Debug for TopologyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for TopologyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            TopologyError::Affinity(cause) => Some(cause),
            TopologyError::NoUsableCpu(_) => None,
        }
    }
}

/// Has the calling thread, and the threads that it starts from now on, run on these CPUs only.
///
/// # Errors
/// That of sched_setaffinity(2).
pub fn run_on(cpus: &CpuList) -> io::Result<()> {
    let mut set = CpuSet::new();
    cpus.iter().filter(|cpu| cpu.0 < PINNABLE_CPUS).for_each(|cpu| set.set(cpu.0));
    Ok(sched_setaffinity(None, &set)?)
}

/// Pins the calling thread, and the threads that it starts from now on, to one CPU.
///
/// # Errors
/// Where the CPU is outside what the process may use.
pub fn pin_to(cpu: CpuId) -> io::Result<()> {
    // The crate says only whether it succeeded; the cause is left in errno by its one call.
    match core_affinity::set_for_current(core_affinity::CoreId { id: cpu.0 }) {
        true => Ok(()),
        false => Err(io::Error::last_os_error()),
    }
}

/// The calling thread's affinity mask.
fn affinity() -> Result<CpuList, TopologyError> {
    match sched_getaffinity(None) {
        Ok(set) => Ok((0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).map(CpuId).collect()),
        // The kernel numbers more CPUs than the mask has bits; /proc lists them all.
        Err(Errno::INVAL) => {
            let status = fs::read_to_string("/proc/thread-self/status");
            affinity_of_status(&status.map_err(TopologyError::Affinity)?)
        }
        Err(errno) => Err(TopologyError::Affinity(errno.into())),
    }
}

/// The mask as proc_pid_status(5) lists it.
fn affinity_of_status(status: &str) -> Result<CpuList, TopologyError> {
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let list = list.unwrap_or_default().parse();
    list.map_err(|error| TopologyError::Affinity(io::Error::other(error)))
}

fn read_cpus(root: &Path, online: &CpuList) -> Vec<Cpu> {
    let numa_nodes = read_numa_nodes(root);
    let mut domains = BTreeMap::new();
    let describe = |id| {
        let folder = below(root, &format!("/sys/devices/system/cpu/cpu{id}"));
        let topology = folder.join("topology");
        let core_siblings = read_list(&topology.join("thread_siblings_list"))
            .filter(|siblings| siblings.contains(id))
            .unwrap_or_else(|| CpuList::from_iter([id]));
        let package = read_number(&topology.join("physical_package_id")).unwrap_or(0);
        // A cache that one core has to itself joins it with nobody: the package does.
        let domain = match last_level_cache(&folder.join("cache")) {
            Some(shared) if shared.iter().any(|cpu| !core_siblings.contains(cpu)) => {
                (None, shared.first())
            }
            _ => (Some(package), None),
        };
        let next = domains.len();
        let cache_domain = *domains.entry(domain).or_insert(next);
        let numa_node = numa_nodes.get(&id).copied().unwrap_or(0);
        Cpu { id, core_siblings, cache_domain, package, numa_node }
    };
    online.iter().map(describe).collect()
}

/// The CPUs that share the highest level of cache described below `cache`.
fn last_level_cache(cache: &Path) -> Option<CpuList> {
    let levels = subfolders(cache, "index");
    let last = levels.into_iter().filter_map(|(_, index)| {
        Some((read_number(&index.join("level"))?, index.join("shared_cpu_list")))
    });
    read_list(&last.max()?.1)
}

fn read_numa_nodes(root: &Path) -> BTreeMap<CpuId, usize> {
    let mut node_of = BTreeMap::new();
    for (node, folder) in subfolders(&below(root, "/sys/devices/system/node"), "node") {
        let cpus = read_list(&folder.join("cpulist")).unwrap_or_default();
        node_of.extend(cpus.iter().map(|cpu| (cpu, node)));
    }
    node_of
}

/// The folders named `prefix` and a number, with the number; none where there is no such place.
fn subfolders(place: &Path, prefix: &str) -> Vec<(usize, PathBuf)> {
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    let numbered = entries.filter_map(|entry| {
        let number = entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()?;
        Some((number, entry.path()))
    });
    numbered.collect()
}

/// The list in a file, if it can be read and holds one. A blank file has none, as the kernel leaves
/// it for a node without CPUs.
fn read_list(path: &Path) -> Option<CpuList> {
    fs::read_to_string(path).ok()?.parse().ok()
}

/// The number in a file. Unknown packages read -1, which is none.
fn read_number(path: &Path) -> Option<usize> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// An absolute path, taken below another root.
fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests;
