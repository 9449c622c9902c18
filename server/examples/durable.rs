//! Mails that no kill loses: each is on the disk before its request is answered.
//!
//! ```sh
//! cargo run --release -p sidecore --features durable --example durable
//! curl --json '{"to":"ada@example.org"}' http://127.0.0.1:8080/mails
//! curl --json '{"to":"bob@example.org","takes_ms":60000}' http://127.0.0.1:8080/mails
//! curl http://127.0.0.1:8080/stats
//! ```
//!
//! Kill it with `kill -9` while bob's mail is being sent, and start it again: the mail is sent anew,
//! as attempt 2. `cat /tmp/sidecore-durable/outbox` shows what was sent.
//!
//! The journal lies in SIDECORE_DATA_DIR, by default `/tmp/sidecore-durable`; the outbox too.

use std::convert::Infallible;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sidecore::durable::{Durable, DurableLimits, DurableTasks};
use sidecore::tasks::{Failure, Retry, TaskPool};
use sidecore::{Config, Incoming, Request, Response, Server, StatusCode, TaskContext};

const DATA_DIR: &str = "SIDECORE_DATA_DIR";

/// A job. It is what a client posts, and what the journal keeps.
#[derive(Clone, Serialize, Deserialize)]
struct Mail {
    to: String,
    #[serde(default)]
    takes_ms: u64,
    /// So many attempts fail.
    #[serde(default)]
    fails: u32,
}

fn main() -> sidecore::Result<()> {
    let config = Config::loader().allow_variable(DATA_DIR).load()?;
    let directory = std::env::var_os(DATA_DIR)
        .map_or_else(|| std::env::temp_dir().join("sidecore-durable"), PathBuf::from);
    // One process at a time has a journal open. What an earlier one left in it is run again.
    let journal = Durable::open(&directory, "mails", DurableLimits::default())?;
    eprintln!("{} mails are left from before", journal.stats().backlog);
    let outbox = directory.join("outbox");
    let mails = TaskPool::named("mails")
        .try_on_task(move |task, mail: Mail| send(task, &mail, &outbox))
        .on_finish(|finish, outcome| {
            if let Err(error) = outcome {
                eprintln!("task {} after {} attempts: {error}", finish.id, finish.attempts);
            }
        })
        .durable(&journal);
    let pool = mails.clone();
    Server::new(config).with_pool(&mails).serve(move |executor| {
        let tasks = pool.tasks(executor);
        tower::service_fn(move |request| answer(tasks.clone(), request))
    })?;
    // What the server did not get to is there at the next start.
    eprintln!("{} mails are kept for the next start", mails.stats().kept);
    Ok(())
}

/// May be called again for a mail that it has sent: the process may end before that is noted.
fn send(task: &TaskContext, mail: &Mail, outbox: &Path) -> Result<(), Failure> {
    std::thread::sleep(Duration::from_millis(mail.takes_ms));
    if task.attempt <= mail.fails {
        return Err(Failure::new("the mail server is asleep"));
    }
    let line = format!("{} {}\n", mail.to, task.attempt);
    let file = OpenOptions::new().create(true).append(true).open(outbox);
    file.and_then(|mut file| file.write_all(line.as_bytes())).map_err(Failure::new)
}

async fn answer(
    tasks: DurableTasks<Mail, ()>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    Ok(match path.as_str() {
        "/mails" => match request.into_body().collect().await {
            Ok(body) => post(&tasks, &body.to_bytes()).await,
            Err(cause) => reply(StatusCode::BAD_REQUEST, &json!({ "error": cause.to_string() })),
        },
        "/stats" => {
            let stats = tasks.stats();
            let counts = json!({ "appended": stats.appended, "acked": stats.acked,
                "dead": stats.dead, "redelivered": stats.redelivered, "kept": stats.kept });
            reply(StatusCode::OK, &counts)
        }
        _ => reply(StatusCode::NOT_FOUND, &json!({ "error": "there is nothing here" })),
    })
}

async fn post(tasks: &DurableTasks<Mail, ()>, body: &[u8]) -> Response<Full<Bytes>> {
    let mail: Mail = match serde_json::from_slice(body) {
        Ok(mail) => mail,
        Err(cause) => {
            return reply(StatusCode::BAD_REQUEST, &json!({ "error": cause.to_string() }));
        }
    };
    // 202 is a promise: the mail is on the disk.
    match tasks.job(mail).retry(Retry::times(5)).spawn().await {
        Ok(handle) => reply(StatusCode::ACCEPTED, &json!({ "task_id": handle.id() })),
        Err(refused) if refused.is_full() => {
            reply(StatusCode::SERVICE_UNAVAILABLE, &json!({ "error": refused.to_string() }))
        }
        Err(failed) => {
            reply(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "error": failed.to_string() }))
        }
    }
}

fn reply(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(format!("{body}\n"))));
    *response.status_mut() = status;
    response
}
