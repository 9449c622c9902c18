use super::*;

/// `packages` of `cores` of `threads`; each package is a NUMA node with `domains` caches.
/// Siblings are `packages * cores` apart, as Intel numbers them.
fn machine(packages: usize, domains: usize, cores: usize, threads: usize) -> Topology {
    let all_cores = packages * cores;
    let cpus = (0..all_cores * threads).map(|id| {
        let core = id % all_cores;
        Cpu {
            id: CpuId(id),
            core_siblings: (0..threads).map(|thread| CpuId(core + thread * all_cores)).collect(),
            cache_domain: core * domains / cores,
            package: core / cores,
            numa_node: core / cores,
        }
    });
    let cpus: Vec<Cpu> = cpus.collect();
    let present: CpuList = cpus.iter().map(|cpu| cpu.id).collect();
    Topology { cpus, affinity: present.clone(), present, cpuset: None, quota_cpus: None }
}

fn list(text: &str) -> CpuList {
    text.parse().expect(text)
}

/// A request written as `worker_num, task_worker_num, worker_cpus, task_worker_cpus`.
fn request(
    worker_num: Option<usize>,
    task_worker_num: Option<usize>,
    worker_cpus: &str,
    task_worker_cpus: &str,
) -> PlacementRequest {
    let cpus = |text: &str| (!text.is_empty()).then(|| list(text));
    PlacementRequest {
        worker_num,
        task_worker_num,
        worker_cpus: cpus(worker_cpus),
        task_worker_cpus: cpus(task_worker_cpus),
    }
}

fn numbers(worker_num: Option<usize>, task_worker_num: Option<usize>) -> PlacementRequest {
    request(worker_num, task_worker_num, "", "")
}

/// `executors | task workers`, a `+` behind each shared seat.
fn show(placement: &Placement) -> String {
    let executors: Vec<String> = placement.executors.iter().map(CpuId::to_string).collect();
    let seats: Vec<String> = placement
        .task_workers
        .iter()
        .map(|seat| format!("{}{}", seat.cpu, if seat.shared { "+" } else { "" }))
        .collect();
    format!("{} | {}", executors.join(" "), seats.join(" "))
}

fn check(topology: &Topology, request: PlacementRequest, expected: &str) {
    let placement = place(topology, &request).expect("a place for all");
    assert_eq!(show(&placement), expected, "{request:?}");
}

#[test]
fn without_wishes_the_machine_is_split() {
    check(&machine(1, 1, 1, 1), numbers(None, None), "0 | 0+");
    check(&machine(1, 1, 2, 1), numbers(None, None), "0 | 1");
    check(&machine(1, 1, 1, 2), numbers(None, None), "0 | 1");
    check(&machine(1, 1, 3, 1), numbers(None, None), "0 1 | 2");
    check(&machine(1, 1, 8, 1), numbers(None, None), "0 1 2 3 4 5 | 6 7");
    check(&machine(1, 1, 4, 2), numbers(None, None), "0 1 2 3 4 5 | 6 7");
}

#[test]
fn numbers_are_followed_on_two_cpus_and_on_one() {
    let two = machine(1, 1, 2, 1);
    check(&two, numbers(Some(1), Some(1)), "0 | 1");
    check(&two, numbers(Some(1), None), "0 | 1");
    check(&two, numbers(None, Some(1)), "0 | 1");
    check(&two, numbers(None, Some(0)), "0 1 | ");
    check(&two, numbers(Some(1), Some(0)), "0 | ");
    check(&two, numbers(Some(2), None), "0 1 | 1+");
    check(&two, numbers(Some(2), Some(1)), "0 1 | 1+");
    check(&two, numbers(Some(2), Some(2)), "0 1 | 1+ 0+");
    check(&two, numbers(Some(1), Some(3)), "0 | 1+ 1+ 1+");
    let one = machine(1, 1, 1, 1);
    check(&one, numbers(Some(1), Some(2)), "0 | 0+ 0+");
    check(&one, numbers(None, Some(0)), "0 | ");
}

