//! Drivers of tokio's against a real PostgreSQL, which the tests start themselves.

mod drivers_end;
mod over_sqlx;
mod over_tokio_postgres;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use sidecore_tests::{Answer, Client, Postgres, wait_until};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio_postgres::NoTls;

use crate::{Served, text};

/// Connections of each pool here.
const POOL: usize = 4;

/// Whoever looks at the database from outside of the server.
struct Onlooker {
    runtime: Runtime,
    client: tokio_postgres::Client,
}

impl Onlooker {
    fn new(postgres: &Postgres) -> Onlooker {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let address = postgres.url("onlooker");
        let connected = tokio_postgres::connect(&address, NoTls);
        let (client, connection) = runtime.block_on(connected).expect("PostgreSQL is there");
        runtime.spawn(connection);
        Onlooker { runtime, client }
    }

    fn runs(&self, statements: &str) {
        self.runtime.block_on(self.client.batch_execute(statements)).expect("it is done");
    }

    fn number(&self, query: &str) -> i64 {
        self.runtime.block_on(self.client.query_one(query, &[])).expect("a row").get(0)
    }

    fn connections_of(&self, application: &str) -> i64 {
        self.number(&format!(
            "select count(*) from pg_stat_activity where application_name = '{application}'"
        ))
    }
}

/// A handler tells the test that it has come to a point, and waits there until it may go on.
#[derive(Clone)]
struct Halfway {
    reached: Sender<()>,
    released: Arc<Notify>,
}

impl Halfway {
    fn new() -> (Halfway, Receiver<()>) {
        let (reached, told) = channel();
        (Halfway { reached, released: Arc::default() }, told)
    }

    /// A wait for another thread, which is over before a timer of tokio's is too.
    async fn pass(&self) {
        self.reached.send(()).expect("the test waits");
        self.released.notified().await;
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

/// A client that has asked and does not wait for the answer.
fn asks(served: &Served, path: &str) -> Client {
    let mut client = Client::connect(served.running().address());
    client.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
    client
}

/// So many requests at once, each on a connection of its own.
fn ask_at_once(served: &Served, path: &str, count: usize) -> Vec<Answer> {
    let mut clients: Vec<_> = (0..count).map(|_| asks(served, path)).collect();
    clients.iter_mut().map(Client::answer).collect()
}

/// Whether the handlers at `/backend`, each of which tells the process that served its query,
/// share the connections of a pool.
fn many_requests_share_few_connections(served: &Served, onlooker: &Onlooker, application: &str) {
    for _ in 0..4 {
        let answers = ask_at_once(served, "/backend", 64);
        let backends: BTreeSet<String> = answers
            .iter()
            .inspect(|answer| assert_eq!(answer.status, 200, "{}", text(answer)))
            .map(|answer| text(answer).to_owned())
            .collect();
        assert_eq!(backends.len(), POOL, "{backends:?}");
        assert_eq!(onlooker.connections_of(application), POOL as i64);
    }
}

/// Whether `/transfer` commits after it was let pass, while nobody sees its row before, and whether
/// `/breaks`, which fails after its insert, leaves none.
fn a_transaction_lives_over_awaits(
    served: &Served,
    onlooker: &Onlooker,
    (halfway, told): (Halfway, Receiver<()>),
    table: &str,
) {
    let rows = || onlooker.number(&format!("select count(*) from {table}"));
    let mut client = asks(served, "/transfer");
    told.recv().expect("it is halfway");
    assert_eq!(rows(), 0, "it is seen before the commit");
    assert_eq!(served.get("/breaks").status, 500);
    halfway.released.notify_one();
    assert_eq!(client.answer().status, 200);
    assert_eq!(rows(), 1);
    wait_until("what broke has let its row go", || {
        onlooker.number("select count(*) from pg_stat_activity where state like 'idle in%'") == 0
    });
    assert_eq!(rows(), 1);
}

/// Whether `/listen`, which answers with the first notification it gets, is woken by `/notify`.
fn a_notification_wakes_a_handler(served: &Served, told: &Receiver<()>) {
    for _ in 0..3 {
        let mut client = asks(served, "/listen");
        told.recv().expect("it listens");
        assert_eq!(served.get("/notify").status, 200);
        assert_eq!(text(&client.answer()), "there is news");
    }
}
