//! How a configuration is read: the file, then the variables over it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::config::error::ConfigError;
use crate::config::keys::{Key, keys};
use crate::config::settings::{Config, PREFIX, Source};
use crate::config::value::Value;
use crate::config::{file, links};

/// The file that is read where `SIDECORE_CONFIG` names no other.
const DEFAULT_FILE: &str = "sidecore.toml";
pub(super) const POOL_PREFIX: &str = "SIDECORE_POOL_";
pub(super) const FILE_VARIABLE: &str = "SIDECORE_CONFIG";
/// Variables of the benches and tests, which share the prefix.
const RESERVED: [&str; 3] = ["SIDECORE_BUDGET_", "SIDECORE_BENCH_", "SIDECORE_TEST_"];

/// Reads a configuration from places of the caller's choice.
#[derive(Debug, Default)]
pub struct Loader {
    file: Option<(PathBuf, String)>,
    variables: Option<Vec<(OsString, OsString)>>,
    allowed: Vec<String>,
    /// The file that the variable names.
    named: Option<PathBuf>,
}

impl Loader {
    /// Takes `text` for the file at `path`, instead of reading one.
    pub fn file_text(mut self, path: impl AsRef<Path>, text: impl Into<String>) -> Self {
        self.file = Some((path.as_ref().to_owned(), text.into()));
        self
    }

    /// Takes these for the environment.
    pub fn variables<K: Into<OsString>, V: Into<OsString>>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        self.variables = Some(variables.collect());
        self
    }

    /// Leaves a variable of the application's own alone, such as `SIDECORE_APPEND_FILE`.
    pub fn allow_variable(mut self, name: impl Into<String>) -> Self {
        self.allowed.push(name.into());
        self
    }

    /// Reads, checks and returns the configuration.
    ///
    /// # Errors
    /// [`ConfigError`], which names the place and what to write instead.
    pub fn load(mut self) -> Result<Config, ConfigError> {
        let variables = self.take_variables()?;
        let mut config = Config::default();
        if let Some((path, text)) = self.take_file()? {
            file::apply(&mut config, Some(&path), &text)?;
        }
        let (linked, variables): (Vec<_>, Vec<_>) =
            variables.into_iter().partition(|(name, value)| links::is_link(name, value));
        let linked: Vec<String> = linked.into_iter().map(|(name, _)| name).collect();
        config.notes.extend(links::note(&linked));
        for (name, value) in variables {
            if let Some((pool, key)) = key_of_pool(&name) {
                config.set_of_pool(&pool, key, &Value::Text(value), Source::Variable(name))?;
                continue;
            }
            let key = keys().iter().find(|key| key.variable() == name);
            let Some(key) = key else {
                return Err(ConfigError::unknown_variable(&name, &self.allowed));
            };
            config.set(key, &Value::Text(value), Source::Variable(name))?;
        }
        config.validate()?;
        Ok(config)
    }

    fn is_foreign(&self, name: &str) -> bool {
        RESERVED.iter().any(|prefix| name.starts_with(prefix))
            || self.allowed.iter().any(|allowed| allowed == name)
    }

    /// The variables with the prefix that are set and nobody else's, in the order of their names.
    /// The one that names the file is none of them.
    fn take_variables(&mut self) -> Result<BTreeMap<String, String>, ConfigError> {
        let all = self.variables.take().unwrap_or_else(|| std::env::vars_os().collect());
        let mut variables = BTreeMap::new();
        for (name, value) in all {
            let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else {
                continue;
            };
            if value.is_empty() || self.is_foreign(name) {
                continue;
            }
            if name == FILE_VARIABLE {
                self.named = Some(PathBuf::from(value));
                continue;
            }
            let value = value.into_string().map_err(|_| ConfigError::variable_not_text(name))?;
            variables.insert(name.to_owned(), value);
        }
        Ok(variables)
    }

    fn take_file(&mut self) -> Result<Option<(PathBuf, String)>, ConfigError> {
        if let Some(file) = self.file.take() {
            return Ok(Some(file));
        }
        let named = self.named.take();
        let path = named.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
        match std::fs::read(&path) {
            Ok(bytes) => {
                let text = file::text(&path, bytes)?;
                Ok(Some((path, text)))
            }
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
                Ok(None)
            }
            Err(error) => Err(ConfigError::unreadable(&path, error)),
        }
    }
}

/// Of `SIDECORE_POOL_MAIL_TASK_QUEUE_DEPTH`: `mail` and the key `task_queue_depth`.
fn key_of_pool(variable: &str) -> Option<(String, &'static Key)> {
    let rest = variable.strip_prefix(POOL_PREFIX)?.to_lowercase();
    keys().iter().filter(|key| key.is_of_pools()).find_map(|key| {
        let pool = rest.strip_suffix(key.name)?.strip_suffix('_')?;
        (!pool.is_empty()).then(|| (pool.to_owned(), key))
    })
}
