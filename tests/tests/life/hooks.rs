//! The life of a server, as its hooks are told it; plugins that decorate a server.

use std::convert::Infallible;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sidecore::lifecycle::Life;
use sidecore::tasks::{Failure, OnFinish, OnTask, TaskPool};
use sidecore::test_server::TestServer;
use sidecore::{Config, Executor, Incoming, Request, Response, Server, TaskContext};

const LIMIT: Duration = Duration::from_secs(20);

fn config() -> Config {
    let mut config = Config::default();
    config.port = 0;
    config.options.worker_num = Some(2);
    config.options.task_worker_num = Some(1);
    config
}

async fn hello(_: Request<Incoming>) -> Result<Response<String>, Infallible> {
    Ok(Response::new("hello".to_owned()))
}

/// Told moments, each with the name of its thread.
type Told = Receiver<(Life, String)>;

fn told<T, F>(server: Server<T, F>) -> (Server<T, F>, Told) {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let server = server.on_life(move |life| {
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        let _ = tell.lock().unwrap().send((*life, thread));
    });
    (server, told)
}

#[test]
fn a_life_is_told_in_its_order_where_it_happens_and_panics_change_nothing() {
    let server = Server::new(config())
        .on_life(|life| panic!("{life:?}"))
        .on_task(|_, job: u8| job)
        .on_finish(|_, _| {});
    let (server, told) = told(server);
    let server = TestServer::start(server, |_| tower::service_fn(hello)).unwrap();
    let address = server.address();
    assert_eq!(server.get("/").unwrap().text(), "hello");
    server.tasks().dispatch(1).unwrap();
    let report = server.stop().unwrap();
    assert_eq!((report.accepted, report.lost), (1, 0));

    let told: Vec<_> = told.iter().collect();
    let mut workers: Vec<_> = told[..2].to_vec();
    workers.sort_by_key(|(_, thread)| thread.clone());
    for (worker, (life, thread)) in workers.iter().enumerate() {
        assert!(matches!(life, Life::ExecutorStarted { executor: told, .. } if *told == worker));
        assert!(thread.starts_with(&format!("exec-{worker}")), "{thread}");
    }
    assert_eq!(told[2].0, Life::Started { address });
    assert_eq!(told[3].0, Life::Draining);
    assert!(told[3].1.starts_with("exec-"), "{told:?}");
    let stopped = |told: &(Life, String)| matches!(told.0, Life::ExecutorStopped { .. });
    assert!(told[4..6].iter().all(stopped), "{told:?}");
    assert_eq!(told[6..].iter().map(|told| told.0).collect::<Vec<_>>(), [Life::Ended { report }]);
}

#[test]
fn a_reload_is_told_before_and_after_even_while_a_job_runs() {
    let (made_tx, made) = channel();
    let made_tx = Mutex::new(made_tx);
    let (let_go, held) = channel::<()>();
    let held = Arc::new(Mutex::new(held));
    let server = Server::new(config())
        .on_task_worker(move |_| {
            let _ = made_tx.lock().unwrap().send(());
            let held = held.clone();
            Ok(move |_: &TaskContext, _: ()| {
                held.lock().unwrap().recv_timeout(LIMIT).map_err(Failure::new)
            })
        })
        .on_finish(|_, _| {});
    let (server, told) = told(server);
    let server = TestServer::start(server, |_| tower::service_fn(hello)).unwrap();
    for _ in 0..3 {
        told.recv_timeout(LIMIT).unwrap();
    }
    made.recv_timeout(LIMIT).unwrap();
    server.tasks().dispatch(()).unwrap();
    while server.running().task_stats().unwrap().workers[0].running.is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let reload = server.running().reload();
    reload.task_workers();
    assert_eq!(told.recv_timeout(LIMIT).unwrap().0, Life::Reloading);
    assert!(told.recv_timeout(Duration::from_millis(100)).is_err(), "the job still runs");
    assert!(made.try_recv().is_err());
    let_go.send(()).unwrap();
    made.recv_timeout(LIMIT).expect("it is made anew");
    assert_eq!(told.recv_timeout(LIMIT).unwrap(), (Life::Reloaded, "reload".to_owned()));
    // Once more: the next one is watched like the first.
    reload.task_workers();
    assert_eq!(told.recv_timeout(LIMIT).unwrap().0, Life::Reloading);
    assert_eq!(told.recv_timeout(LIMIT).unwrap().0, Life::Reloaded);
    assert_eq!(server.stop().unwrap().finished, 1);
}

