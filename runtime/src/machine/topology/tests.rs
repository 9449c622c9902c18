use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// A fake `/sys` and `/proc` in a folder of its own, removed at the end.
struct Machine(PathBuf);

impl Machine {
    fn new(files: &[(&str, &str)]) -> Machine {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("sidecore-topology-{}-{number}", std::process::id());
        let machine = Machine(std::env::temp_dir().join(name));
        files.iter().for_each(|(path, text)| machine.write(path, text));
        machine
    }

    fn write(&self, path: &str, text: &str) {
        let path = below(&self.0, path);
        fs::create_dir_all(path.parent().expect("a file has a folder")).expect("temp folder");
        fs::write(path, format!("{text}\n")).expect("temp file");
    }

    fn cpu(&self, id: usize, siblings: &str, package: usize, shared_cache: &str) {
        let cpu = format!("/sys/devices/system/cpu/cpu{id}");
        self.write(&format!("{cpu}/topology/thread_siblings_list"), siblings);
        self.write(&format!("{cpu}/topology/physical_package_id"), &package.to_string());
        self.write(&format!("{cpu}/cache/index0/level"), "1");
        self.write(&format!("{cpu}/cache/index0/shared_cpu_list"), siblings);
        self.write(&format!("{cpu}/cache/index3/level"), "3");
        self.write(&format!("{cpu}/cache/index3/shared_cpu_list"), shared_cache);
    }

    fn read(&self, affinity: &str) -> Result<Topology, TopologyError> {
        Topology::read_from(&self.0, list(affinity))
    }

