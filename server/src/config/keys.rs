//! Every key of the configuration, in one table: what the file, the variables, the errors and the
//! documents know of them comes from here.

use sidecore_runtime::machine::cpu_list::CpuList;

use std::path::PathBuf;

use crate::codec::head::HEADER_COUNT_CAP;
use crate::codec::target::URI_MAX_BYTES;
use crate::config::settings::{Config, Options};

/// One key.
#[derive(Debug)]
pub struct Key {
    /// Its name in the file; its variable is `SIDECORE_` and the name in capitals.
    pub name: &'static str,
    /// What it means, and its unit.
    pub meaning: &'static str,
    /// Whether it stands under `[options]` rather than at the top of the file.
    pub is_option: bool,
    pub(super) field: Field,
}

/// The field a key sets, with the range of what it takes.
#[derive(Debug)]
pub(super) enum Field {
    Host,
    Port,
    Scheme,
    Files { get: fn(&mut Config) -> &mut Vec<PathBuf> },
    Listen,
    Number { get: fn(&mut Options) -> &mut u64, min: u64, max: u64, power_of_two: bool },
    Count { get: fn(&mut Options) -> &mut usize, min: u64, max: u64 },
    MaybeCount { get: fn(&mut Options) -> &mut Option<usize>, min: u64, max: u64 },
    MaybeNumber { get: fn(&mut Options) -> &mut Option<u64>, min: u64, max: u64 },
    Cpus { get: fn(&mut Options) -> &mut Option<CpuList> },
    MaybeSwitch { get: fn(&mut Options) -> &mut Option<bool> },
}

/// A day: longer time limits are taken for mistakes.
const DAY_MS: u64 = 86_400_000;

macro_rules! number {
    ($field:ident, $min:expr, $max:expr) => {
        Field::Number { get: |o| &mut o.$field, min: $min, max: $max, power_of_two: false }
    };
    ($field:ident, $min:expr, $max:expr, power of two) => {
        Field::Number { get: |o| &mut o.$field, min: $min, max: $max, power_of_two: true }
    };
}

macro_rules! count {
    ($field:ident, $min:expr, $max:expr) => {
        Field::Count { get: |o| &mut o.$field, min: $min, max: $max }
    };
    ($field:ident, $min:expr, $max:expr, or auto) => {
        Field::MaybeCount { get: |o| &mut o.$field, min: $min, max: $max }
    };
}

const fn top(name: &'static str, field: Field, meaning: &'static str) -> Key {
    Key { name, meaning, is_option: false, field }
}

const fn option(name: &'static str, field: Field, meaning: &'static str) -> Key {
    Key { name, meaning, is_option: true, field }
}

/// All keys, in the order of the documents.
pub fn keys() -> &'static [Key] {
    &KEYS
}

