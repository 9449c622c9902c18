//! The life of task workers: state of their own, made anew without loss, watched, joined by spares.

mod stacks;

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sidecore_runtime::pool::{
    Failure, Finish, Kinds, Lane, Notice, Pool, PoolConfig, PoolError, PoolSetup, Seat,
    TaskContext, TaskError, Tasks,
};
use sidecore_runtime::sys::doorbell::Doorbell;
use sidecore_tests::wait_until;

const SOON: Duration = Duration::from_secs(20);

fn config(task_workers: usize) -> PoolConfig {
    PoolConfig::new(vec![Seat { cpu: 0, shared: true, domain: 0 }; task_workers], 1024)
}

/// A pool whose tasks are dispatched from this thread, which is no executor.
struct Started<J: 'static, O: 'static> {
    pool: Pool<J, O>,
    tasks: Tasks<J, O>,
    finishes: Receiver<Finish<O>>,
    notices: Receiver<Notice>,
    threads: String,
    _lanes: Vec<Lane<J, O>>,
}

impl<J: Send + 'static, O: Send + 'static> Started<J, O> {
    fn start<R>(
        config: &PoolConfig,
        kinds: Kinds<J>,
        make: impl Fn(usize) -> Result<R, Failure> + Send + Sync + 'static,
    ) -> Result<Self, PoolError>
    where
        R: FnMut(&TaskContext, J) -> Result<O, Failure> + 'static,
    {
        let (notify, notices) = mpsc::channel();
        let notify = Mutex::new(notify);
        let on_notice = Arc::new(move |notice: &Notice| {
            let _ = notify.lock().unwrap().send(notice.clone());
        });
        // Their names are looked for: no other test's threads have them.
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let threads = format!("t{}", STARTED.fetch_add(1, Ordering::Relaxed));
        let thread_name = threads.as_str().into();
        let setup = PoolSetup { kinds, on_notice, thread_name, ..PoolSetup::default() };
        let doorbells = [Arc::new(Doorbell::new().unwrap())];
        let (pool, lanes) =
            Pool::start_with(config, setup, &doorbells, move |info| make(info.task_worker))?;
        let (finish, finishes) = mpsc::channel();
        let finish: Mutex<Sender<_>> = Mutex::new(finish);
        pool.on_external_finish(move |done| finish.lock().unwrap().send(done).unwrap());
        Ok(Started { tasks: pool.tasks(), pool, finishes, notices, threads, _lanes: lanes })
    }

    fn dispatch(&self, job: J) -> u64 {
        self.tasks.dispatch(job).expect("room")
    }

    fn finish(&self) -> Finish<O> {
        self.finishes.recv_timeout(SOON).expect("a finish")
    }

    fn notice(&self) -> Notice {
        self.notices.recv_timeout(SOON).expect("a notice")
    }

    fn close(self) -> sidecore_runtime::pool::PoolSnapshot {
        self.pool.close(Instant::now() + SOON)
    }
}

/// Counts what is alive.
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Alive(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Jobs return how many their worker has run since it was made, and on which thread.
fn counting(
    alive: &Arc<AtomicUsize>,
    made: &Arc<AtomicUsize>,
) -> impl Fn(usize) -> Result<CountingRun, Failure> + Send + Sync + 'static {
    let (alive, made) = (alive.clone(), made.clone());
    move |_| {
        made.fetch_add(1, Ordering::SeqCst);
        let (state, count) = (Alive::new(&alive), Cell::new(0));
        Ok(Box::new(move |_: &TaskContext, _: ()| {
            let _held = &state;
            count.set(count.get() + 1);
            Ok((count.get(), std::thread::current().id()))
        }))
    }
}

type CountingRun =
    Box<dyn FnMut(&TaskContext, ()) -> Result<(u64, std::thread::ThreadId), Failure>>;

