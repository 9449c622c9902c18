//! No hostile framing desynchronises a connection: each answer is one that a strict reference
//! decides on, and nothing is answered behind a refusal.

mod generator;
mod oracle;

use std::sync::Mutex;

use sidecore_tests::wire::{exchange, in_parallel, read_answers};
use sidecore_tests::{Answer, Random, ServerProcess};

use self::generator::{SMUGGLED, generate};
use self::oracle::{Verdict, judge};

const CASES: usize = 8000;

/// What the cases came to, to see that they tested something.
#[derive(Debug, Default)]
struct Counts {
    refused: usize,
    answered: usize,
    /// Cases whose marker was data of an echoed body.
    contained: usize,
    /// Cases whose marker is a request by its framing.
    requests: usize,
}

#[test]
fn hostile_framing_never_desynchronises_a_connection() {
    let server = ServerProcess::start(&[("SIDECORE_TASK_WORKER_NUM", "1")]);
    let cases: Vec<_> = (0..CASES).map(|case| generate(&mut Random::new(case as u64))).collect();
    let (counts, failures) = (Mutex::new(Counts::default()), Mutex::new(Vec::new()));
    in_parallel(&cases, |index, bytes| {
        let verdicts = judge(bytes);
        counts.lock().unwrap().take(&verdicts);
        // Every other case arrives in pieces.
        let pieces = match index % 2 {
            0 => vec![&bytes[..]],
            _ => cut(bytes, &mut Random::new(index as u64)),
        };
        let received = exchange(server.address(), &pieces);
        let verdict = received
            .and_then(|received| read_answers(&received, false))
            .and_then(|answers| compare(&answers, &verdicts));
        if let Err(error) = verdict {
            let text = String::from_utf8_lossy(bytes);
            failures.lock().unwrap().push(format!("case {index}: {error}\n  {text:?}"));
        }
    });
    let (counts, failures) = (counts.into_inner().unwrap(), failures.into_inner().unwrap());
    println!("{CASES} hostile connections, {} desynchronised: {counts:?}", failures.len());
    assert!(failures.is_empty(), "{} of {CASES}:\n{}", failures.len(), failures.join("\n"));
    let enough = CASES / 25;
    let Counts { refused, answered, contained, requests } = counts;
    assert!([refused, answered, contained, requests].iter().all(|&count| count > enough));
    server.stop();
}

impl Counts {
    fn take(&mut self, verdicts: &[Verdict]) {
        self.refused += usize::from(!matches!(verdicts.last(), Some(Verdict::Answer(_))));
        for verdict in verdicts {
            let Verdict::Answer(body) = verdict else { continue };
            self.answered += 1;
            let Some(body) = body else { continue };
            let is_request = body == SMUGGLED;
            let contains = body.windows(SMUGGLED.len()).any(|window| window == SMUGGLED);
            self.requests += usize::from(is_request);
            self.contained += usize::from(contains && !is_request);
        }
    }
}

/// The answers are those of the verdicts, no more and no less.
fn compare(answers: &[Answer], verdicts: &[Verdict]) -> Result<(), String> {
    let seen: Vec<_> = answers.iter().filter(|answer| answer.status != 100).collect();
    let statuses: Vec<_> = seen.iter().map(|answer| answer.status).collect();
    if seen.len() != verdicts.len() {
        return Err(format!("{statuses:?} where {verdicts:?} is due"));
    }
    for (answer, verdict) in seen.iter().zip(verdicts) {
        let refused = answer.status >= 400 && answer.field("connection") == Some("close");
        let right = match verdict {
            Verdict::Answer(Some(body)) => answer.status == 200 && answer.body == *body,
            Verdict::Answer(None) => answer.body.as_slice() != SMUGGLED,
            Verdict::Refuse => refused,
            Verdict::AnswerOrRefuse => answer.body.as_slice() != SMUGGLED,
        };
        if !right {
            return Err(format!("{statuses:?}, with {answer:?}, where {verdict:?} is due"));
        }
    }
    Ok(())
}

fn cut<'a>(bytes: &'a [u8], random: &mut Random) -> Vec<&'a [u8]> {
    let (one, two) = (random.below(bytes.len() + 1), random.below(bytes.len() + 1));
    let (one, two) = (one.min(two), one.max(two));
    vec![&bytes[..one], &bytes[one..two], &bytes[two..]]
}