static KEYS: [Key; 45] = [
    top(
        "host",
        Field::Host,
        "address to listen on: an IP address or localhost; none: at `listen` alone",
    ),
    top("port", Field::Port, "port to listen on; 0 takes a free one"),
    top(
        "scheme",
        Field::Scheme,
        "what is spoken there: http, or https with tls_certificate; then proxy",
    ),
    top(
        "listen",
        Field::Listen,
        "where to listen too: addresses with ports, unix:/path mode=660, systemd, systemd:NAME; then tls, proxy",
    ),
    top(
        "tls_certificate",
        Field::Files { get: |config| &mut config.tls_certificate },
        "PEM files of certificates, each with its chain; the first is for unknown names",
    ),
    top(
        "tls_key",
        Field::Files { get: |config| &mut config.tls_key },
        "PEM files of their keys, in the same order",
    ),
    option("worker_num", count!(worker_num, 1, 1024, or auto), "executors; auto from the CPUs"),
    option(
        "task_worker_num",
        count!(task_worker_num, 0, 1024, or auto),
        "task workers; 0 for none, auto from the CPUs",
    ),
    option(
        "worker_cpus",
        Field::Cpus { get: |o| &mut o.worker_cpus },
        "CPUs of the executors, such as 0-3,8; auto from the topology",
    ),
    option(
        "task_worker_cpus",
        Field::Cpus { get: |o| &mut o.task_worker_cpus },
        "CPUs of the task workers; auto from the topology",
    ),
    option(
        "task_queue_depth",
        count!(task_queue_depth, 1, 1 << 24),
        "tasks of each priority that may wait in the queue before a dispatch is refused",
    ),
    option(
        "task_credits",
        count!(task_credits, 1, 1 << 24, or auto),
        "tasks an executor may have in the queue and running; auto: as many as both take",
    ),
    option(
        "task_delayed_max",
        count!(task_delayed_max, 0, 1 << 24),
        "tasks of an executor that may sleep: delayed, or paused before another attempt",
    ),
    option(
        "task_spin_us",
        Field::MaybeNumber { get: |o| &mut o.task_spin_us, min: 0, max: 1_000_000 },
        "microseconds an idle task worker spins before it sleeps; auto: by its CPU",
    ),
    option(
        "task_recycle_after",
        Field::MaybeNumber { get: |o| &mut o.task_recycle_after, min: 1, max: 1 << 50 },
        "tasks after which a task worker is made anew; auto: never",
    ),
    option(
        "task_stuck_after_ms",
        Field::MaybeNumber { get: |o| &mut o.task_stuck_after_ms, min: 1, max: DAY_MS },
        "milliseconds after which a running task is reported as stuck; auto: nobody looks",
    ),
    option(
        "task_stack_signal",
        Field::MaybeNumber { get: |o| &mut o.task_stack_signal, min: 0, max: 30 },
        "n of SIGRTMIN+n, which reads the stacks of stuck tasks; 0 for none, auto: 10 with stacks",
    ),
    option(
        "task_spares",
        count!(task_spares, 0, 64),
        "task workers that may stand in for those whose task is stuck",
    ),
    option(
        "executor_spin_us",
        number!(executor_spin_us, 0, 1_000_000),
        "microseconds an idle executor spins before it sleeps",
    ),
    option(
        "executor_blocked_after_ms",
        number!(executor_blocked_after_ms, 0, DAY_MS),
        "milliseconds of one poll after which an executor is reported as blocked; 0: nobody looks",
    ),
    option(
        "executor_gather_us",
        number!(executor_gather_us, 0, 10_000),
        "microseconds a busy executor may wait to serve requests together; 0 for none",
    ),
    option(
        "head_timeout_ms",
        number!(head_timeout_ms, 1, DAY_MS),
        "for a request's head, from its first byte, else 408; of the first one from the accept on",
    ),
    option(
        "body_timeout_ms",
        number!(body_timeout_ms, 1, DAY_MS),
        "for a body to go on at its least rate, else 408",
    ),
    option(
        "body_rate_min_bytes_per_s",
        number!(body_rate_min_bytes_per_s, 0, 1 << 30),
        "least rate of a body, averaged over body_timeout_ms; with 0 any byte will do",
    ),
    option(
        "keep_alive_timeout_ms",
        number!(keep_alive_timeout_ms, 1, DAY_MS),
        "for the first byte of a connection's next request",
    ),
    option(
        "write_timeout_ms",
        number!(write_timeout_ms, 1, DAY_MS),
        "for a peer to take what was written, or the next 64 KiB of it",
    ),
    option(
        "request_timeout_ms",
        number!(request_timeout_ms, 0, DAY_MS),
        "for a request from its head's end to its answer's, else 503, or 408 in its body; 0 for none",
    ),
    option(
        "half_close_timeout_ms",
        number!(half_close_timeout_ms, 1, DAY_MS),
        "for an answer, or its next part, once the peer has ended its side",
    ),
    option(
        "linger_timeout_ms",
        number!(linger_timeout_ms, 1, DAY_MS),
        "for the peer's end after ours, or more of what it still sends",
    ),
    option(
        "accept_timeout_ms",
        number!(accept_timeout_ms, 0, DAY_MS),
        "for room among connections_max, else 503; 0 for no limit",
    ),
    option(
        "drain_timeout_ms",
        number!(drain_timeout_ms, 0, DAY_MS),
        "for requests and tasks at shutdown",
    ),
    option(
        "head_size_max_bytes",
        count!(head_size_max_bytes, 256, 1 << 20),
        "of a request's head, else 431",
    ),
    option(
        "header_count_max",
        count!(header_count_max, 1, HEADER_COUNT_CAP as u64),
        "fields of a head, else 431",
    ),
    option(
        "target_length_max_bytes",
        count!(target_length_max_bytes, 16, URI_MAX_BYTES as u64),
        "of a target, else 414",
    ),
    option(
        "raw_utf8",
        Field::MaybeSwitch { get: |o| &mut o.raw_utf8 },
        "characters outside ASCII in targets and Host, unencoded: on, off (400); auto: off",
    ),
    option(
        "body_size_max_bytes",
        number!(body_size_max_bytes, 0, 1 << 50),
        "of a request's body, in chunks or not, else 413",
    ),
    option(
        "requests_per_connection_max",
        number!(requests_per_connection_max, 0, 1 << 50),
        "requests after which a connection closes; 0 for no limit",
    ),
    option(
        "http2",
        Field::MaybeSwitch { get: |o| &mut o.http2 },
        "HTTP/2 over TLS where the client asks for it, and without TLS where it begins with it: on, off; \
         auto: where it is built in",
    ),
    option(
        "http2_streams_max",
        count!(http2_streams_max, 1, 1000),
        "requests that an HTTP/2 connection may have open at once; more are refused",
    ),
    option(
        "connections_max",
        count!(connections_max, 1, 1 << 22),
        "connections of an executor; more wait in the backlog",
    ),
    option(
        "listen_backlog",
        number!(listen_backlog, 1, 65_535),
        "connections that wait to be accepted",
    ),
    option(
        "recv_buffers",
        number!(recv_buffers, 2, 32_768, power of two),
        "receive buffers of an executor; a power of two",
    ),
    option(
        "recv_buffer_bytes",
        number!(recv_buffer_bytes, 512, 65_536),
        "size of a receive buffer",
    ),
    option(
        "ring_entries",
        number!(ring_entries, 64, 32_768, power of two),
        "submission entries of an executor's ring; a power of two",
    ),
    option(
        "tasks_remembered",
        count!(tasks_remembered, 0, 1 << 24),
        "finished tasks whose state can be asked for",
    ),
];
