//! The settings, and where each came from.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::Deserialize;
use sidecore_runtime::machine::cpu_list::CpuList;
use sidecore_runtime::pool::DELAYED_MAX_DEFAULT;

use crate::config::error::ConfigError;
use crate::config::keys::{Key, keys};
use crate::config::listen::Listen;
use crate::config::loader::Loader;
use crate::config::value::Value;
use crate::config::{file, value};

pub(crate) const PREFIX: &str = "SIDECORE_";
/// The host that is none.
pub(crate) const NO_HOST: &str = "none";

/// The configuration of a server: defaults, then `sidecore.toml`, then `SIDECORE_*` variables, as the
/// example of [its module](crate::config) shows.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The IP address to listen on, or `localhost`; `none` listens at the others in `listen` alone.
    pub host: String,
    /// The port to listen on; 0 takes a free one.
    pub port: u16,
    /// What is spoken at host and port.
    pub scheme: Scheme,
    /// Whether the PROXY protocol comes first there ([`Listen::proxied`]): `proxy` behind the
    /// scheme, such as `https proxy`.
    pub proxy: bool,
    /// Files of certificates, and of their keys in the same order, for the listeners that speak TLS.
    pub tls_certificate: Vec<PathBuf>,
    /// The keys of `tls_certificate`.
    pub tls_key: Vec<PathBuf>,
    /// Where to listen too.
    pub listen: Vec<Listen>,
    /// All else.
    pub options: Options,
    sources: BTreeMap<&'static str, Source>,
    pools: BTreeMap<String, PoolTable>,
    /// What the operator should know, as start-up lines.
    pub(crate) notes: Vec<String>,
}

/// What the file and the variables say of one further pool. Of its options only the `task_*` ones
/// that stand in `sources` count.
#[derive(Clone, Debug, Default)]
pub(super) struct PoolTable {
    options: Options,
    sources: BTreeMap<&'static str, Source>,
    /// Where the pool was named first.
    source: Source,
}

/// The keys under `[options]`; [`keys`] says what each takes, and its default.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Executors; `None`: from the CPUs.
    pub worker_num: Option<usize>,
    /// Task workers; 0 for none, `None`: from the CPUs.
    pub task_worker_num: Option<usize>,
    /// CPUs of the executors, such as `0-3,8`; `None`: from the topology.
    pub worker_cpus: Option<CpuList>,
    /// CPUs of the task workers; `None`: from the topology.
    pub task_worker_cpus: Option<CpuList>,
    /// Tasks of each priority that may wait in the queue before a dispatch is refused.
    pub task_queue_depth: usize,
    /// Tasks an executor may have in the queue and running; `None`: as many as both take.
    pub task_credits: Option<usize>,
    /// Tasks of an executor that may sleep: delayed, or paused before another attempt.
    pub task_delayed_max: usize,
    /// Microseconds an idle task worker spins before it sleeps; `None`: by its CPU.
    pub task_spin_us: Option<u64>,
    /// Tasks after which a task worker is made anew; `None`: never.
    pub task_recycle_after: Option<u64>,
    /// Milliseconds after which a running task is reported as stuck; `None`: nobody looks.
    pub task_stuck_after_ms: Option<u64>,
    /// The number n of SIGRTMIN+n, which reads the stacks of stuck tasks; 0 for none, `None`: 10 in
    /// builds with stacks.
    pub task_stack_signal: Option<u64>,
    /// Task workers that may stand in for those whose task is stuck.
    pub task_spares: usize,
    /// Microseconds an idle executor spins before it sleeps.
    pub executor_spin_us: u64,
    /// Milliseconds of one poll after which an executor is reported as blocked; 0: nobody looks.
    pub executor_blocked_after_ms: u64,
    /// Microseconds a busy executor may wait to serve requests together; 0 for none.
    pub executor_gather_us: u64,
    /// Milliseconds for a head from its first byte on, of the first one from the accept on; else 408.
    pub head_timeout_ms: u64,
    /// Milliseconds in which a body has to go on at its least rate; else 408.
    pub body_timeout_ms: u64,
    /// The least rate of a body in bytes a second, averaged over `body_timeout_ms`; with 0 any byte
    /// will do.
    pub body_rate_min_bytes_per_s: u64,
    /// Milliseconds for the first byte of a connection's next request.
    pub keep_alive_timeout_ms: u64,
    /// Milliseconds for a peer to take what was written, or the next 64 KiB of it.
    pub write_timeout_ms: u64,
    /// Milliseconds for a request, from its head's end to its answer's; else 503, or 408 in its body.
    /// 0: no limit.
    pub request_timeout_ms: u64,
    /// Milliseconds for an answer, or its next part, once the peer has ended its side.
    pub half_close_timeout_ms: u64,
    /// Milliseconds for the peer's end after ours, or for more of what it still sends.
    pub linger_timeout_ms: u64,
    /// Milliseconds for room among `connections_max`, else 503; 0: no limit.
    pub accept_timeout_ms: u64,
    /// Milliseconds for requests and tasks at the shutdown.
    pub drain_timeout_ms: u64,
    /// The most bytes of a request's head; else 431.
    pub head_size_max_bytes: usize,
    /// The most fields of a head; else 431.
    pub header_count_max: usize,
    /// The most bytes of a target; else 414.
    pub target_length_max_bytes: usize,
    /// Whether characters outside ASCII may stand in targets and Host unencoded, else 400; `None`: they
    /// may not.
    pub raw_utf8: Option<bool>,
    /// The most bytes of a request's body, in chunks or not; else 413.
    pub body_size_max_bytes: u64,
    /// Requests after which a connection closes; 0 for no limit.
    pub requests_per_connection_max: u64,
    /// Whether HTTP/2 is spoken, over TLS where the client asks for it and without TLS where it begins
    /// with it; `None`: where it is built in.
    pub http2: Option<bool>,
    /// Requests that an HTTP/2 connection may have open at once; more are refused.
    pub http2_streams_max: usize,
    /// Connections of an executor; more wait in the backlog.
    pub connections_max: usize,
    /// Connections that wait to be accepted.
    pub listen_backlog: u64,
    /// Receive buffers of an executor; a power of two.
    pub recv_buffers: u64,
    /// The size of a receive buffer, in bytes.
    pub recv_buffer_bytes: u64,
    /// Submission entries of an executor's ring; a power of two.
    pub ring_entries: u64,
    /// Finished tasks whose state can be asked for.
    pub tasks_remembered: usize,
}

