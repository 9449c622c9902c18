//! The fuzz targets without libFuzzer: every seed, and thousands of mutations of them.

use std::path::Path;

use sidecore_tests::Random;
use sidecore_tests::fuzz_targets::{TARGETS, Target};

const MUTATIONS: usize = 20_000;

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
    let mut paths: Vec<_> = std::fs::read_dir(&folder)
        .expect("a target has a folder of seeds")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    // In one order everywhere, so that a failure can be seen again.
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a seed")).collect()
}

/// Cuts, repeats, joins and changes bytes, often to ones that framing is sensitive to.
fn mutate(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        let end = (at + random.below(24)).min(bytes.len());
        let other = &seeds[random.below(seeds.len())];
        match random.below(6) {
            0 => bytes.insert(at, b"\r\n\t :;,=0\0\x0b\x7f\xff\""[random.below(14)]),
            1 => bytes.insert(at, random.below(256) as u8),
            2 => drop(bytes.drain(at..end)),
            3 => bytes.extend_from_within(at..end),
            4 => bytes.truncate(at),
            _ => drop(bytes.splice(at..end, other[random.below(other.len())..].iter().copied())),
        }
    }
    bytes
}

fn run((name, target): Target) {
    let seeds = seeds(name);
    assert!(seeds.len() >= 5, "{name} has seeds");
    let mut random = Random::new(9112);
    let mutations: Vec<_> = (0..MUTATIONS).map(|_| mutate(&mut random, &seeds)).collect();
    for input in seeds.iter().chain(&mutations) {
        if let Err(panic) = std::panic::catch_unwind(|| target(input)) {
            eprintln!("{name} fails on {:?}", String::from_utf8_lossy(input));
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn heads_have_one_verdict_and_are_what_httparse_reads() {
    run(TARGETS[0]);
}

#[test]
fn chunked_bodies_are_what_a_naive_decoder_reads() {
    run(TARGETS[1]);
}

#[test]
fn connections_have_the_same_events_however_they_are_split() {
    run(TARGETS[2]);
}

#[test]
fn proxy_headers_have_one_verdict_and_name_who_stands_in_them() {
    run(TARGETS[3]);
}