#[test]
fn many_task_workers_leave_an_executor_its_cpu() {
    let placement = place(&machine(1, 1, 2, 1), &numbers(None, Some(64))).expect("placed");
    assert_eq!(placement.executors, [CpuId(0)]);
    assert_eq!(placement.task_workers, [TaskWorkerSeat { cpu: CpuId(1), shared: true }; 64]);
    let cpus = list("1");
    assert_eq!(placement.warnings, [PlacementWarning::TaskWorkersShare { task_workers: 64, cpus }]);
    check(&machine(1, 1, 4, 1), numbers(None, Some(3)), "0 | 1 2 3");
    check(&machine(1, 1, 4, 1), numbers(None, Some(5)), "0 | 1+ 2+ 3 1+ 2+");
}

#[test]
fn physical_cores_go_first_and_siblings_of_executors_last() {
    let smt = machine(1, 1, 4, 2);
    check(&smt, numbers(Some(2), Some(2)), "0 1 | 2 3");
    check(&smt, numbers(Some(4), Some(4)), "0 1 2 3 | 4 5 6 7");
    check(&smt, numbers(Some(2), Some(3)), "0 1 | 2 3 6");
    check(&smt, numbers(Some(2), Some(6)), "0 1 | 2 3 4 5 6 7");
    check(&smt, numbers(Some(3), Some(1)), "0 1 2 | 3");
    check(&smt, numbers(Some(5), Some(0)), "0 1 2 3 4 | ");
    // Neighbouring numbers on one core, as AMD numbers them.
    let mut neighbours = machine(1, 1, 4, 2);
    for cpu in &mut neighbours.cpus {
        let first = cpu.id.0 & !1;
        cpu.core_siblings = [CpuId(first), CpuId(first + 1)].into_iter().collect();
    }
    check(&neighbours, numbers(Some(2), Some(2)), "0 2 | 4 6");
    check(&neighbours, numbers(Some(4), Some(4)), "0 2 4 6 | 1 3 5 7");
}

#[test]
fn executors_and_task_workers_share_a_cache_where_that_costs_nothing() {
    let two_nodes = machine(2, 1, 4, 1);
    check(&two_nodes, numbers(Some(2), Some(2)), "0 1 | 2 3");
    check(&two_nodes, numbers(Some(3), Some(2)), "0 1 4 | 2 5");
    check(&two_nodes, numbers(None, None), "0 1 2 4 5 6 | 3 7");
    check(&two_nodes, numbers(Some(4), Some(4)), "0 1 4 5 | 2 3 6 7");
    // The first domain has one CPU left, the second is whole.
    let mut narrowed = machine(2, 1, 4, 1);
    narrowed.affinity = list("3-7");
    check(&narrowed, numbers(Some(2), Some(2)), "4 5 | 6 7");
    // Two caches in each node: both caches of node 0 before those of node 1.
    let four_caches = machine(2, 2, 4, 1);
    check(&four_caches, numbers(Some(2), Some(2)), "0 2 | 1 3");
    // Beside executors placed by hand: their cache, then their node, then anywhere.
    check(&four_caches, request(None, Some(1), "6", ""), "6 | 7");
    check(&four_caches, request(None, Some(3), "6", ""), "6 | 4 5 7");
    check(&four_caches, request(None, Some(3), "4-5", ""), "4 5 | 0 6 7");
}

