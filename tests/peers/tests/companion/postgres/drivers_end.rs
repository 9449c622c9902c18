//! Connections take leave of the database when the server ends.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use sidecore_tests::{Postgres, wait_until};
use sqlx::PgPool;
use tokio::runtime::Handle;

use super::over_tokio_postgres::{Database, adds};
use super::{POOL, ask_at_once, over_sqlx};
use crate::{Served, config};

/// What PostgreSQL has noted of the connections of an application: how many have ended, and whether
/// one of them without a word.
fn ends(postgres: &Postgres, application: &str) -> (usize, bool) {
    let log = postgres.log();
    let lines = log.lines().filter_map(|line| line.strip_prefix(application));
    let ended = lines.clone().filter(|line| line.contains("disconnection: session time"));
    (ended.count(), lines.clone().any(|line| line.contains("unexpected EOF")))
}

fn took_leave(postgres: &Postgres, application: &str, connections: usize) {
    wait_until("the connections end", || ends(postgres, application).0 == connections);
    assert_eq!(ends(postgres, application), (connections, false), "{}", postgres.log());
}

/// The client is dropped by its executor; the future that drives its connection, spawned on the
/// companion, then says good-bye.
#[test]
fn a_connection_that_the_companion_drives_takes_leave() {
    let Some(postgres) = Postgres::shared() else { return };
    for round in 0..8 {
        let application = format!("leaves-{round}");
        let database = Database::at(postgres.url(&application).parse().expect("an address"));
        let once = std::sync::Mutex::new(Some(database));
        let served = Served::start(move || {
            // Moved, so that nobody but the executor holds it.
            let database = once.lock().unwrap().take().expect("one executor");
            Router::new().route("/", get(adds)).with_state(database)
        });
        assert_eq!(served.get("/").status, 200);
        served.stop();
        took_leave(&postgres, &application, 1);
    }
}

/// A pool is closed where the executor ends, with tokio still there: `on_executor_stop` may wait.
#[test]
fn a_pool_is_closed_by_the_hook_of_the_end() {
    let Some(postgres) = Postgres::shared() else { return };
    let address = over_sqlx::address(&postgres, "closes");
    let pool: Arc<OnceLock<PgPool>> = Arc::default();
    let (closed, returned) = (pool.clone(), pool.clone());
    let router = move || {
        let sleeps = async |State(pool): State<PgPool>| {
            sqlx::query("select pg_sleep(0.02)").execute(&pool).await.expect("it is over");
        };
        let pool = pool.get_or_init(|| over_sqlx::pool(address.clone())).clone();
        Router::new().route("/", get(sleeps)).with_state(pool)
    };
    let on_stop = move |_| {
        let pool = closed.get().expect("it was made");
        Handle::current().block_on(pool.close());
    };
    let served = Served::start_with(config(), router, on_stop);
    for answer in ask_at_once(&served, "/", 2 * POOL) {
        assert_eq!(answer.status, 200);
    }
    // `close` forgets a connection that is on its way back into the pool (sqlx 0.8.6).
    let pool = returned.get().expect("it was made");
    wait_until("the connections are back", || pool.num_idle() == POOL);
    served.stop();
    took_leave(&postgres, "closes", POOL);
}
