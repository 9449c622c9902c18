//! What this process's control groups leave it: a set of CPUs and a quota of CPU time.
//!
//! `/proc/self/cgroup` names the group in each hierarchy and `/proc/self/mountinfo` where the
//! hierarchies are mounted. A container may see neither all of its path nor all files, so what is
//! absent limits nothing.

use std::fs;
use std::path::{Component, Path, PathBuf};

use super::{below, read_list};
use crate::machine::cpu_list::CpuList;

/// The limits of the control groups, v1 and v2.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Limits {
    pub(super) cpuset: Option<CpuList>,
    pub(super) quota_cpus: Option<f64>,
}

pub(super) fn read(root: &Path) -> Limits {
    let text = |path: &str| fs::read_to_string(below(root, path)).unwrap_or_default();
    let groups = text("/proc/self/cgroup");
    let mounts = text("/proc/self/mountinfo");
    let folders = |controller| lineage(root, &groups, &mounts, controller);
    let cpuset = first_list(&folders(None), &["cpuset.cpus.effective"]).or_else(|| {
        first_list(&folders(Some("cpuset")), &["cpuset.effective_cpus", "cpuset.cpus"])
    });
    let unified = folders(None).into_iter().filter_map(|folder| quota_v2(&folder));
    let legacy = folders(Some("cpu")).into_iter().filter_map(|folder| quota_v1(&folder));
    // Every group from ours up to the root limits us: the tightest one counts.
    let quota_cpus = unified.chain(legacy).reduce(f64::min);
    Limits { cpuset, quota_cpus }
}

/// Our group's folder and its parents' up to the mount point, nearest first. `None` is the
/// unified hierarchy (v2), a controller's name its hierarchy of v1.
fn lineage(root: &Path, groups: &str, mounts: &str, controller: Option<&str>) -> Vec<PathBuf> {
    let Some(group) = groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let ours = match controller {
            None => controllers.is_empty(),
            Some(name) => controllers.split(',').any(|listed| listed == name),
        };
        ours.then_some(path)
    }) else {
        return Vec::new();
    };
    let Some((mount_root, mount_point)) = mounts.lines().find_map(|line| mount(line, controller))
    else {
        return Vec::new();
    };
    let top = below(root, &mount_point);
    // A path outside what is mounted (another cgroup namespace's) leaves the mount point itself.
    let inside = match Path::new(group).strip_prefix(&mount_root) {
        Ok(inside) if inside.components().all(|part| matches!(part, Component::Normal(_))) => {
            inside
        }
        _ => Path::new(""),
    };
    inside.ancestors().map(|folder| top.join(folder)).collect()
}

/// Root and mount point of a mountinfo line (proc_pid_mountinfo(5)) if it is this hierarchy's.
fn mount(line: &str, controller: Option<&str>) -> Option<(String, String)> {
    let (head, tail) = line.split_once(" - ")?;
    let mut tail = tail.split(' ');
    let (kind, options) = (tail.next()?, tail.nth(1)?);
    let ours = match controller {
        None => kind == "cgroup2",
        Some(name) => kind == "cgroup" && options.split(',').any(|option| option == name),
    };
    let mut head = head.split(' ').skip(3);
    let (mount_root, mount_point) = (head.next()?, head.next()?);
    // The kernel escapes a space in a path; other escapes do not occur in mount points of cgroups.
    let plain = |path: &str| path.replace("\\040", " ");
    ours.then(|| (plain(mount_root), plain(mount_point)))
}

/// The list in the nearest group that has one: a group without the controller has its parent's.
fn first_list(folders: &[PathBuf], names: &[&str]) -> Option<CpuList> {
    let mut files = folders.iter().flat_map(|folder| names.iter().map(|name| folder.join(name)));
    files.find_map(|file| read_list(&file))
}

/// `cpu.max`: `200000 100000`, or `max 100000` without a limit.
fn quota_v2(folder: &Path) -> Option<f64> {
    let text = fs::read_to_string(folder.join("cpu.max")).ok()?;
    let (quota, period) = text.trim().split_once(' ')?;
    cpus(quota, period)
}

/// `cpu.cfs_quota_us` over `cpu.cfs_period_us`; a quota of -1 is none.
fn quota_v1(folder: &Path) -> Option<f64> {
    let text = |name| fs::read_to_string(folder.join(name)).ok();
    cpus(&text("cpu.cfs_quota_us")?, &text("cpu.cfs_period_us")?)
}

fn cpus(quota_us: &str, period_us: &str) -> Option<f64> {
    let quota: u64 = quota_us.trim().parse().ok()?;
    let period: u64 = period_us.trim().parse().ok()?;
    (quota > 0 && period > 0).then(|| quota as f64 / period as f64)
}
