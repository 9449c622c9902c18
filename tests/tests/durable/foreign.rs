//! Dispatches of threads that are no executors.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;

use sidecore::durable::{DurableError, DurableRunError};
use sidecore::tasks::{DispatchError, TaskError};

use super::*;

/// Runs `dispatches` on a plain thread while the executor waits for its end.
async fn on_a_thread<T: Send + 'static>(dispatches: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = thread::spawn(dispatches);
    until("the thread has ended", || thread.is_finished()).await;
    thread.join().expect("the thread's own assertions hold")
}

#[test]
fn a_thread_dispatches_waits_and_is_told_how_a_task_ended() {
    let scratch = Scratch::new("durable-foreign");
    let life = live(&scratch, Setup::default(), |tasks, seen| async move {
        let its_own = tasks.clone();
        on_a_thread(move || {
            let handle = its_own.job(job(1)).spawn().wait(LONG).unwrap().unwrap();
            assert!(handle.id() > 0);
            assert_eq!(its_own.run(job(2)).wait(LONG).unwrap().unwrap(), 2);
            let failed = its_own.run(Job { fails: 9, ..job(3) }).wait(LONG).unwrap();
            assert!(matches!(failed, Err(DurableRunError::Failed(TaskError::Failed(_)))));
            let slow = its_own.run(slow(4, 100)).wait(Duration::from_millis(5));
            assert_eq!(slow.expect_err("it still runs").wait(LONG).unwrap().unwrap(), 4);
            let told = its_own.job(job(5)).on_dispatch(|_| {}).spawn().wait(LONG).unwrap();
            let Err(DurableError::Refused(DispatchError::NotOnExecutor(refused))) = told else {
                panic!("{told:?}")
            };
            assert_eq!(refused, job(5));
        })
        .await;
        let here = tasks.run(job(6)).wait(LONG).expect_err("an executor does not block");
        assert_eq!(here.await.unwrap(), 6);
        until("the one that nobody awaits is finished", || seen.finished() == 1).await;
    });
    assert_eq!((life.stats.acked, life.stats.dead, life.stats.kept), (4, 1, 0));
    assert_eq!(life.finished, [(Ok(1), 1)]);
}

/// They share a pool of one place, and a journal of few, with the executor.
#[test]
fn many_threads_take_turns_and_are_refused_where_the_journal_is_full() {
    const THREADS: u64 = 4;
    const JOBS: u64 = 100;
    let scratch = Scratch::new("durable-threads");
    let setup = Setup { queue_depth: 1, ..Setup::pending_max(8) };
    let life = live(&scratch, setup, |tasks, seen| async move {
        let threads = (0..THREADS).map(|number| {
            let tasks = tasks.clone();
            thread::spawn(move || {
                let mut refused = 0;
                for number in number * JOBS..(number + 1) * JOBS {
                    while let Err(error) = tasks.job(job(number)).spawn().wait(LONG).unwrap() {
                        assert!(error.is_full(), "{error}");
                        refused += 1;
                        thread::sleep(Duration::from_micros(200));
                    }
                }
                refused
            })
        });
        let threads: Vec<_> = threads.collect();
        until("the threads have ended", || threads.iter().all(|t| t.is_finished())).await;
        let refused: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        println!("{refused} dispatches were refused");
        until("all are finished", || seen.finished() as u64 == THREADS * JOBS).await;
    });
    let mut numbers: Vec<_> = life.began.iter().map(|(number, _)| *number).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..THREADS * JOBS), "each once");
    assert_eq!((life.stats.acked, life.stats.kept), (THREADS * JOBS, 0));
}

#[test]
fn after_the_end_a_thread_is_refused_and_what_had_no_turn_is_kept() {
    let scratch = Scratch::new("durable-foreign-end");
    static TASKS: OnceLock<Tasks> = OnceLock::new();
    let (waiting, answers) = channel();
    let life = live(&scratch, Setup::at_once(), |tasks, seen| async move {
        let its_own = TASKS.get_or_init(|| tasks.clone());
        // One runs, 64 are queued, the others wait for their turn.
        tasks.dispatch(slow(0, 500)).await.unwrap();
        until("it runs", || seen.began().len() == 1).await;
        thread::spawn(move || {
            let sent: Vec<_> = (1..200).map(|n| its_own.job(job(n)).spawn()).collect();
            for sent in sent {
                waiting.send(sent.wait(LONG).expect("it is told")).unwrap();
            }
        });
        until("all are durable", || tasks.stats().appended == 200).await;
    });
    let answers: Vec<_> = answers.iter().collect();
    let placed = answers.iter().filter(|answer| answer.is_ok()).count();
    let ended = answers.iter().filter(|a| matches!(a, Err(DurableError::Ended))).count();
    assert_eq!(placed + ended, 199);
    assert!(ended > 100, "{placed} were placed in a pool of 64");
    assert_eq!(life.stats.kept, 200 - life.stats.acked, "{:?}", life.stats);
    let late = TASKS.get().unwrap().job(job(900)).spawn().wait(LONG).unwrap();
    let Err(DurableError::Refused(DispatchError::Closed(late))) = late else { panic!("{late:?}") };
    assert_eq!(late, job(900));
    let again = live_until_finished(&scratch, life.stats.kept as usize);
    assert_eq!(again.stats.kept, 0);
}

const CHILD: &str = "SIDECORE_TEST_FOREIGN_CHILD";

/// The process that is killed: this test program again, with this test alone.
#[test]
fn what_a_thread_was_promised_survives_a_kill() {
    if let Some(directory) = std::env::var_os(CHILD) {
        return promise(&Scratch::existing(directory.into()));
    }
    let scratch = Scratch::new("durable-foreign-kill");
    let mut child = Command::new(std::env::current_exe().expect("this program's path"))
        .args(["--exact", "foreign::what_a_thread_was_promised_survives_a_kill", "--nocapture"])
        .env(CHILD, scratch.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let numbers = lines.map_while(Result::ok).filter_map(|line| line.parse::<u64>().ok());
    let mut promised: Vec<_> = numbers.take(300).collect();
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    promised.sort_unstable();
    assert_eq!(promised.len(), 300, "it was killed while it promised more");
    let life = live_until_finished(&scratch, 300);
    let ran: std::collections::BTreeSet<_> = life.began.iter().map(|(number, _)| *number).collect();
    let lost: Vec<_> = promised.iter().filter(|number| !ran.contains(number)).collect();
    assert!(lost.is_empty(), "{lost:?}");
}

/// Prints the number of each job whose dispatch was answered; none of them is due in this life.
fn promise(scratch: &Scratch) {
    live(scratch, Setup { queue_depth: 1024, ..Setup::default() }, |tasks, _| async move {
        let thread = thread::spawn(move || {
            for number in 0.. {
                let later = tasks.job(job(number)).delay(Duration::from_secs(3));
                later.spawn().wait(LONG).unwrap().expect("there is room");
                let mut out = std::io::stdout().lock();
                writeln!(out, "{number}")
                    .and_then(|()| out.flush())
                    .expect("who reads it is there");
            }
        });
        until("killed", || thread.is_finished()).await;
    });
}
