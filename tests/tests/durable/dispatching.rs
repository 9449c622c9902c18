//! Within one life: what is accepted, refused, waited for, dropped, cancelled, given up.

use sidecore::durable::{DurableError, DurableRunError};
use sidecore::tasks::{Cancelled, DispatchError, Retry, TaskError};

use super::*;

#[test]
fn a_dispatch_is_durable_when_it_is_answered_and_acked_when_it_is_finished() {
    let scratch = Scratch::new("durable-ack");
    let life = live(&scratch, Setup::default(), |tasks, seen| async move {
        let id = tasks.dispatch(job(7)).await.unwrap();
        assert!(id > 0);
        assert_eq!(tasks.stats().appended, 1);
        until("finished", || seen.finished() == 1).await;
        assert_eq!(tasks.run(job(8)).await.unwrap(), 8);
    });
    assert_eq!(life.began, [(7, 1), (8, 1)]);
    assert_eq!(life.finished, [(Ok(7), 1)], "the output that was awaited goes nowhere else");
    assert_eq!((life.stats.acked, life.stats.kept, life.report.lost), (2, 0, 0));
}

#[test]
fn many_at_once_share_commits() {
    let scratch = Scratch::new("durable-group");
    let life = live(&scratch, Setup::default(), |tasks, seen| async move {
        let sent: Vec<_> = (0..2000).map(|number| tasks.dispatch(job(number))).collect();
        for sent in sent {
            sent.await.unwrap();
        }
        until("finished", || seen.finished() == 2000).await;
    });
    println!("2000 jobs in {} commits", life.stats.journal.commits);
    assert!(life.stats.journal.commits < 500, "{:?}", life.stats);
    assert_eq!((life.stats.acked, life.stats.kept), (2000, 0));
}

/// A pool of one place: all others wait outside it.
#[test]
fn where_the_pool_is_full_jobs_wait_for_their_turn() {
    let scratch = Scratch::new("durable-turn");
    let setup = Setup { queue_depth: 1, ..Setup::default() };
    let life = live(&scratch, setup, |tasks, seen| async move {
        for round in 0..5 {
            let numbers = 40 * round..40 * round + 40;
            let sent: Vec<_> = numbers.map(|number| tasks.dispatch(slow(number, 1))).collect();
            for sent in sent {
                sent.await.unwrap();
            }
        }
        until("finished", || seen.finished() == 200).await;
    });
    let mut numbers: Vec<_> = life.began.iter().map(|(number, _)| *number).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..200), "each once");
    assert_eq!(life.report.accepted, 200);
}

#[test]
fn a_full_journal_gives_the_job_back_until_there_is_room() {
    let scratch = Scratch::new("durable-full");
    let life = live(&scratch, Setup::pending_max(3), |tasks, seen| async move {
        for number in 0..3 {
            tasks.dispatch(slow(number, 100)).await.unwrap();
        }
        let refused = tasks.dispatch(job(3)).await.unwrap_err();
        assert!(refused.is_full(), "{refused}");
        assert_eq!(refused.into_job(), Some(job(3)));
        let Err(DurableRunError::Refused(refused)) = tasks.run(job(3)).await else { panic!() };
        assert!(refused.is_full(), "{refused}");
        until("finished", || seen.finished() == 3).await;
        until("acked", || tasks.stats().kept == 0).await;
        tasks.dispatch(job(4)).await.unwrap();
        until("finished", || seen.finished() == 4).await;
    });
    assert_eq!((life.stats.appended, life.stats.acked), (4, 4));
}

#[test]
fn what_can_never_be_taken_is_refused_before_it_is_written() {
    let scratch = Scratch::new("durable-refused");
    let mut setup = Setup::default();
    setup.limits.journal.payload_bytes_max = 60;
    let life = live(&scratch, setup, |tasks, _| async move {
        let refused = tasks.job(job(1)).task_worker(1).spawn().await.unwrap_err();
        assert!(matches!(refused, DurableError::Refused(DispatchError::NoSuchTaskWorker(_))));
        let large = tasks.dispatch(job(u64::MAX)).await.unwrap_err();
        assert!(matches!(&large, DurableError::TooLarge(_)), "{large}");
        assert_eq!(large.into_job(), Some(job(u64::MAX)));
    });
    assert_eq!((life.stats.appended, life.began.len()), (0, 0));
}

