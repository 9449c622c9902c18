//! A driver of tokio's against a real server, where there is one:
//!
//! ```sh
//! SIDECORE_TEST_POSTGRES='host=127.0.0.1 user=postgres' \
//!     cargo test --test companion postgres -- --ignored
//! ```

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use sidecore_tests::Client;
use tokio::sync::OnceCell;
use tokio_postgres::NoTls;

use crate::{Served, text};

/// One connection for all handlers of the executor, made by the first that needs it. The future
/// that drives it runs on the companion.
type Database = Arc<OnceCell<tokio_postgres::Client>>;

async fn database(database: &Database) -> &tokio_postgres::Client {
    database
        .get_or_init(|| async {
            let address = std::env::var("SIDECORE_TEST_POSTGRES").expect("it says where");
            let connected = tokio_postgres::connect(&address, NoTls).await;
            let (client, connection) = connected.expect("PostgreSQL is there");
            tokio::spawn(connection);
            client
        })
        .await
}

async fn adds(State(shared): State<Database>) -> String {
    let client = database(&shared).await;
    // The first takes a while, so that requests overlap on the one connection.
    let slept = client.query_one("select pg_sleep(0.02), 40::int8 + $1", &[&2_i64]);
    slept.await.expect("a row").get::<_, i64>(1).to_string()
}

#[test]
#[ignore = "needs a PostgreSQL, which SIDECORE_TEST_POSTGRES names"]
fn queries_of_several_requests_share_a_connection() {
    let served =
        Served::start(|| Router::new().route("/", get(adds)).with_state(Arc::new(OnceCell::new())));
    let mut clients: Vec<_> = (0..8).map(|_| Client::connect(served.running().address())).collect();
    clients.iter_mut().for_each(|client| client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
    for client in &mut clients {
        assert_eq!(text(&client.answer()), "42");
    }
    served.stop();
}