#[test]
fn lists_are_followed() {
    let four = machine(1, 1, 4, 1);
    check(&four, request(None, None, "1-2", ""), "1 2 | 0");
    check(&four, request(None, Some(2), "1-2", ""), "1 2 | 0 3");
    check(&four, request(None, None, "", "0"), "1 2 3 | 0");
    check(&four, request(None, None, "", "0-3"), "0 | 0+ 1 2 3");
    check(&four, request(None, Some(1), "", "2-3"), "0 1 | 2");
    check(&four, request(None, Some(0), "", "2-3"), "0 1 2 3 | ");
    check(&four, request(None, Some(3), "", "2-3"), "0 1 | 2+ 3 2+");
    check(&four, request(None, None, "0,2", "1,3"), "0 2 | 1 3");
    check(&four, request(Some(1), Some(1), "2-3", "0-1"), "2 | 0");
    check(&four, request(Some(3), None, "", "2-3"), "0 1 2 | 2+ 3");
    check(&four, request(None, None, "0-3", ""), "0 1 2 3 | 3+");
    let smt = machine(1, 1, 4, 2);
    check(&smt, request(Some(2), Some(1), "0,1,4,5", ""), "0 1 | 2");
    check(&smt, request(None, Some(1), "0", "1,4"), "0 | 1");
}

#[test]
fn an_overlap_is_allowed_with_a_warning() {
    let four = machine(1, 1, 4, 1);
    let overlapping = request(None, None, "0-2", "2-3");
    check(&four, overlapping.clone(), "0 1 2 | 2+ 3");
    let placement = place(&four, &overlapping).expect("placed");
    assert_eq!(placement.warnings, [PlacementWarning::Overlap { cpus: list("2") }]);
    let text = placement.warnings[0].to_string();
    assert!(text.contains("share CPU 2:") && text.contains("task_worker_cpus"), "{text}");
}