    fn usable(&self, affinity: &str) -> String {
        usable(&self.read(affinity).expect("readable"))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn list(text: &str) -> CpuList {
    text.parse().expect(text)
}

fn usable(topology: &Topology) -> String {
    topology.usable().map(|cpu| cpu.id).collect::<CpuList>().to_string()
}

/// Two packages of two cores of two threads; siblings are four apart, as Intel numbers them.
fn two_packages() -> Machine {
    let machine = Machine::new(&[
        ("/sys/devices/system/cpu/online", "0-7"),
        ("/sys/devices/system/cpu/present", "0-7"),
        ("/sys/devices/system/node/node0/cpulist", "0-1,4-5"),
        ("/sys/devices/system/node/node1/cpulist", "2-3,6-7"),
        ("/sys/devices/system/node/node2/cpulist", ""),
        ("/sys/devices/system/node/online", "0-2"),
    ]);
    for id in 0..8 {
        let core = id % 4;
        let siblings = format!("{core},{}", core + 4);
        let shared = if core < 2 { "0-1,4-5" } else { "2-3,6-7" };
        machine.cpu(id, &siblings, core / 2, shared);
    }
    machine
}

#[test]
fn an_smt_machine_of_two_packages_is_read_as_it_is() {
    let topology = two_packages().read("0-7").expect("readable");
    assert_eq!(usable(&topology), "0-7");
    let check = |id: usize, siblings: &str, cache_domain, package, numa_node| {
        let id = CpuId(id);
        let expected = Cpu { id, core_siblings: list(siblings), cache_domain, package, numa_node };
        assert_eq!(topology.cpu(id), Some(&expected));
    };
    check(0, "0,4", 0, 0, 0);
    check(1, "1,5", 0, 0, 0);
    check(2, "2,6", 1, 1, 1);
    check(5, "1,5", 0, 0, 0);
    check(7, "3,7", 1, 1, 1);
}

#[test]
fn without_topology_files_each_cpu_is_a_core_of_one_domain() {
    let machine = Machine::new(&[("/sys/devices/system/cpu/online", "0-1")]);
    let topology = machine.read("0-1").expect("readable");
    assert_eq!(usable(&topology), "0-1");
    assert_eq!(topology.present, list("0-1"));
    for cpu in &topology.cpus {
        assert_eq!(cpu.core_siblings, CpuList::from_iter([cpu.id]));
        assert_eq!((cpu.cache_domain, cpu.package, cpu.numa_node), (0, 0, 0));
    }
}

#[test]
fn without_sys_the_affinity_mask_stands_for_the_machine() {
    assert_eq!(Machine::new(&[]).usable("2-3"), "2-3");
}

#[test]
fn a_cache_that_one_core_has_to_itself_is_no_domain() {
    let machine = Machine::new(&[("/sys/devices/system/cpu/online", "0-3")]);
    for id in 0..4 {
        machine.cpu(id, &id.to_string(), id / 2, &id.to_string());
    }
    let topology = machine.read("0-3").expect("readable");
    let domains: Vec<usize> = topology.cpus.iter().map(|cpu| cpu.cache_domain).collect();
    assert_eq!(domains, [0, 0, 1, 1]);
}

/// The kernel keeps the mask within what is online and within the cpuset; the files may be those of
/// another machine, or of another group.
#[test]
fn usable_is_what_the_affinity_mask_says_whatever_files_say() {
    let online = "/sys/devices/system/cpu/online";
    for other in ["0", "0-63", "all", "", "1,,2"] {
        let machine = Machine::new(&[(online, other), ("/sys/devices/system/cpu/present", other)]);
        let topology = machine.read("1").expect("readable");
        assert_eq!(usable(&topology), "1", "{other:?}");
        assert!(topology.present.contains(CpuId(1)) && topology.cpu(CpuId(1)).is_some());
    }
    let machine = Machine::new(&[(online, "0-3"), ("/proc/self/cgroup", "0::/")]);
    machine.write("/proc/self/mountinfo", "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw");
    machine.write("/sys/fs/cgroup/cpuset.cpus.effective", "0");
    assert_eq!(machine.usable("1-2"), "1-2");
}

#[test]
fn a_file_that_is_odd_describes_nothing() {
    let machine = Machine::new(&[
        ("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list", "none"),
        ("/sys/devices/system/cpu/cpu0/cache/index3/level", "3"),
        ("/sys/devices/system/cpu/cpu0/cache/index3/shared_cpu_list", "?"),
        ("/sys/devices/system/node/node0/cpulist", "0-"),
    ]);
    // A folder in the place of a file.
    machine.write("/sys/devices/system/cpu/online/x", "");
    let topology = machine.read("0-1").expect("readable");
    assert_eq!(usable(&topology), "0-1");
    assert_eq!(topology.cpus[0].core_siblings, list("0"));
}

#[test]
fn the_cpuset_is_that_of_the_nearest_group_that_has_one() {
    let machine = two_packages();
    let cpuset = || machine.read("0-5").expect("readable").cpuset.map(|set| set.to_string());
    machine.write("/proc/self/cgroup", "0::/app.slice/web");
    machine.write("/proc/self/mountinfo", "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw");
    assert_eq!(cpuset(), None);
    machine.write("/sys/fs/cgroup/app.slice/cpuset.cpus.effective", "1-6");
    assert_eq!(cpuset().as_deref(), Some("1-6"), "the parent's, where our group has none");
    machine.write("/sys/fs/cgroup/app.slice/web/cpuset.cpus.effective", "2-6");
    assert_eq!(cpuset().as_deref(), Some("2-6"));
}

#[test]
fn cpus_that_no_thread_can_be_pinned_to_are_not_usable() {
    let machine = Machine::new(&[("/sys/devices/system/cpu/online", "1020-1030")]);
    assert_eq!(machine.usable("1020-2000"), "1020-1023");
}

#[test]
fn a_cpuset_of_v1_is_found_in_and_out_of_a_container() {
    let check = |mount_root: &str, folder: &str| {
        let machine = Machine::new(&[
            ("/sys/devices/system/cpu/online", "0-7"),
            ("/proc/self/cgroup", "4:memory:/\n3:cpuset:/docker/a b\n0::/"),
        ]);
        let mount = format!(
            "34 31 0:31 {mount_root} /sys/fs/cgroup/cpuset rw shared:5 - cgroup cgroup rw,cpuset"
        );
        machine.write("/proc/self/mountinfo", &mount);
        let file = format!("/sys/fs/cgroup/cpuset{folder}/cpuset.effective_cpus");
        machine.write(&file, "3-4");
        let cpuset = machine.read("0-7").expect("readable").cpuset;
        assert_eq!(cpuset, Some(list("3-4")), "{mount_root}");
    };
    check("/", "/docker/a b");
    check("/docker", "/a b");
    check("/docker/a\\040b", "");
    check("/elsewhere", "");
    check("/..", "");
}

#[test]
fn the_tightest_quota_from_our_group_to_the_root_counts() {
    let check = |files: &[(&str, &str)], expected: Option<f64>| {
        let machine = Machine::new(files);
        machine.write("/proc/self/cgroup", "5:cpu,cpuacct:/web\n0::/app/web");
        let mounts = "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 none rw\n\
                      32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct";
        machine.write("/proc/self/mountinfo", mounts);
        assert_eq!(machine.read("0-1").expect("readable").quota_cpus, expected, "{files:?}");
    };
    let own = "/sys/fs/cgroup/app/web/cpu.max";
    let parent = "/sys/fs/cgroup/app/cpu.max";
    let legacy = "/sys/fs/cgroup/cpu/web/cpu.cfs_quota_us";
    let period = ("/sys/fs/cgroup/cpu/web/cpu.cfs_period_us", "100000");
    check(&[], None);
    check(&[(own, "max 100000")], None);
    check(&[(own, "150000 100000")], Some(1.5));
    check(&[(own, "400000 100000"), (parent, "200000 100000")], Some(2.0));
    check(&[(own, "nonsense")], None);
    check(&[(legacy, "-1"), period], None);
    check(&[(legacy, "50000"), period], Some(0.5));
    check(&[(legacy, "50000"), period, (own, "20000 100000")], Some(0.2));
}

#[test]
fn no_cpu_to_pin_to_is_an_error_that_shows_the_sets() {
    let machine = Machine::new(&[("/sys/devices/system/cpu/online", "0-1")]);
    let error = machine.read("2000").expect_err("not pinnable").to_string();
    assert!(error.contains("online 0-1,2000, affinity 2000, cpuset none"), "{error}");
}

#[test]
fn the_mask_in_proc_is_the_mask_of_the_system_call() {
    let status = fs::read_to_string("/proc/thread-self/status").expect("Linux");
    let listed = affinity_of_status(&status).expect("listed");
    assert_eq!(listed, affinity().expect("readable"));
    assert!(affinity_of_status("Name:\tx\n").is_err());
}

#[test]
fn this_machine_has_a_usable_cpu() {
    assert!(Topology::read().expect("this machine").usable().count() > 0);
}
