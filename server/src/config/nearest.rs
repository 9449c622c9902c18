//! Which name somebody had in mind who wrote another one. Where that is in doubt there is none: a
//! wrong suggestion is worse than no suggestion.

use strsim::osa_distance;

use crate::config::loader::{FILE_VARIABLE, POOL_PREFIX};
use crate::config::settings::PREFIX;
use crate::config::{Key, keys};

/// What keys end in that says how they count; those who write from memory leave it out.
const MEASURES: [&str; 5] = ["_num", "_ms", "_us", "_bytes", "_max"];

/// The one of `keys` whose name is like `name`.
pub(super) fn key<'a>(name: &str, keys: impl Iterator<Item = &'a Key>) -> Option<&'a Key> {
    nearest(name, keys.map(|key| (key.name, key))).map(|(_, key)| key)
}

/// What to say of a variable that is not known; `others` are the application's own.
pub(super) fn variable(name: &str, others: &[String]) -> Option<String> {
    if let Some(rest) = name.strip_prefix(POOL_PREFIX) {
        return variable_of_pool(&rest.to_lowercase());
    }
    let others = others.iter().map(String::as_str).chain([FILE_VARIABLE]);
    let known: Vec<String> =
        keys().iter().map(Key::variable).chain(others.map(str::to_owned)).collect();
    let bare = |variable: &str| variable.strip_prefix(PREFIX).unwrap_or(variable).to_lowercase();
    let bares: Vec<String> = known.iter().map(|known| bare(known)).collect();
    let name = bare(name);
    // Variables know no tables.
    let name = name.strip_prefix("options_").unwrap_or(&name);
    let (_, found) = nearest(name, bares.iter().map(String::as_str).zip(&known))?;
    Some(format!("did you mean {found}?"))
}

/// The same of what stands behind `SIDECORE_POOL_`: a pool's name, which may have any words, and a key.
fn variable_of_pool(rest: &str) -> Option<String> {
    let splits = || rest.match_indices('_').map(|(at, _)| (&rest[..at], &rest[at + 1..]));
    let of_server = |(_, name)| keys().iter().find(|key| key.name == name && !key.is_of_pools());
    if let Some(key) = splits().find_map(of_server) {
        return Some(format!("{} is not a key of a pool, {} sets it", key.name, key.variable()));
    }
    let of_pools = || keys().iter().filter(|key| key.is_of_pools()).map(|key| (key.name, key));
    let near = splits().filter_map(|(pool, name)| Some((pool, nearest(name, of_pools())?)));
    let (pool, (_, key)) = near.min_by_key(|(_, (distance, _))| *distance)?;
    Some(format!("did you mean {POOL_PREFIX}{}_{}?", pool.to_uppercase(), key.name.to_uppercase()))
}

/// The one of names that is like `name`.
pub(super) fn nearest<'a, T>(
    name: &str,
    known: impl Iterator<Item = (&'a str, T)>,
) -> Option<(usize, T)> {
    let name = name.to_lowercase();
    let mut best = None;
    let mut others_as_near = false;
    for (known, value) in known {
        let Some(distance) = unlikeness(&name, known) else { continue };
        match &best {
            Some((nearest, _)) if *nearest < distance => {}
            Some((nearest, _)) if *nearest == distance => others_as_near = true,
            _ => (best, others_as_near) = (Some((distance, value)), false),
        }
    }
    best.filter(|_| !others_as_near)
}

/// How far a known name is, with its measures or without them; none where it is too far.
fn unlikeness(name: &str, known: &str) -> Option<usize> {
    let shorter = std::iter::successors(Some(known), |known| {
        MEASURES.iter().find_map(|measure| known.strip_suffix(measure))
    });
    let near = shorter.filter_map(|known| {
        // One typing error in each four letters of the shorter one.
        let limit = (known.len().min(name.len()) / 4).max(1);
        let may_be = known.len().abs_diff(name.len()) <= limit;
        may_be.then(|| osa_distance(name, known)).filter(|distance| *distance <= limit)
    });
    near.min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys;

    #[test]
    fn a_slip_finds_its_key() {
        let check = |name: &str, expected: &str| {
            let found = key(name, keys().iter()).map(|key| key.name);
            assert_eq!(found, Some(expected), "{name}");
        };
        check("prot", "port");
        check("Port", "port");
        check("hosts", "host");
        check("listens", "listen");
        check("worker_nmu", "worker_num");
        check("worker-num", "worker_num");
        check("WORKER_NUM", "worker_num");
        check("taskworker_num", "task_worker_num");
        check("workers", "worker_num");
        check("task_workers", "task_worker_num");
        check("write_timeout", "write_timeout_ms");
        check("body_size", "body_size_max_bytes");
        check("connections", "connections_max");
        check("keepalive_timeout", "keep_alive_timeout_ms");
        check("recv_bufers", "recv_buffers");
    }

    #[test]
    fn each_key_is_nearest_to_itself() {
        for known in keys() {
            assert_eq!(key(known.name, keys().iter()).map(|key| key.name), Some(known.name));
        }
    }

    #[test]
    fn what_is_near_no_key_or_two_of_them_finds_none() {
        for name in [
            "",
            "x",
            "banana",
            "workerz_count_of_mine",
            "wokers",
            "broker",
            "root",
            "post",
            "path",
            "data",
            "read",
            "write",
            "timeout",
            "max_connections",
            "threads",
            "tls",
            "\u{e9}\u{e9}",
        ] {
            assert!(key(name, keys().iter()).is_none(), "{name}: {:?}", key(name, keys().iter()));
        }
    }
}
