//! Over the ends of servers that close: what is not over is kept, and goes on where it was.

use std::time::SystemTime;

use sidecore::durable::journal::{Journal, Meta};
use sidecore::tasks::{Priority, Retry, TaskError};

use super::*;

#[test]
fn what_is_queued_at_the_end_is_run_at_the_next_start_and_what_ran_counts() {
    let scratch = Scratch::new("durable-queued");
    let setup = Setup { queue_depth: 4, ..Setup::at_once() };
    let life = live(&scratch, setup, |tasks, seen| async move {
        // One runs, four are queued, five have found no room: their futures wait.
        tasks.dispatch(slow(0, 700)).await.unwrap();
        until("it runs", || seen.began().len() == 1).await;
        (1..10).for_each(|number| drop(tasks.dispatch(job(number))));
        until("all are durable", || tasks.stats().appended == 10).await;
    });
    assert_eq!((life.stats.kept, life.stats.acked), (10, 0), "{:?}", life.stats);

    let life = live_until_finished(&scratch, 10);
    let expected: Vec<_> =
        (0..10).map(|number| (number, if number == 0 { 2 } else { 1 })).collect();
    assert_eq!(life.began, expected);
    assert_eq!((life.stats.redelivered, life.stats.kept, life.stats.backlog), (10, 0, 0));
    assert_eq!(life.finished[0], (Ok(0), 2), "its attempts are told over restarts");
    let life = live_until_finished(&scratch, 0);
    assert_eq!((life.began.len(), life.stats.redelivered), (0, 0), "acked for good");
}

/// The pool outlives the executors by a moment.
#[test]
fn no_job_is_begun_whose_end_nobody_could_note() {
    let scratch = Scratch::new("durable-end");
    let life = live(&scratch, Setup::at_once(), |tasks, seen| async move {
        (0..50).for_each(|number| drop(tasks.dispatch(slow(number, 30))));
        until("all are durable and one runs", || {
            tasks.stats().appended == 50 && !seen.began().is_empty()
        })
        .await;
    });
    let (began, finished) = (life.began.len(), life.finished.len());
    assert!(began <= finished + 1, "{began} were begun, {finished} were noted");
    assert_eq!(life.stats.kept as usize, 50 - finished);
    let life = live_until_finished(&scratch, 50 - finished);
    let again = life.began.iter().filter(|(_, attempt)| *attempt > 1).count();
    assert!(again <= 1, "only what ran is charged: {:?}", life.began);
}

#[test]
fn retries_go_on_after_a_restart_until_they_are_used_up_and_keep_their_pauses() {
    const PAUSE: Duration = Duration::from_millis(1500);
    let scratch = Scratch::new("durable-retries");
    let failed = Arc::new(Mutex::new(Instant::now()));
    let first_failed = failed.clone();
    live(&scratch, Setup::at_once(), |tasks, seen| async move {
        let fails = Job { fails: 9, ..job(1) };
        // Half of it, at least, is to be waited; that is longer than this life.
        let retry = Retry { backoff: PAUSE, backoff_max: PAUSE, ..Retry::times(2) };
        tasks.job(fails).retry(retry).spawn().await.unwrap();
        until("it has failed", || tasks.stats().journal.retried == 1).await;
        *first_failed.lock().unwrap() = Instant::now();
        assert_eq!(seen.began(), [(1, 1)]);
    });
    let life = live(&scratch, Setup::at_once(), move |tasks, seen| async move {
        until("it is tried again", || seen.began().len() == 1).await;
        let paused = failed.lock().unwrap().elapsed();
        assert!(paused > PAUSE / 2 - Duration::from_millis(50), "{paused:?}");
        until("it has failed again", || tasks.stats().journal.retried == 1).await;
    });
    assert_eq!(life.began, [(1, 2)]);
    let life = live_until_finished(&scratch, 1);
    assert_eq!((life.began[0], life.finished[0].1), ((1, 3), 3));
    assert_eq!(dead_letters(&scratch)[0].attempts, 3);
}