#[test]
fn what_is_worth_a_warning_is_warned_of_and_nothing_else() {
    let warned = |quota_cpus, wishes| {
        let topology = Topology { quota_cpus, ..machine(1, 1, 4, 1) };
        let warnings = place(&topology, &wishes).expect("placed").warnings;
        warnings.iter().map(PlacementWarning::to_string).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(warned(None, numbers(None, None)), "");
    assert_eq!(warned(Some(4.0), numbers(None, None)), "");
    assert_eq!(warned(Some(2.0), numbers(Some(1), Some(1))), "");
    assert!(warned(Some(1.5), numbers(Some(1), Some(1))).contains("2 CPUs in use but"));
    assert!(warned(Some(3.9), numbers(None, None)).contains("3.90 CPUs of time"));
    assert!(warned(None, request(None, Some(0), "", "3")).contains("task_worker_num is 0"));
    assert!(warned(None, numbers(Some(4), Some(1))).contains("share CPU 3"));
}

#[test]
fn what_cannot_be_is_refused_with_its_setting_and_cure() {
    let mut topology = machine(1, 1, 8, 1);
    topology.cpus.retain(|cpu| cpu.id != CpuId(3));
    topology.affinity = list("0-2,5-6");
    topology.cpuset = Some(list("0-2,5-7"));
    let refused = |wishes: PlacementRequest, parts: &[&str]| {
        let text = place(&topology, &wishes).expect_err("refused").to_string();
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        assert!(!text.contains('\n') && !text.contains("  "), "{text}");
    };
    let workers = |cpus: &str| request(None, None, cpus, "");
    refused(workers("0,9"), &["worker_cpus", "CPU 9", "does not have", "0-7"]);
    refused(workers("3"), &["worker_cpus", "CPU 3", "offline", "cpu3/online"]);
    refused(workers("4"), &["worker_cpus", "CPU 4", "cpuset (0-2,5-7)", "--cpuset-cpus"]);
    refused(workers("7"), &["worker_cpus", "CPU 7", "affinity mask (0-2,5-6)", "taskset"]);
    refused(request(None, None, "", "7"), &["task_worker_cpus", "CPU 7"]);
    refused(numbers(Some(0), None), &["SIDECORE_WORKER_NUM", "at least one"]);
    refused(
        numbers(Some(6), None),
        &["SIDECORE_WORKER_NUM", "is 6", "5 CPUs (0-2,5-6)", "5 or less"],
    );
    refused(request(Some(3), None, "0-1", ""), &["SIDECORE_WORKER_NUM", "lists 2 CPUs (0-1)"]);
    refused(numbers(None, Some(1025)), &["SIDECORE_TASK_WORKER_NUM", "1024 or less"]);
    let empty = PlacementRequest { worker_cpus: Some(CpuList::default()), ..numbers(None, None) };
    refused(empty, &["worker_cpus", "lists no CPU"]);
}

#[test]
fn a_cpu_past_the_mask_is_refused_and_never_chosen() {
    let mut wide = machine(1, 1, 1030, 1);
    let error = place(&wide, &request(None, None, "1024", "")).expect_err("not pinnable");
    assert!(error.to_string().contains("below 1024"), "{error}");
    wide.affinity = list("1020-1029");
    check(&wide, numbers(None, None), "1020 1021 1022 | 1023");
}

#[test]
fn no_cpu_is_an_error_rather_than_an_empty_placement() {
    let nothing = Topology { affinity: CpuList::default(), ..machine(1, 1, 2, 1) };
    assert_eq!(place(&nothing, &numbers(None, None)), Err(PlacementError::NoUsableCpu));
}

#[test]
fn any_wish_is_refused_or_kept_to_the_rules() {
    let some = [None, Some(0), Some(1), Some(3), Some(8), Some(64)];
    let lists = ["", "0", "0-1", "1,3,5", "4-7", "0-7"];
    for topology in [machine(2, 1, 2, 2), machine(1, 2, 8, 1), machine(2, 2, 4, 1)] {
        for (worker_num, task_worker_num) in
            some.iter().flat_map(|&first| some.iter().map(move |&second| (first, second)))
        {
            for (workers, tasks) in lists.iter().flat_map(|a| lists.iter().map(move |b| (a, b))) {
                let wishes = request(worker_num, task_worker_num, workers, tasks);
                if let Ok(placement) = place(&topology, &wishes) {
                    keeps_the_rules(&topology, &wishes, &placement);
                }
            }
        }
    }
}

fn keeps_the_rules(topology: &Topology, wishes: &PlacementRequest, placement: &Placement) {
    let context = || format!("{wishes:?}: {}", show(placement));
    let within = |list: &Option<CpuList>, cpu| list.as_ref().is_none_or(|list| list.contains(cpu));
    let executors = &placement.executors;
    assert!(!executors.is_empty() && executors.is_sorted_by(|a, b| a < b), "{}", context());
    assert!(executors.iter().all(|&cpu| within(&wishes.worker_cpus, cpu)), "{}", context());
    assert!(wishes.worker_num.is_none_or(|asked| asked == executors.len()), "{}", context());
    let tasks = &placement.task_workers;
    assert!(wishes.task_worker_num.is_none_or(|asked| asked == tasks.len()), "{}", context());
    for seat in tasks {
        assert!(within(&wishes.task_worker_cpus, seat.cpu), "{}", context());
        let here = tasks.iter().filter(|other| other.cpu == seat.cpu).count();
        let here = here + usize::from(executors.contains(&seat.cpu));
        assert_eq!(seat.shared, here > 1, "{}", context());
    }
    let most = tasks.iter().map(|seat| tasks.iter().filter(|other| other.cpu == seat.cpu).count());
    let cpus: BTreeSet<CpuId> = tasks.iter().map(|seat| seat.cpu).collect();
    assert!(most.max().unwrap_or(0) <= tasks.len().div_ceil(cpus.len().max(1)), "{}", context());
    assert_eq!(placement.describe(topology).len(), executors.len() + tasks.len());
}

#[test]
fn each_thread_is_described_by_a_line() {
    let topology = machine(2, 1, 1, 1);
    let placement = place(&topology, &numbers(Some(2), Some(1))).expect("placed");
    assert_eq!(
        placement.describe(&topology),
        [
            "exec-0 on CPU 0 (cache domain 0, NUMA node 0)",
            "exec-1 on CPU 1 (cache domain 1, NUMA node 1)",
            "task-0 on CPU 1 (cache domain 1, NUMA node 1), shared",
        ]
    );
}
