//! sqlx and its pool.

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use http::StatusCode;
use sidecore_tests::{Postgres, wait_until};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};

use super::{
    Halfway, Onlooker, POOL, a_notification_wakes_a_handler, a_transaction_lives_over_awaits,
    ask_at_once, many_requests_share_few_connections,
};
use crate::{Served, config, text};

/// Connects when it is first asked; needs tokio for the thread that makes it.
pub(super) fn pool(address: PgConnectOptions) -> PgPool {
    PgPoolOptions::new().max_connections(POOL as u32).connect_lazy_with(address)
}

pub(super) fn address(postgres: &Postgres, application: &str) -> PgConnectOptions {
    postgres.url(application).parse().expect("an address")
}

fn socket(postgres: &Postgres) -> PgConnectOptions {
    let (folder, port) = postgres.socket();
    PgConnectOptions::new_without_pgpass().socket(folder).port(port).username("postgres")
}

#[test]
fn queries_are_answered_by_tcp_and_by_unix_socket() {
    let Some(postgres) = Postgres::shared() else { return };
    for address in [address(&postgres, "sqlx"), socket(&postgres)] {
        let served = Served::start(move || {
            let adds = async |State(pool): State<PgPool>| {
                let query = sqlx::query_scalar::<_, i64>("select 40::int8 + $1").bind(2_i64);
                query.fetch_one(&pool).await.expect("a row").to_string()
            };
            Router::new().route("/", get(adds)).with_state(pool(address.clone()))
        });
        for answer in ask_at_once(&served, "/", 8) {
            assert_eq!(text(&answer), "42");
        }
        served.stop();
    }
}

#[test]
fn many_requests_share_a_pool_of_four() {
    let Some(postgres) = Postgres::shared() else { return };
    let onlooker = Onlooker::new(&postgres);
    let address = address(&postgres, "sqlx-pool");
    let served = Served::start(move || {
        let backend = async |State(pool): State<PgPool>| {
            let query = "select pg_backend_pid() from pg_sleep(0.002)";
            let backend = sqlx::query_scalar::<_, i32>(query).fetch_one(&pool);
            backend.await.expect("a row").to_string()
        };
        Router::new().route("/backend", get(backend)).with_state(pool(address.clone()))
    });
    many_requests_share_few_connections(&served, &onlooker, "sqlx-pool");
    served.stop();
    wait_until("its connections are gone", || onlooker.connections_of("sqlx-pool") == 0);
}

async fn transfers(State((pool, halfway)): State<(PgPool, Halfway)>) {
    let mut transaction = pool.begin().await.expect("it begins");
    let insert = sqlx::query("insert into payments values (1)").execute(&mut *transaction);
    insert.await.expect("a row");
    halfway.pass().await;
    transaction.commit().await.expect("it is committed");
}

async fn breaks(State((pool, _)): State<(PgPool, Halfway)>) -> StatusCode {
    let mut transaction = pool.begin().await.expect("it begins");
    let insert = sqlx::query("insert into payments values (2)").execute(&mut *transaction);
    insert.await.expect("a row");
    StatusCode::INTERNAL_SERVER_ERROR
}

#[test]
fn a_transaction_is_held_over_an_await() {
    let Some(postgres) = Postgres::shared() else { return };
    let onlooker = Onlooker::new(&postgres);
    onlooker.runs("create table payments (amount int8)");
    let (halfway, told) = Halfway::new();
    let (address, passed) = (address(&postgres, "sqlx-transactions"), halfway.clone());
    let served = Served::start(move || {
        Router::new()
            .route("/transfer", get(transfers))
            .route("/breaks", get(breaks))
            .with_state((pool(address.clone()), passed.clone()))
    });
    a_transaction_lives_over_awaits(&served, &onlooker, (halfway, told), "payments");
    served.stop();
}

async fn listens(State((pool, halfway)): State<(PgPool, Halfway)>) -> String {
    let mut listener = PgListener::connect_with(&pool).await.expect("a connection");
    listener.listen("headlines").await.expect("it listens");
    halfway.reached.send(()).expect("the test waits");
    listener.recv().await.expect("news").payload().to_owned()
}

async fn notifies(State((pool, _)): State<(PgPool, Halfway)>) {
    let notify = sqlx::query("select pg_notify('headlines', 'there is news')").execute(&pool);
    notify.await.expect("it is told");
}

#[test]
fn a_listener_is_woken_by_a_notification() {
    let Some(postgres) = Postgres::shared() else { return };
    let (halfway, told) = Halfway::new();
    let address = address(&postgres, "sqlx-listener");
    let served = Served::start(move || {
        Router::new()
            .route("/listen", get(listens))
            .route("/notify", get(notifies))
            .with_state((pool(address.clone()), halfway.clone()))
    });
    a_notification_wakes_a_handler(&served, &told);
    served.stop();
}

async fn orders_slowly(State(pool): State<PgPool>) {
    let mut transaction = pool.begin().await.expect("it begins");
    for statement in ["insert into orders values (1)", "select pg_sleep(3)"] {
        let done = sqlx::query(statement).execute(&mut *transaction).await;
        done.expect("it is over before the statement is");
    }
    transaction.commit().await.expect("it is over before");
}

async fn counts_orders(State(pool): State<PgPool>) -> String {
    // For a while, so that requests at once take a connection each.
    let query = "select count(*) from orders, pg_sleep(0.02)";
    let count = sqlx::query_scalar::<_, i64>(query).fetch_one(&pool);
    count.await.expect("a row").to_string()
}

/// Their time is over within a transaction, while a statement runs: it is rolled back, and the
/// connections serve others when the statements are over. Where it is over within `begin` itself,
/// sqlx 0.8 gives a connection back whose transaction is open: the time is long enough, as a rule,
/// and the database ends what was left open, as the guide advises.
#[test]
fn handlers_whose_time_is_over_leave_a_pool_that_works_and_no_row() {
    let Some(postgres) = Postgres::shared() else { return };
    let onlooker = Onlooker::new(&postgres);
    onlooker.runs("create table orders (amount int8)");
    let mut config = config();
    config.options.request_timeout_ms = 2000;
    let limit = [("idle_in_transaction_session_timeout", "5000")];
    let address = address(&postgres, "sqlx-dropped").options(limit);
    let router = move || {
        let router = Router::new().route("/sleeps", get(orders_slowly));
        router.route("/", get(counts_orders)).with_state(pool(address.clone()))
    };
    let served = Served::start_with(config, router, |_| {});
    wait_until("the pool has its connections", || {
        let answers = ask_at_once(&served, "/", POOL);
        answers.iter().all(|answer| answer.status == 200)
            && onlooker.connections_of("sqlx-dropped") == POOL as i64
    });
    for answer in ask_at_once(&served, "/sleeps", POOL) {
        assert_eq!(answer.status, 503);
    }
    wait_until("the pool works", || served.get("/").status == 200);
    wait_until("no transaction is open", || {
        let query = "select count(*) from pg_stat_activity where state <> 'idle' \
                     and application_name = 'sqlx-dropped'";
        onlooker.number(query) == 0
    });
    for answer in ask_at_once(&served, "/", POOL) {
        assert_eq!(text(&answer), "0");
    }
    served.stop();
}
