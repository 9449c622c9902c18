//! Which CPUs to take from those that may be taken: one after the other, each time the one that
//! costs least by a key whose parts are compared in order.

use std::collections::{BTreeMap, BTreeSet};

use crate::machine::cpu_list::CpuId;
use crate::machine::topology::Cpu;

/// `count` CPUs for executors, in order of their numbers; all candidates if there are no more.
/// `beside` task workers are to find places near them later.
pub(super) fn executors(candidates: &[&Cpu], count: usize, beside: usize) -> Vec<CpuId> {
    let near = enough_domains(candidates, count.saturating_add(beside));
    let capacity = Tally::of(&near);
    take_cheapest(&near, count, |cpu, chosen| {
        let fullness = percent(chosen.in_domain(cpu), capacity.in_domain(cpu));
        (chosen.on_core(cpu), fullness)
    })
}

/// `count` CPUs for task workers beside these executors; all candidates if there are no more.
pub(super) fn task_workers(candidates: &[&Cpu], executors: &[&Cpu], count: usize) -> Vec<CpuId> {
    let executors = Tally::of(executors);
    take_cheapest(candidates, count, |cpu, chosen| {
        (
            executors.ids.contains(&cpu.id),
            executors.on_core(cpu),
            chosen.on_core(cpu),
            executors.in_domain(cpu) == 0,
            executors.in_node(cpu) == 0,
            percent(chosen.in_domain(cpu), executors.in_domain(cpu)),
        )
    })
}

fn take_cheapest<K: Ord>(
    candidates: &[&Cpu],
    count: usize,
    cost: impl Fn(&Cpu, &Tally) -> K,
) -> Vec<CpuId> {
    let mut chosen = Tally::default();
    while chosen.ids.len() < count {
        let free = candidates.iter().filter(|cpu| !chosen.ids.contains(&cpu.id));
        match free.min_by_key(|cpu| (cost(cpu, &chosen), cpu.id)) {
            Some(cpu) => chosen.add(cpu),
            None => break,
        }
    }
    chosen.ids.into_iter().collect()
}

/// The CPUs of as few cache domains as have a physical core for each of `count` threads: the
/// first domain that has enough alone, else domains in order of NUMA nodes, else all.
fn enough_domains<'a>(candidates: &[&'a Cpu], count: usize) -> Vec<&'a Cpu> {
    let mut domains: BTreeMap<(usize, usize), Vec<&Cpu>> = BTreeMap::new();
    for cpu in candidates {
        domains.entry((cpu.numa_node, cpu.cache_domain)).or_default().push(cpu);
    }
    let enough = |cpus: &[&Cpu]| Tally::of(cpus).cores.len() >= count;
    if let Some(domain) = domains.values().find(|domain| enough(domain)) {
        return domain.clone();
    }
    let mut near = Vec::new();
    for domain in domains.values() {
        near.extend(domain);
        if enough(&near) {
            break;
        }
    }
    near
}

/// A set of CPUs, counted by what they share.
#[derive(Default)]
struct Tally {
    ids: BTreeSet<CpuId>,
    /// Threads by their core, which is named by its first thread.
    cores: BTreeMap<CpuId, usize>,
    domains: BTreeMap<usize, usize>,
    nodes: BTreeMap<usize, usize>,
}

impl Tally {
    fn of(cpus: &[&Cpu]) -> Tally {
        let mut tally = Tally::default();
        cpus.iter().for_each(|cpu| tally.add(cpu));
        tally
    }

    fn add(&mut self, cpu: &Cpu) {
        self.ids.insert(cpu.id);
        *self.cores.entry(core(cpu)).or_default() += 1;
        *self.domains.entry(cpu.cache_domain).or_default() += 1;
        *self.nodes.entry(cpu.numa_node).or_default() += 1;
    }

    fn on_core(&self, cpu: &Cpu) -> usize {
        self.cores.get(&core(cpu)).copied().unwrap_or(0)
    }

    fn in_domain(&self, cpu: &Cpu) -> usize {
        self.domains.get(&cpu.cache_domain).copied().unwrap_or(0)
    }

    fn in_node(&self, cpu: &Cpu) -> usize {
        self.nodes.get(&cpu.numa_node).copied().unwrap_or(0)
    }
}

fn core(cpu: &Cpu) -> CpuId {
    cpu.core_siblings.first().unwrap_or(cpu.id)
}

fn percent(part: usize, whole: usize) -> usize {
    part * 100 / whole.max(1)
}
