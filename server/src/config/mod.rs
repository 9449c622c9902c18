//! Configuration: defaults, then `sidecore.toml`, then `SIDECORE_*` variables.
//!
//! ```toml
//! host = "127.0.0.1"
//! port = 8080
//!
//! [options]
//! worker_num = 2
//! task_worker_num = 2
//! ```
//!
//! ```
//! use sidecore::Config;
//!
//! // `Config::load()` takes the real file and the environment.
//! let config = Config::loader()
//!     .file_text("sidecore.toml", "port = 9000\n[options]\ntask_worker_num = 4\n")
//!     .variables([("SIDECORE_PORT", "9001")])
//!     .load()?;
//! assert_eq!((config.port, config.options.task_worker_num), (9001, Some(4)));
//!
//! let error = Config::loader().file_text("sidecore.toml", "prt = 1").variables([("", ""); 0]).load();
//! assert!(error.unwrap_err().to_string().contains("did you mean port?"));
//!
//! // Or in code, as tests do.
//! let mut config = Config::default();
//! config.options.task_worker_num = Some(1);
//! # Ok::<(), sidecore::config::ConfigError>(())
//! ```
//!
//! A further pool ([`TaskPool`](crate::tasks::TaskPool)) has a table of its own, with the keys of
//! `[options]` that begin with `task_`: `[pools.mail]`, or `SIDECORE_POOL_MAIL_TASK_WORKER_NUM`.
//!
//! A key that ends in `_ms` or `_us` takes a number of these, or a time with its unit: `"10s"`, of
//! `us`, `ms`, `s`, `m` and `h`.
//!
//! A variable that is set and empty counts as one that is not set, as templates leave it.
//!
//! Nothing is guessed: an unknown key, a value of the wrong type or out of range is refused with
//! the key's name and the file's line or the variable it came from. [`keys`] lists every key.

mod duration;
mod error;
mod file;
pub(crate) mod keys;
mod links;
pub(crate) mod listen;
mod loader;
mod nearest;
pub(crate) mod settings;
#[cfg(test)]
mod tests;
mod value;

pub use self::error::ConfigError;
pub use self::keys::{Key, keys};
pub use self::listen::{Listen, ListenError};
pub use self::loader::Loader;
pub use self::settings::{Options, Scheme, Source};
