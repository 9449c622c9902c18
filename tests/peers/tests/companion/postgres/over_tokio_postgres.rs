//! tokio-postgres: one connection, and deadpool's pool of them.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use deadpool_postgres::{Manager, Pool};
use http::StatusCode;
use sidecore_tests::{Postgres, wait_until};
use tokio::sync::{OnceCell, mpsc};
use tokio_postgres::{AsyncMessage, CancelToken, Client, NoTls};

use super::{
    Halfway, Onlooker, POOL, a_notification_wakes_a_handler, a_transaction_lives_over_awaits,
    ask_at_once, many_requests_share_few_connections,
};
use crate::{Served, config, text};

/// One connection for all handlers of the executor, made by the first that needs it. The future
/// that drives it runs on the companion.
#[derive(Clone)]
pub(super) struct Database {
    address: tokio_postgres::Config,
    client: Arc<OnceCell<Client>>,
}

impl Database {
    pub(super) fn at(address: tokio_postgres::Config) -> Database {
        Database { address, client: Arc::default() }
    }

    async fn client(&self) -> &Client {
        let connect = || async {
            let connected = self.address.connect(NoTls).await;
            let (client, connection) = connected.expect("PostgreSQL is there");
            tokio::spawn(connection);
            client
        };
        self.client.get_or_init(connect).await
    }
}

fn address(postgres: &Postgres, application: &str) -> tokio_postgres::Config {
    postgres.url(application).parse().expect("an address")
}

fn socket(postgres: &Postgres, application: &str) -> tokio_postgres::Config {
    let (folder, port) = postgres.socket();
    let mut address = tokio_postgres::Config::new();
    address.host_path(folder).port(port).user("postgres").application_name(application);
    address
}

fn pool(postgres: &Postgres, application: &str) -> Pool {
    let manager = Manager::new(address(postgres, application), NoTls);
    Pool::builder(manager).max_size(POOL).build().expect("a pool")
}

pub(super) async fn adds(State(database): State<Database>) -> String {
    // The first takes a while, so that requests overlap on the one connection.
    let query = "select pg_sleep(0.02), 40::int8 + $1";
    let slept = database.client().await.query_one(query, &[&2_i64]);
    slept.await.expect("a row").get::<_, i64>(1).to_string()
}

#[test]
fn queries_of_several_requests_share_a_connection() {
    let Some(postgres) = Postgres::shared() else { return };
    for address in [address(&postgres, "by-tcp"), socket(&postgres, "by-unix-socket")] {
        let database = Database::at(address);
        let served =
            Served::start(move || Router::new().route("/", get(adds)).with_state(database.clone()));
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
    let pool = pool(&postgres, "deadpool");
    let served = Served::start(move || {
        let backend = async |State(pool): State<Pool>| {
            let client = pool.get().await.expect("a connection");
            let query = "select pg_sleep(0.002), pg_backend_pid()";
            client.query_one(query, &[]).await.expect("a row").get::<_, i32>(1).to_string()
        };
        Router::new().route("/backend", get(backend)).with_state(pool.clone())
    });
    many_requests_share_few_connections(&served, &onlooker, "deadpool");
    served.stop();
    wait_until("its connections are gone", || onlooker.connections_of("deadpool") == 0);
}

#[test]
fn a_transaction_is_held_over_an_await() {
    let Some(postgres) = Postgres::shared() else { return };
    let onlooker = Onlooker::new(&postgres);
    onlooker.runs("create table transfers (amount int8)");
    let (halfway, told) = Halfway::new();
    let (pool, passed) = (pool(&postgres, "transactions"), halfway.clone());
    let served = Served::start(move || {
        let transfer = async |State((pool, halfway)): State<(Pool, Halfway)>| {
            let mut client = pool.get().await.expect("a connection");
            let transaction = client.transaction().await.expect("it begins");
            let insert = transaction.execute("insert into transfers values (1)", &[]);
            insert.await.expect("a row");
            halfway.pass().await;
            transaction.commit().await.expect("it is committed");
        };
        let breaks = async |State((pool, _)): State<(Pool, Halfway)>| {
            let mut client = pool.get().await.expect("a connection");
            let transaction = client.transaction().await.expect("it begins");
            let insert = transaction.execute("insert into transfers values (2)", &[]);
            insert.await.expect("a row");
            StatusCode::INTERNAL_SERVER_ERROR
        };
        Router::new()
            .route("/transfer", get(transfer))
            .route("/breaks", get(breaks))
            .with_state((pool.clone(), passed.clone()))
    });
    a_transaction_lives_over_awaits(&served, &onlooker, (halfway, told), "transfers");
    served.stop();
}

/// Notifications come to the future that drives the connection, on the companion; a channel brings
/// them to the handler.
async fn listens(State((address, halfway)): State<(tokio_postgres::Config, Halfway)>) -> String {
    let (client, mut connection) = address.connect(NoTls).await.expect("PostgreSQL is there");
    let (heard, mut hears) = mpsc::channel(8);
    tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(news) = message {
                let _ = heard.send(news.payload().to_owned()).await;
            }
        }
    });
    client.batch_execute("listen news").await.expect("it listens");
    halfway.reached.send(()).expect("the test waits");
    hears.recv().await.expect("news")
}

