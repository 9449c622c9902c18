//! SIGKILL, again and again, while clients are being promised that nothing is lost; and a journal
//! whose end was torn.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use sidecore_tests::{Client, Random, ServerProcess, example_command};

use super::*;

fn mailer(directory: &Path) -> Command {
    let directory = directory.to_str().expect("a path of ASCII");
    example_command(
        "durable",
        &[
            ("SIDECORE_DATA_DIR", directory),
            ("SIDECORE_POOL_MAILS_TASK_WORKER_NUM", "2"),
            ("SIDECORE_DRAIN_TIMEOUT_MS", "200"),
        ],
    )
}

/// Posts mails until the server is gone; the numbers of those that were answered with 202.
fn post_until_killed(address: std::net::SocketAddr, next: &AtomicU64) -> Vec<u64> {
    let mut promised = Vec::new();
    let mut client = Client::connect(address);
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        // Each seventh fails at first; each takes a moment.
        let (fails, takes_ms) = (u64::from(number % 7 == 0), number % 4);
        let body = format!(r#"{{"to":"{number}","takes_ms":{takes_ms},"fails":{fails}}}"#);
        let length = body.len();
        let head = format!("POST /mails HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n");
        if !client.try_send(head + &body) {
            return promised;
        }
        match client.try_answer() {
            Some(answer) if answer.status == 202 => promised.push(number),
            Some(answer) => panic!("{answer:?}"),
            None => return promised,
        }
    }
}

/// What was sent: the attempts of each number, in the order of the sends.
fn outbox(directory: &Path) -> BTreeMap<u64, Vec<u32>> {
    let text = std::fs::read_to_string(directory.join("outbox")).unwrap_or_default();
    let mut sent = BTreeMap::<u64, Vec<u32>>::new();
    for line in text.lines() {
        let (number, attempt) = line.split_once(' ').expect("a number and an attempt");
        sent.entry(number.parse().unwrap()).or_default().push(attempt.parse().unwrap());
    }
    sent
}

fn stat(server: &ServerProcess, name: &str) -> u64 {
    let stats = Client::connect(server.address()).request("GET", "/stats", "").json();
    stats[name].as_u64().unwrap_or_else(|| panic!("no {name} in {stats}"))
}

#[test]
fn no_kill_loses_a_mail_that_was_promised() {
    const ROUNDS: u64 = 14;
    let scratch = Scratch::new("durable-kill");
    let mut random = Random::new(std::process::id().into());
    let (next, mut promised) = (AtomicU64::new(0), BTreeSet::new());
    let mut redelivered = 0;
    for _ in 0..ROUNDS {
        let server = ServerProcess::spawn(mailer(scratch.path()));
        let address = server.address();
        std::thread::scope(|scope| {
            let clients: Vec<_> =
                (0..16).map(|_| scope.spawn(|| post_until_killed(address, &next))).collect();
            std::thread::sleep(Duration::from_millis(30 + random.below(300) as u64));
            redelivered += stat(&server, "redelivered");
            // SIGKILL.
            drop(server);
            clients.into_iter().for_each(|client| promised.extend(client.join().unwrap()));
        });
    }
    let server = ServerProcess::spawn(mailer(scratch.path()));
    let start = Instant::now();
    while stat(&server, "kept") > 0 {
        assert!(start.elapsed() < LONG, "{} are not sent", stat(&server, "kept"));
        std::thread::sleep(Duration::from_millis(20));
    }
    redelivered += stat(&server, "redelivered");
    assert_eq!(stat(&server, "dead"), 0);
    server.terminate();
    let ended = server.wait();
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(ended.log.last().unwrap(), "0 mails are kept for the next start");

    let sent = outbox(scratch.path());
    let lost: Vec<_> = promised.iter().filter(|number| !sent.contains_key(number)).collect();
    assert!(lost.is_empty(), "{} of {} were lost: {lost:?}", lost.len(), promised.len());
    let duplicates: usize = sent.values().map(|attempts| attempts.len() - 1).sum();
    let most = sent.values().filter_map(|attempts| attempts.last()).max().unwrap();
    println!(
        "{ROUNDS} kills: {} mails promised, {} sent, {duplicates} of them again, {redelivered} \
         redelivered, {most} attempts at most",
        promised.len(),
        sent.len()
    );
    for (number, attempts) in &sent {
        assert!(attempts.is_sorted_by(|a, b| a < b), "attempts of {number}: {attempts:?}");
        assert!(number % 7 != 0 || attempts[0] > 1, "{number}: its first attempt failed");
    }
    assert!(promised.len() > 300, "the servers had time: {}", promised.len());
    assert!(redelivered > 50 && *most > 1, "kills hit jobs that were under way");
}