#[test]
fn dropping_a_future_loses_no_job_and_no_output() {
    let scratch = Scratch::new("durable-drop");
    let life = live(&scratch, Setup::default(), |tasks, seen| async move {
        for number in 0..100 {
            drop(tasks.dispatch(job(number)));
            drop(tasks.run(job(100 + number)));
        }
        // Its outcome has come and was not taken.
        let late = tasks.run(job(200));
        until("all but one are finished", || seen.finished() == 200).await;
        until("the last is over", || tasks.stats().acked == 201).await;
        drop(late);
        assert_eq!(seen.finished(), 201);
    });
    let mut outputs: Vec<_> = life.finished.into_iter().map(|(o, _)| o.unwrap()).collect();
    outputs.sort_unstable();
    assert!(outputs.into_iter().eq(0..201), "each output is told once");
    assert_eq!((life.stats.acked, life.stats.kept), (201, 0));
}

#[test]
fn who_is_told_of_the_dispatch_is_told_before_the_outcome_and_without_its_future() {
    let scratch = Scratch::new("durable-told");
    live(&scratch, Setup::default(), |tasks, seen| async move {
        let (told, handles) = channel();
        for number in 0..50 {
            let (told, seen) = (told.clone(), seen.clone());
            let dispatch = tasks.job(job(number)).on_dispatch(move |handle| {
                told.send((handle.clone(), seen.finished())).unwrap();
            });
            drop(dispatch.spawn());
        }
        until("finished", || seen.finished() == 50).await;
        let handles: Vec<_> = handles.try_iter().collect();
        assert_eq!(handles.len(), 50);
        assert!(handles.iter().all(|(handle, _)| handle.is_over()));
    });
}

#[test]
fn a_cancelled_job_is_not_redelivered() {
    let scratch = Scratch::new("durable-cancel");
    let life = live(&scratch, Setup::default(), |tasks, seen| async move {
        tasks.dispatch(slow(1, 150)).await.unwrap();
        let handle = tasks.job(job(2)).spawn().await.unwrap();
        let later = tasks.job(job(3)).delay(Duration::from_secs(60)).spawn().await.unwrap();
        assert_eq!(handle.cancel(), Cancelled::Withdrawn);
        assert_eq!(later.cancel(), Cancelled::Withdrawn);
        let late = tasks.job(job(4)).deadline(Duration::from_millis(20)).run().await;
        assert!(matches!(late, Err(DurableRunError::Failed(TaskError::TimedOut))));
        until("finished", || seen.finished() == 3).await;
    });
    assert_eq!(life.began, [(1, 1)]);
    assert_eq!((life.stats.acked, life.stats.dead, life.stats.kept), (4, 0, 0));
}

fn retry(retries: u32) -> Retry {
    Retry { backoff: Duration::from_millis(2), ..Retry::times(retries) }
}

#[test]
fn a_job_that_panics_is_a_dead_letter_after_its_retries() {
    let scratch = Scratch::new("durable-dead");
    let life = live(&scratch, Setup::default(), |tasks, seen| async move {
        let panics = Job { panics: 9, ..job(1) };
        tasks.job(panics).retry(retry(2)).spawn().await.unwrap();
        let fails = Job { fails: 9, ..job(2) };
        let failed = tasks.job(fails).retry(retry(1)).run().await.unwrap_err();
        assert!(matches!(failed, DurableRunError::Failed(TaskError::Failed(_))), "{failed}");
        let recovers = Job { fails: 1, panics: 2, ..job(3) };
        assert_eq!(tasks.job(recovers).retry(retry(2)).run().await.unwrap(), 3);
        until("finished", || seen.finished() == 1).await;
    });
    assert_eq!((life.finished[0].1, life.stats.dead, life.stats.acked), (3, 2, 1));
    assert_eq!((life.stats.journal.retried, life.stats.kept), (2 + 1 + 2, 0));
    let letters = dead_letters(&scratch);
    let attempts: Vec<_> =
        letters.iter().map(|letter| (letter.sequence, letter.attempts)).collect();
    assert_eq!(attempts, [(1, 3), (2, 2)]);
    assert!(letters[0].reason.contains("job 1 was to panic"), "{letters:?}");
    assert!(letters[1].reason.contains("it was to fail"), "{letters:?}");
}

#[test]
fn what_is_told_of_a_dispatch_and_panics_changes_nothing_else() {
    let scratch = Scratch::new("durable-on-dispatch");
    let life = live(&scratch, Setup::default(), |tasks, _| async move {
        let dispatch = |number| tasks.job(job(number)).on_dispatch(|_| panic!("of the user's"));
        assert!(dispatch(1).spawn().await.is_ok());
        assert_eq!(dispatch(2).run().await.unwrap(), 2);
    });
    assert_eq!((life.began.len(), life.stats.kept), (2, 0));
}