#[test]
fn delays_deadlines_and_priorities_hold_over_a_restart() {
    let scratch = Scratch::new("durable-times");
    let start = Instant::now();
    live(&scratch, Setup::at_once(), |tasks, seen| async move {
        tasks.dispatch(slow(0, 300)).await.unwrap();
        until("it runs", || seen.began().len() == 1).await;
        let delay = Duration::from_millis(1500);
        let waiting = [
            tasks.job(job(1)).delay(delay).spawn(),
            tasks.job(job(2)).deadline(Duration::from_millis(100)).spawn(),
            tasks.job(job(3)).priority(Priority::Low).spawn(),
            tasks.job(job(4)).spawn(),
            tasks.job(job(5)).priority(Priority::High).spawn(),
            tasks.job(job(6)).deadline(Duration::from_secs(60)).spawn(),
            tasks.job(job(7)).delay(LONG * 10).deadline(Duration::from_millis(100)).spawn(),
        ];
        for dispatched in waiting {
            dispatched.await.unwrap();
        }
    });
    std::thread::sleep(Duration::from_millis(150));
    let life = live_until_finished(&scratch, 8);
    assert!(start.elapsed() >= Duration::from_millis(1500), "{:?}", start.elapsed());
    let numbers: Vec<_> = life.began.iter().map(|(number, _)| *number).collect();
    // The one worker takes the first before the others are there; 2 and 7 are late, 1 is not due.
    assert_eq!(numbers, [5, 0, 4, 6, 3, 1], "by priority");
    let late = life.finished.iter().filter(|(outcome, _)| *outcome == Err(TaskError::TimedOut));
    assert_eq!((late.count(), life.stats.kept), (2, 0));
}

#[test]
fn what_cannot_be_read_any_more_is_a_dead_letter() {
    let scratch = Scratch::new("durable-unreadable");
    let (journal, _) = Journal::open(scratch.path(), "jobs", JournalLimits::default()).unwrap();
    for payload in ["{", r#"{"job":"of another version"}"#, r#"{"other":1}"#] {
        let (sent, done) = channel();
        let done_with = move |result| sent.send(result).unwrap();
        journal.append(payload.into(), Meta::default(), done_with).unwrap();
        done.recv_timeout(LONG).unwrap().unwrap();
    }
    journal.close(LONG).unwrap();
    let life = live(&scratch, Setup::default(), |tasks, _| async move {
        until("all are given up", || tasks.stats().given_up == 3).await;
        assert_eq!(tasks.run(job(1)).await.unwrap(), 1);
    });
    assert_eq!((life.stats.dead, life.stats.kept, life.stats.backlog), (3, 0, 0));
    let letters = dead_letters(&scratch);
    assert_eq!(letters.len(), 3);
    assert!(letters.iter().all(|letter| letter.reason.contains("cannot be read")), "{letters:?}");
}

/// More than the pool holds is left; serving goes on while it is run.
#[test]
fn a_backlog_larger_than_the_pool_is_run_beside_new_jobs() {
    let scratch = Scratch::new("durable-backlog");
    let (journal, _) = Journal::open(scratch.path(), "jobs", JournalLimits::default()).unwrap();
    for number in 0..500 {
        let payload = serde_json::to_vec(&serde_json::json!({ "job": slow(number, 1) })).unwrap();
        journal.append(payload, Meta::default(), |result| assert!(result.is_ok())).unwrap();
    }
    journal.close(LONG).unwrap();
    let setup = Setup { queue_depth: 8, ..Setup::default() };
    let life = live(&scratch, setup, |tasks, seen| async move {
        let start = SystemTime::now();
        assert_eq!(tasks.run(job(1000)).await.unwrap(), 1000);
        let left = 500 - seen.finished();
        println!("the first new job was over after {:?}, {left} before it", start.elapsed());
        assert!(left > 400, "it did not wait for the backlog: {left}");
        until("finished", || seen.finished() == 500).await;
    });
    let old = life.began.iter().map(|(number, _)| *number).filter(|number| *number < 1000);
    assert!(old.eq(0..500), "in their order");
    assert_eq!((life.stats.redelivered, life.stats.kept), (500, 0));
}

#[test]
fn the_attempts_of_what_is_too_late_at_a_start_are_told() {
    let scratch = Scratch::new("durable-late-attempts");
    let (journal, _) = Journal::open(scratch.path(), "jobs", JournalLimits::default()).unwrap();
    let payload = serde_json::json!({ "job": job(1), "deadline_at_ms": 1, "deadline_ms": 500 });
    let (sent, done) = channel();
    let done_with = move |result| sent.send(result).unwrap();
    journal.append(serde_json::to_vec(&payload).unwrap(), Meta::default(), done_with).unwrap();
    let sequence = done.recv_timeout(LONG).unwrap().unwrap();
    journal.retry(sequence, None);
    journal.retry(sequence, None);
    journal.close(LONG).unwrap();
    let life = live_until_finished(&scratch, 1);
    assert_eq!(life.finished, [(Err(TaskError::TimedOut), 2)]);
    assert_eq!((life.began.len(), life.stats.kept), (0, 0));
}
