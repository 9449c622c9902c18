//! Further pools of a server: bulkheads with their own workers, depth and types.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use http_body_util::BodyExt;
use sidecore::tasks::{Failure, Kinds, Retry, TaskPool};
use sidecore::{Config, Incoming, Request, Response, Running, Server};
use sidecore_tests::{Client, wait_until};

fn config(file: &str, variables: &[(&str, &str)]) -> Config {
    let file = format!("port = 0\n{file}");
    let loader = Config::loader().file_text("sidecore.toml", file);
    loader.variables(variables.iter().copied()).load().expect("a configuration")
}

/// A pool whose jobs wait until they are let go.
fn gated(name: &str, depth: usize) -> (TaskPool<u64, u64>, mpsc::Sender<()>) {
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let run = move |_: &sidecore::TaskContext, job: u64| {
        released.lock().unwrap().recv().unwrap();
        job
    };
    let pool = TaskPool::named(name).queue_depth(depth).on_task(run).on_finish(|_, _| {}).build();
    (pool, release)
}

fn doubling(name: &str) -> TaskPool<u64, u64> {
    TaskPool::named(name).on_task(|_, job: u64| job * 2).on_finish(|_, _| {}).build()
}

/// `POST /<pool>` runs a job in that pool and answers its output; `POST /<pool>/go` dispatches it.
fn serve(server: Server, pools: &[&TaskPool<u64, u64>]) -> Running {
    let mut server = server;
    for pool in pools {
        server = server.with_pool(*pool);
    }
    let pools: Vec<TaskPool<u64, u64>> = pools.iter().map(|pool| (*pool).clone()).collect();
    let make_app = move |_: &_| {
        let pools = pools.clone();
        tower::service_fn(move |request: Request<Incoming>| {
            let path = request.uri().path().trim_start_matches('/').to_owned();
            let name = path.split('/').next().unwrap_or_default();
            let tasks = pools.iter().find(|pool| pool.name() == name).map(TaskPool::tasks);
            async move {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let job = String::from_utf8_lossy(&body).parse().unwrap_or(0);
                let tasks = tasks.expect("a pool");
                let said = match path.ends_with("/go") {
                    true => tasks.dispatch(job).map(|id| id.to_string()).map_err(|e| e.to_string()),
                    false => tasks.run(job).await.map(|o| o.to_string()).map_err(|e| e.to_string()),
                };
                let (status, said) = match said {
                    Ok(said) => (200, said),
                    Err(said) => (503, said),
                };
                Ok::<_, Infallible>(Response::builder().status(status).body(said).unwrap())
            }
        })
    };
    server.start(make_app).expect("the server starts")
}

fn post(client: &mut Client, path: &str, body: &str) -> (u16, String) {
    let answer = client.request("POST", path, body);
    (answer.status, String::from_utf8(answer.body).unwrap())
}

#[test]
fn a_pool_that_is_flooded_takes_nothing_of_another() {
    let (flooded, release) = gated("flooded", 4);
    let calm = doubling("calm");
    assert!(calm.tasks().dispatch(1).is_err(), "no server has started it");
    let file = "[options]\nworker_num = 1\ntask_worker_num = 0";
    let running = serve(Server::new(config(file, &[])), &[&flooded, &calm]);
    let mut client = Client::connect(running.address());
    let (_, first) = post(&mut client, "/flooded/go", "1");
    wait_until("it runs", || running.pool_stats()[0].1.workers[0].running.is_some());
    let mut ids = vec![first.parse::<u64>().unwrap()];
    let refused = loop {
        match post(&mut client, "/flooded/go", "1") {
            (200, id) => ids.push(id.parse::<u64>().unwrap()),
            (503, cause) => break cause,
            other => panic!("{other:?}"),
        }
        assert!(ids.len() < 100);
    };
    // Its queue's four, and the one that runs.
    assert!(ids.len() == 5 && refused.contains("full"), "{} accepted, {refused}", ids.len());
    for job in 0..200_u64 {
        let expected = (200, (2 * job).to_string());
        assert_eq!(post(&mut client, "/calm", &job.to_string()), expected);
    }
    let (_, id) = post(&mut client, "/calm/go", "1");
    assert!(!ids.contains(&id.parse().unwrap()), "an id is one task's in the whole process");
    ids.iter().for_each(|_| release.send(()).unwrap());
    running.shutdown().raise();
    let pools = running.pool_stats().into_iter().map(|(name, _)| name.to_string());
    assert_eq!(pools.collect::<Vec<_>>(), ["flooded", "calm"]);
    let report = running.wait().unwrap();
    assert_eq!((report.accepted, report.finished, report.lost), (206, 206, 0));
}

#[test]
fn a_task_dispatches_to_another_pool_and_waits_for_it() {
    let inner = doubling("inner");
    let chained = inner.clone();
    let outer = TaskPool::named("outer")
        .on_task(move |_, job: u64| {
            let run = chained.tasks().run(job);
            run.wait(Duration::from_secs(20)).expect("in time").expect("an output") + 1
        })
        .on_finish(|_, _| {})
        .build();
    let running =
        serve(Server::new(config("", &[("SIDECORE_TASK_WORKER_NUM", "0")])), &[&inner, &outer]);
    let mut client = Client::connect(running.address());
    assert_eq!(post(&mut client, "/outer", "20"), (200, "41".to_owned()));
    running.shutdown().raise();
    assert_eq!(running.wait().unwrap().finished, 2);
}