/// What is spoken on a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// HTTP without TLS.
    #[default]
    Http,
    /// HTTP over TLS. Needs the feature `tls` of this crate.
    Https,
}

/// Where a value came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// It is the default.
    #[default]
    Default,
    /// A line of a file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// A configuration that is part of a larger one, whose lines are not known here.
    Embedded,
    /// An environment variable.
    Variable(String),
}

impl Default for Options {
    fn default() -> Self {
        Options {
            worker_num: None,
            task_worker_num: None,
            worker_cpus: None,
            task_worker_cpus: None,
            task_queue_depth: 1024,
            task_credits: None,
            task_delayed_max: DELAYED_MAX_DEFAULT,
            task_spin_us: None,
            task_recycle_after: None,
            task_stuck_after_ms: None,
            task_stack_signal: None,
            task_spares: 1,
            executor_spin_us: 0,
            executor_blocked_after_ms: 500,
            executor_gather_us: 10,
            head_timeout_ms: 10_000,
            body_timeout_ms: 30_000,
            body_rate_min_bytes_per_s: 256,
            keep_alive_timeout_ms: 75_000,
            write_timeout_ms: 30_000,
            request_timeout_ms: 0,
            half_close_timeout_ms: 30_000,
            linger_timeout_ms: 2_000,
            accept_timeout_ms: 1_000,
            drain_timeout_ms: 30_000,
            head_size_max_bytes: 64 * 1024,
            header_count_max: 200,
            target_length_max_bytes: 16 * 1024,
            raw_utf8: None,
            body_size_max_bytes: 16 << 20,
            requests_per_connection_max: 0,
            http2: None,
            http2_streams_max: 128,
            connections_max: 16_384,
            listen_backlog: 4096,
            recv_buffers: 1024,
            recv_buffer_bytes: 4096,
            ring_entries: 1024,
            tasks_remembered: 4096,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            host: "127.0.0.1".to_owned(),
            port: 8080,
            scheme: Scheme::default(),
            proxy: false,
            tls_certificate: Vec::new(),
            tls_key: Vec::new(),
            listen: Vec::new(),
            options: Options::default(),
            sources: BTreeMap::new(),
            pools: BTreeMap::new(),
            notes: Vec::new(),
        }
    }
}

impl Config {
    /// The listener of host and port, unless the host is `none`.
    pub(crate) fn main_listen(&self) -> Option<Listen> {
        if self.host == NO_HOST {
            return None;
        }
        // The host was checked: an address, or `localhost`.
        let host = self.host.parse().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let mut listen = Listen::tcp(SocketAddr::new(host, self.port));
        listen.secure = self.scheme == Scheme::Https;
        listen.proxied = self.proxy;
        Some(listen)
    }