#[test]
fn a_server_that_does_not_start_has_no_end() {
    let (server, told) = told(Server::new(config()));
    let failed = TestServer::start(server, |_| tower::service_fn(hello)).err().unwrap();
    assert!(failed.is_missing_callback());
    assert_eq!(told.iter().count(), 0);

    let mut config = config();
    config.options.task_worker_num = Some(0);
    let (server, told) = self::told(Server::new(config));
    let failed = TestServer::start(server, |executor| {
        assert!(executor.index() == 0, "the application of the second executor panics");
        tower::service_fn(hello)
    });
    assert!(failed.is_err());
    let (is_start, is_end) = (
        |life: &Life| matches!(life, Life::Started { .. }),
        |life: &Life| matches!(life, Life::Ended { .. }),
    );
    let told: Vec<_> = told.iter().map(|(life, _)| life).collect();
    assert!(!told.iter().any(|life| is_start(life) || is_end(life)), "{told:?}");
}

fn with_lengths(server: Server) -> Server<OnTask<String, usize>, OnFinish<usize>> {
    server.on_task(|_, text: String| text.len()).on_finish(|_, _| {})
}

fn with_pool<T, F>(pool: &TaskPool<u8, u8>) -> impl FnOnce(Server<T, F>) -> Server<T, F> {
    |server| server.with_pool(pool)
}

#[test]
fn plugins_decorate_a_server_with_callbacks_and_pools() {
    let twice = TaskPool::named("twice").on_task(|_, job: u8| 2 * job).on_finish(|_, _| {}).build();
    let server = Server::new(config()).with(with_lengths).with(with_pool(&twice));
    let server = TestServer::start(server, |_| tower::service_fn(hello)).unwrap();
    let length = server.tasks().run("hello".to_owned()).wait(LIMIT).ok().unwrap().unwrap();
    let doubled = twice.tasks().run(4).wait(LIMIT).ok().unwrap().unwrap();
    assert_eq!((length, doubled), (5, 8));
    server.stop().unwrap();
}

/// Async task workers stay as they are.
#[test]
fn the_end_of_a_reload_is_told_beside_a_pool_of_async_workers() {
    let naps = TaskPool::named("naps")
        .on_async_task(4, |_task, job: u8| async move { Ok(job) })
        .on_finish(|_, _| {})
        .build();
    let (server, told) = told(Server::new(config()).with(with_lengths).with_pool(&naps));
    let server = TestServer::start(server, |_| tower::service_fn(hello)).unwrap();
    for _ in 0..3 {
        told.recv_timeout(LIMIT).unwrap();
    }
    server.running().reload().task_workers();
    assert_eq!(told.recv_timeout(LIMIT).unwrap().0, Life::Reloading);
    assert_eq!(told.recv_timeout(LIMIT / 4).unwrap().0, Life::Reloaded);
    server.stop().unwrap();
}

/// Panics when it is dropped, unless that is while another panic goes through.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "a destructor of the user's panics");
    }
}

/// What the user gave is dropped at the end, on whichever thread that is.
#[test]
fn destructors_that_panic_at_the_end_change_nothing() {
    for place in ["on_task", "on_finish", "hook", "application", "service"] {
        let bomb = |here| (place == here).then(|| Arc::new(Bomb));
        let (task, finish, hook) = (bomb("on_task"), bomb("on_finish"), bomb("hook"));
        let (application, service) = (bomb("application"), bomb("service"));
        let server = Server::new(config())
            .on_task(move |_, text: String| (&task, text.len()).1)
            .on_finish(move |_, _: Result<usize, _>| drop(finish.clone()))
            .on_life(move |_| drop(hook.clone()));
        let running = server
            .start(move |executor: &Executor<String, usize>| {
                let _application = &application;
                let (tasks, service) = (executor.tasks(), service.clone());
                tower::service_fn(move |_: Request<Incoming>| {
                    drop(service.clone());
                    tasks.dispatch("five!".to_owned()).expect("there is room");
                    async { Ok::<_, Infallible>(Response::new(String::new())) }
                })
            })
            .unwrap();
        assert_eq!(sidecore_tests::get(running.address(), "/").status, 200);
        running.shutdown().raise();
        let report = running.wait().unwrap_or_else(|error| panic!("{place}: {error}"));
        assert_eq!((report.accepted, report.finished), (1, 1), "{place}");
    }
}
