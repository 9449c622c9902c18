//! What a worker runs now: who looks sees one job's parts together, or none.

use loom::sync::Arc;
use loom::thread;

use crate::running_protocol::{Running, Seen};
use crate::sites::{Protocol, each_is_needed};
use crate::{Model, holds};

/// The parts of a job follow from its id, so that a mixture shows.
fn job(id: u64) -> Seen {
    Seen { id, since_us: id * 10, kind: id as usize * 100 }
}

fn parts_belong_together() {
    let running = Arc::new(Running::new());
    let worker = {
        let running = running.clone();
        thread::spawn(move || {
            for id in 1..=2 {
                running.begin(job(id));
                running.end();
            }
        })
    };
    for _ in 0..2 {
        if let Some(seen) = running.look() {
            assert_eq!(seen, job(seen.id));
        }
    }
    worker.join().unwrap();
    assert_eq!(running.look(), None);
}

const MODEL: Model = Model::new(3, parts_belong_together);

const PROTOCOL: Protocol = Protocol { file: "runtime/src/pool/stats/running.rs", models: &[MODEL] };

#[test]
fn who_looks_at_a_worker_sees_one_job_or_none() {
    holds(MODEL);
}

#[test]
fn each_ordering_is_needed() {
    each_is_needed(&PROTOCOL);
}