#[test]
fn the_configuration_goes_over_the_code_and_knows_the_pools() {
    let file =
        "[options]\ntask_worker_num = 0\n[pools.calm]\ntask_worker_num = 3\ntask_queue_depth = 7";
    let variables = [("SIDECORE_POOL_CALM_TASK_WORKER_NUM", "2")];
    let calm = doubling("calm");
    let running = serve(Server::new(config(file, &variables)), &[&calm]);
    assert_eq!(running.pool_stats()[0].1.workers.len(), 2);
    assert!(running.describe().iter().any(|line| line.starts_with("calm-1 on CPU ")));
    running.shutdown().raise();
    running.wait().unwrap();

    let error = |file: &str, pools: &[&TaskPool<u64, u64>]| {
        let mut server = Server::new(config(file, &[]));
        for pool in pools {
            server = server.with_pool(*pool);
        }
        let app = |_: &_| {
            tower::service_fn(async |_: Request<Incoming>| {
                Ok::<_, Infallible>(Response::new(String::new()))
            })
        };
        server.start(app).err().expect("a refusal").to_string()
    };
    let zero = "[options]\ntask_worker_num = 0\n";
    let unknown = error(&format!("{zero}[pools.clam]\ntask_queue_depth = 1"), &[&doubling("calm")]);
    let expected = "sidecore.toml:4: there is no pool clam; those of this server are calm";
    assert_eq!(unknown, expected);
    for name in ["", "Mail", "a name", "averylongname", "default"] {
        let refused = error(zero, &[&doubling(name)]);
        assert!(refused.starts_with(&format!("pool {name}: ")), "{refused}");
    }
    assert!(error(zero, &[&doubling("a"), &doubling("a")]).contains("two of that name"));
    assert!(error(zero, &[&calm]).contains("another server"));
    let nowhere = format!("{zero}[pools.calm]\ntask_worker_cpus = \"4000\"");
    let refused = error(&nowhere, &[&doubling("calm")]);
    assert!(refused.starts_with("pool calm: task_worker_cpus"), "{refused}");
}

#[test]
fn nonsense_in_a_pools_table_is_refused_with_its_line() {
    let load = |text: &str, variables: &[(&str, &str)]| {
        let loader = Config::loader().file_text("sidecore.toml", text);
        loader.variables(variables.iter().copied()).load().unwrap_err().to_string()
    };
    let refused = load("[pools.calm]\ntask_queue_depht = 1", &[]);
    assert!(
        refused.contains("sidecore.toml:2: task_queue_depht is not a key of a pool"),
        "{refused}"
    );
    assert!(refused.contains("did you mean task_queue_depth?"), "{refused}");
    assert!(load("[pools.calm]\nport = 1", &[]).contains("port is not a key of a pool"));
    assert!(load("[pools.calm]\ntask_queue_depth = 0", &[]).contains("give a number from 1"));
    assert!(load("[pools]\ncalm = 1", &[]).contains("[pools.<name>]"));
    assert!(load("", &[("SIDECORE_POOL_CALM_PORT", "1")]).contains("not a known variable"));
}

#[test]
fn a_server_tells_of_dead_letters_kinds_worker_stops_and_renewals() {
    let dead = Arc::new(Mutex::new(Vec::new()));
    let stopped = Arc::new(AtomicUsize::new(0));
    let (keep, count, made) = (dead.clone(), stopped.clone(), Arc::new(AtomicUsize::new(0)));
    let making = made.clone();
    let running = Server::new(config("[options]\nworker_num = 1\ntask_worker_num = 1", &[]))
        .on_task_worker(move |worker| {
            assert!(!worker.is_spare);
            making.fetch_add(1, Ordering::SeqCst);
            let mut ran = 0;
            Ok(move |_: &sidecore::TaskContext, job: String| {
                ran += 1;
                if job == "bad" { Err(Failure::new("as asked")) } else { Ok(ran) }
            })
        })
        .kinds(Kinds::new(&["good", "bad"], |job: &String| usize::from(job == "bad")))
        .on_dead_letter(move |letter| keep.lock().unwrap().push((letter.job, letter.attempts)))
        .on_finish(|_, _| {})
        .on_executor_stop(move |executor| {
            count.fetch_add(executor + 1, Ordering::SeqCst);
        })
        .start(|executor| {
            let tasks = executor.tasks();
            tower::service_fn(move |request: Request<Incoming>| {
                let job = request.uri().path().trim_start_matches('/').to_owned();
                let retry =
                    Retry { retries: 1, backoff: Duration::from_millis(1), ..Retry::times(1) };
                let run = tasks.job(job).retry(retry).run();
                async move { Ok::<_, Infallible>(Response::new(format!("{:?}", run.await))) }
            })
        })
        .expect("the server starts");
    let mut client = Client::connect(running.address());
    let mut get = |path: &str| String::from_utf8(client.request("GET", path, "").body).unwrap();
    assert_eq!(get("/good"), "Ok(1)");
    assert!(get("/bad").contains("as asked"));
    assert_eq!(get("/good"), "Ok(4)");
    running.reload().task_workers();
    wait_until("the worker is made anew", || made.load(Ordering::SeqCst) == 2);
    // The one thread has handed over before it takes another job.
    assert_eq!(get("/good"), "Ok(1)");
    let stats = running.task_stats().unwrap();
    let kinds: Vec<_> = stats.kinds.iter().map(|kind| (kind.name, kind.run_time.count)).collect();
    assert_eq!((kinds[1], stats.workers[0].renewed), (("bad", 2), 1));
    assert_eq!(*dead.lock().unwrap(), [("bad".to_owned(), 2)]);
    running.shutdown().raise();
    let report = running.wait().unwrap();
    assert_eq!((report.failed, report.lost, stopped.load(Ordering::SeqCst)), (1, 0, 1));
}