    /// Reads `sidecore.toml` of the working directory, if there is one, or the file that
    /// `SIDECORE_CONFIG` names, then the variables.
    ///
    /// # Errors
    /// [`ConfigError`], which names the place and what to write instead.
    pub fn load() -> Result<Config, ConfigError> {
        Config::loader().load()
    }

    /// Reads from places of the caller's choice.
    pub fn loader() -> Loader {
        Loader::default()
    }

    /// Where the value of a key came from.
    pub fn source_of(&self, key: &str) -> Source {
        self.sources.get(key).cloned().unwrap_or_default()
    }

    /// The options of a further pool: `defaults`, and over them what `[pools.<name>]` and the
    /// variables `SIDECORE_POOL_<NAME>_*` say.
    pub(crate) fn pool(&self, name: &str, defaults: Options) -> Options {
        let Some(table) = self.pools.get(name) else { return defaults };
        let set = keys().iter().filter(|key| table.sources.contains_key(key.name));
        set.fold(defaults, |mut options, key| {
            value::copy(key, &table.options, &mut options);
            options
        })
    }

    /// A pool that is configured and is none of `known`.
    pub(crate) fn check_pools(&self, known: &[&str]) -> Result<(), ConfigError> {
        match self.pools.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some((name, table)) => Err(ConfigError::unknown_pool(name, &table.source, known)),
        }
    }

    pub(super) fn set(
        &mut self,
        key: &'static Key,
        value: &Value,
        source: Source,
    ) -> Result<(), ConfigError> {
        value::set(self, key, value)
            .map_err(|problem| ConfigError::value(key, value, &source, problem))?;
        self.sources.insert(key.name, source);
        Ok(())
    }

    pub(super) fn set_of_pool(
        &mut self,
        pool: &str,
        key: &'static Key,
        value: &Value,
        source: Source,
    ) -> Result<(), ConfigError> {
        let table = self.pool_table(pool, &source);
        value::set_option(&mut table.options, key, value)
            .map_err(|problem| ConfigError::value(key, value, &source, problem))?;
        table.sources.insert(key.name, source);
        Ok(())
    }

    /// The table of a pool, which is there from its first mention on.
    pub(super) fn pool_table(&mut self, pool: &str, source: &Source) -> &mut PoolTable {
        let first = || PoolTable { source: source.clone(), ..PoolTable::default() };
        self.pools.entry(pool.to_owned()).or_insert_with(first)
    }

    /// Those of the places that set these keys.
    fn sources_of(&self, keys: [&str; 2]) -> Vec<Source> {
        keys.iter().filter_map(|key| self.sources.get(key)).cloned().collect()
    }

    /// Relations between keys.
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let options = &self.options;
        if options.target_length_max_bytes > options.head_size_max_bytes {
            return Err(ConfigError::relation(
                &self.sources_of(["target_length_max_bytes", "head_size_max_bytes"]),
                "target_length_max_bytes is above head_size_max_bytes, which holds the target: \
                 raise head_size_max_bytes or lower target_length_max_bytes",
            ));
        }
        if options.http2 == Some(true) && cfg!(not(feature = "http2")) {
            return Err(ConfigError::relation(
                &[self.source_of("http2")],
                "http2 is on and this program was built without it: build sidecore with its \
                 feature `http2`, or say auto",
            ));
        }
        if self.tls_certificate.len() != self.tls_key.len() {
            return Err(ConfigError::relation(
                &self.sources_of(["tls_certificate", "tls_key"]),
                "tls_certificate and tls_key differ in number: give each certificate its key, in \
                 the same order",
            ));
        }
        Ok(())
    }
}

impl Key {
    /// Whether it may stand in the table of a further pool too: `[pools.<name>]`.
    pub fn is_of_pools(&self) -> bool {
        self.name.starts_with("task_")
    }

    /// The variable that sets it.
    pub fn variable(&self) -> String {
        format!("{PREFIX}{}", self.name.to_uppercase())
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Default => f.write_str("default"),
            Source::File { path, line } => write!(f, "{}:{line}", path.display()),
            Source::Embedded => f.write_str("configuration"),
            Source::Variable(name) => f.write_str(name),
        }
    }
}

/// A configuration is also a serde value, for applications that keep it inside their own: the
/// same shape as the file, with the same checks.
impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let table = toml::Table::deserialize(deserializer)?;
        let text = toml::to_string(&table).map_err(D::Error::custom)?;
        let mut config = Config::default();
        file::apply(&mut config, None, &text).map_err(D::Error::custom)?;
        config.validate().map_err(D::Error::custom)?;
        Ok(config)
    }
}