/// Two jobs are cut off by each kill while they run: their attempts go up by one. A third waits behind
/// them through all of it, and has lost none of its own when its turn comes.
#[test]
fn kills_count_for_the_jobs_that_they_cut_off_and_for_no_other() {
    let scratch = Scratch::new("durable-attempts");
    let server = ServerProcess::spawn(mailer(scratch.path()));
    let mut client = Client::connect(server.address());
    for (number, takes_ms) in [(1, 1500), (2, 1500), (3, 0)] {
        let body = format!(r#"{{"to":"{number}","takes_ms":{takes_ms}}}"#);
        assert_eq!(client.request("POST", "/mails", &body).status, 202);
    }
    let kill_amid_the_jobs = |server: ServerProcess| {
        std::thread::sleep(Duration::from_millis(200));
        drop(server);
    };
    kill_amid_the_jobs(server);
    for _ in 0..3 {
        let server = ServerProcess::spawn(mailer(scratch.path()));
        let start = Instant::now();
        while stat(&server, "redelivered") < 3 {
            assert!(start.elapsed() < LONG, "they are not redelivered");
        }
        kill_amid_the_jobs(server);
    }
    let server = ServerProcess::spawn(mailer(scratch.path()));
    let start = Instant::now();
    while stat(&server, "kept") > 0 {
        assert!(start.elapsed() < LONG);
        std::thread::sleep(Duration::from_millis(20));
    }
    let sent = outbox(scratch.path());
    assert_eq!(sent, BTreeMap::from([(1, vec![5]), (2, vec![5]), (3, vec![1])]));
}

#[test]
fn a_torn_tail_of_the_journal_is_reported_and_the_rest_is_kept() {
    let scratch = Scratch::new("durable-torn");
    let server = ServerProcess::spawn(mailer(scratch.path()));
    let mut client = Client::connect(server.address());
    for number in 0..40 {
        // Two are being sent, the others wait.
        let takes_ms = if number < 2 { 60_000 } else { 0 };
        let body = format!(r#"{{"to":"{number}","takes_ms":{takes_ms}}}"#);
        assert_eq!(client.request("POST", "/mails", &body).status, 202);
    }
    drop(server);
    let wal = scratch.path().join("mails.sqlite-wal");
    let length = std::fs::metadata(&wal).unwrap().len();
    std::fs::OpenOptions::new().write(true).open(&wal).unwrap().set_len(length - 9000).unwrap();

    let server = ServerProcess::spawn(mailer(scratch.path()));
    let kept = stat(&server, "kept");
    assert!((1..40).contains(&kept), "some are gone, not all: {kept}");
    server.terminate();
    let log = server.wait().log;
    let missing = 40 - kept;
    let report = log.iter().find(|line| line.contains(" missing"));
    let report = report.unwrap_or_else(|| panic!("the loss is not reported: {log:?}"));
    println!("{report}");
    assert!(report.contains(&format!("{missing} missing")), "{missing}: {report}");
    assert!(report.contains("older state") && report.contains("mails.sqlite"), "{report}");
}