#[test]
fn a_worker_keeps_its_state_and_is_made_anew_after_so_many_jobs() {
    let (alive, made) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
    let config = PoolConfig { recycle_after: Some(3), ..config(1) };
    let started = Started::start(&config, Kinds::one(), counting(&alive, &made)).unwrap();
    for _ in 0..10 {
        started.dispatch(());
    }
    let outcomes: Vec<_> = (0..10).map(|_| started.finish().outcome.unwrap()).collect();
    let counts: Vec<_> = outcomes.iter().map(|(count, _)| *count).collect();
    assert_eq!(counts, [1, 2, 3, 1, 2, 3, 1, 2, 3, 1]);
    let threads: std::collections::HashSet<_> = outcomes.iter().map(|(_, thread)| thread).collect();
    assert_eq!((threads.len(), made.load(Ordering::SeqCst)), (4, 4));
    let snapshot = started.close();
    assert_eq!((snapshot.outcomes.finished, snapshot.workers[0].renewed), (10, 3));
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

#[test]
fn a_reload_makes_every_worker_anew_idle_or_not_and_loses_nothing() {
    let (alive, made) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
    let started = Started::start(&config(3), Kinds::one(), counting(&alive, &made)).unwrap();
    started.pool.reload();
    wait_until("the idle workers are made anew", || {
        made.load(Ordering::SeqCst) == 6 && alive.load(Ordering::SeqCst) == 3
    });
    let mut accepted = 0;
    for round in 0..40 {
        for _ in 0..100 {
            accepted += u64::from(started.tasks.dispatch(()).is_ok());
        }
        if round % 4 == 0 {
            started.pool.reload();
        }
    }
    for _ in 0..accepted {
        started.finish().outcome.unwrap();
    }
    let snapshot = started.close();
    assert_eq!((snapshot.accepted, snapshot.outcomes.finished), (accepted, accepted));
    assert!(snapshot.workers.iter().map(|worker| worker.renewed).sum::<u64>() >= 6);
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

#[test]
fn a_worker_that_cannot_be_made_stops_the_start_but_not_a_running_pool() {
    let never = |_| -> Result<fn(&TaskContext, ()) -> Result<(), Failure>, Failure> {
        Err(Failure::new("the database is away"))
    };
    let refused = Started::start(&config(2), Kinds::one(), never).err().unwrap();
    assert!(matches!(refused, PoolError::Make { task_worker: 0, .. }), "{refused:?}");
    assert!(refused.to_string().contains("the database is away"), "{refused}");

    let made = AtomicUsize::new(0);
    let once = move |_| {
        assert_eq!(made.fetch_add(1, Ordering::SeqCst), 0, "made twice");
        Ok(|_: &TaskContext, job: u64| Ok(job))
    };
    let config = PoolConfig { recycle_after: Some(2), ..config(1) };
    let started = Started::start(&config, Kinds::one(), once).unwrap();
    for job in 0..5 {
        started.dispatch(job);
    }
    let outputs: Vec<_> = (0..5).map(|_| started.finish().outcome.unwrap()).collect();
    assert_eq!(outputs, [0, 1, 2, 3, 4]);
    let Notice::WorkerFailed { task_worker: 0, cause, .. } = started.notice() else { panic!() };
    assert!(cause.contains("made twice"), "{cause}");
    assert_eq!(started.close().outcomes.finished, 5);
}

#[test]
fn a_stuck_job_is_reported_and_a_spare_stands_in_until_it_is_over() {
    let config = PoolConfig {
        stuck_after: Some(Duration::from_millis(50)),
        spares: 1,
        recycle_after: Some(1000),
        ..config(1)
    };
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let make = move |_| {
        let released = released.clone();
        Ok(move |_: &TaskContext, hang: bool| {
            if hang {
                released.lock().unwrap().recv().unwrap();
            }
            Ok(())
        })
    };
    let kinds = Kinds::new(&["quick", "hung"], |hang| usize::from(*hang));
    let started = Started::start(&config, kinds, make).unwrap();
    for round in 1..=2 {
        let hung = started.dispatch(true);
        let waiting = started.dispatch(false);
        let Notice::Stuck(stuck) = started.notice() else { panic!("a stuck task") };
        assert_eq!((stuck.task, stuck.kind, stuck.task_worker), (hung, "hung", 0));
        assert!(stuck.running_for >= Duration::from_millis(50), "{stuck}");
        assert!(stuck.doing.starts_with("waiting"), "{stuck}");
        assert!(matches!(started.notice(), Notice::SpareStarted { task_worker: 1, .. }));
        let finish = started.finish();
        assert_eq!((finish.id, finish.task_worker), (waiting, Some(1)));
        // It is reported once, and one spare is all there is.
        std::thread::sleep(Duration::from_millis(100));
        assert!(started.notices.try_recv().is_err());
        release.send(()).unwrap();
        assert_eq!(started.finish().id, hung);
        let Notice::Unstuck { task, .. } = started.notice() else { panic!("it is over") };
        assert_eq!(task, hung);
        let spare = format!("{}-1", started.threads);
        let is_alive = || {
            std::fs::read_dir("/proc/self/task").unwrap().any(|entry| {
                let name = std::fs::read_to_string(entry.unwrap().path().join("comm"));
                name.is_ok_and(|name| name.trim() == spare)
            })
        };
        wait_until("the spare retires", || !is_alive());
        assert_eq!(started.pool.snapshot().workers[1].ran, round);
        // It has retired: the next job is the first worker's.
        started.dispatch(false);
        assert_eq!(started.finish().task_worker, Some(0));
    }
    let snapshot = started.close();
    let kinds: Vec<_> =
        snapshot.kinds.iter().map(|kind| (kind.name, kind.run_time.count)).collect();
    assert_eq!(kinds, [("quick", 4), ("hung", 2)]);
    assert!(snapshot.kinds[1].run_time.p50 >= Duration::from_millis(50));
}

#[test]
fn a_panic_costs_the_task_and_not_its_workers_state() {
    let (alive, made) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
    let (alive_in, made_in) = (alive.clone(), made.clone());
    let make = move |_| {
        made_in.fetch_add(1, Ordering::SeqCst);
        let state = Alive::new(&alive_in);
        Ok(move |_: &TaskContext, panics: bool| {
            let _held = &state;
            assert!(!panics, "as asked");
            Ok(())
        })
    };
    let started = Started::start(&config(1), Kinds::one(), make).unwrap();
    started.dispatch(true);
    started.dispatch(false);
    assert!(matches!(started.finish().outcome, Err(TaskError::Panicked(_))));
    assert!(started.finish().outcome.is_ok());
    assert_eq!((made.load(Ordering::SeqCst), alive.load(Ordering::SeqCst)), (1, 1));
    assert_eq!(started.close().kinds[0].panicked, 1);
}

#[test]
fn no_dispatch_makes_a_system_call_while_a_worker_is_awake() {
    let gate = Arc::new(Mutex::new(()));
    let (held, gate) = (gate.clone(), gate);
    let make = move |_| {
        let gate = gate.clone();
        Ok(move |_: &TaskContext, wait: bool| {
            if wait {
                drop(gate.lock().unwrap());
            }
            Ok(())
        })
    };
    let started = Started::start(&config(1), Kinds::one(), make).unwrap();
    wait_until("the worker sleeps", || started.pool.snapshot().sleeping == 1);
    let before = started.pool.snapshot().wakes;
    let hold = held.lock().unwrap();
    started.dispatch(true);
    wait_until("it runs", || started.pool.snapshot().workers[0].running.is_some());
    assert_eq!(started.pool.snapshot().wakes, before + 1);
    let dispatched = (0..900).filter(|_| started.tasks.dispatch(false).is_ok()).count();
    drop(hold);
    (0..=dispatched).for_each(|_| assert!(started.finish().outcome.is_ok()));
    // One call woke the worker; the 900 others cost none.
    assert_eq!((dispatched, started.pool.snapshot().wakes), (900, before + 1));
    started.close();
}

/// Callbacks of the user's that panic cost neither the task worker nor what it is to run.
#[test]
fn a_worker_outlives_panics_of_who_names_kinds_and_of_who_is_told() {
    let made = Arc::new(AtomicUsize::new(0));
    let count = made.clone();
    let make = move |_: &_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => Ok(|_: &TaskContext, job: u64| Ok(job)),
        _ => Err(Failure::new("no more of them")),
    };
    let setup = PoolSetup {
        kinds: Kinds::new(&["even", "odd"], |job: &u64| {
            assert!(job.is_multiple_of(2), "odd jobs have no kind, as this test means it");
            0
        }),
        on_notice: Arc::new(|_| panic!("who is told panics, as this test means it to")),
        ..PoolSetup::default()
    };
    let config = PoolConfig { recycle_after: Some(2), ..config(1) };
    let doorbells = [Arc::new(Doorbell::new().unwrap())];
    let (pool, _lanes) = Pool::start_with(&config, setup, &doorbells, make).unwrap();
    let runs: Vec<_> = (0..6).map(|job| pool.tasks().run(job)).collect();
    let outputs: Vec<_> = runs.into_iter().map(|run| run.wait(SOON).unwrap().unwrap()).collect();
    assert_eq!(outputs, [0, 1, 2, 3, 4, 5]);
    let kinds: Vec<_> = pool.snapshot().kinds.iter().map(|kind| kind.waited.count).collect();
    assert_eq!((kinds, made.load(Ordering::SeqCst) > 1), (vec![3, 3], true));
    assert_eq!(pool.close(Instant::now() + SOON).outstanding(), 0);
}