#[test]
fn a_listener_is_woken_by_a_notification() {
    let Some(postgres) = Postgres::shared() else { return };
    let (halfway, told) = Halfway::new();
    let address = address(&postgres, "listener");
    let served = Served::start(move || {
        let notifies = async |State((address, _)): State<(tokio_postgres::Config, Halfway)>| {
            let database = Database::at(address);
            let client = database.client().await;
            client.batch_execute("notify news, 'there is news'").await.expect("it is told");
        };
        Router::new()
            .route("/listen", get(listens))
            .route("/notify", get(notifies))
            .with_state((address.clone(), halfway.clone()))
    });
    a_notification_wakes_a_handler(&served, &told);
    served.stop();
}

/// Cancels the statement that runs when it is dropped.
struct CancelsOnDrop(CancelToken);

impl Drop for CancelsOnDrop {
    fn drop(&mut self) {
        let token = self.0.clone();
        tokio::spawn(async move { token.cancel_query(NoTls).await });
    }
}

/// Its time is over while its statement runs. What it leaves behind cancels the statement, so that
/// the pool has its connections again, long before that would have ended.
#[test]
fn a_handler_whose_time_is_over_cancels_its_statement() {
    let Some(postgres) = Postgres::shared() else { return };
    let onlooker = Onlooker::new(&postgres);
    let mut config = config();
    config.options.request_timeout_ms = 1000;
    let pool = pool(&postgres, "cancelled");
    let router = move || {
        let sleeps = async |State(pool): State<Pool>| {
            let client = pool.get().await.expect("a connection");
            let _cancels = CancelsOnDrop(client.cancel_token());
            client.execute("select pg_sleep(600)", &[]).await.expect("it is cancelled before");
        };
        let adds = async |State(pool): State<Pool>| {
            let client = pool.get().await.expect("a connection");
            client.query_one("select 42", &[]).await.expect("a row").get::<_, i32>(0).to_string()
        };
        Router::new().route("/sleeps", get(sleeps)).route("/", get(adds)).with_state(pool.clone())
    };
    let served = Served::start_with(config, router, |_| {});
    let start = Instant::now();
    for answer in ask_at_once(&served, "/sleeps", 2 * POOL) {
        assert_eq!(answer.status, 503);
    }
    wait_until("no statement runs", || {
        let query = "select count(*) from pg_stat_activity where state = 'active' \
                     and application_name = 'cancelled'";
        onlooker.number(query) == 0
    });
    wait_until("the pool works", || served.get("/").status == 200);
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    served.stop();
}
