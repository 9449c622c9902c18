//! What is wrong with a configuration, in one line: where, what, and what to write instead.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::config::settings::{PREFIX, Source};
use crate::config::value::Value;
use crate::config::{Key, keys, nearest};

/// A configuration that is refused.
#[derive(Clone)]
pub struct ConfigError {
    line: String,
    key: Option<&'static str>,
    /// Why its file could not be read.
    cause: Option<Arc<io::Error>>,
}

/// Where in the file a key stands.
#[derive(Clone, Copy)]
pub(super) enum Table {
    /// Before every table.
    Top,
    /// `[options]`
    Options,
    /// `[pools.<name>]`
    Pool,
}

/// What is said where no name is near.
const LISTED: &str = "tuning.md lists them";

impl ConfigError {
    /// The key at fault, if it is a known one.
    pub fn key(&self) -> Option<&'static str> {
        self.key
    }

    fn says(line: String, key: Option<&'static str>) -> Self {
        // Names may have a newline too, in quotes; what is said is one line all the same.
        let line = line.replace(char::is_control, "\u{fffd}");
        ConfigError { line, key, cause: None }
    }

    pub(super) fn value(
        key: &'static Key,
        value: &Value,
        source: &Source,
        problem: String,
    ) -> Self {
        let line = match source {
            Source::Variable(name) => format!("{name}={}: {problem}", short(of_variable(value))),
            source => format!("{source}: {} = {}: {problem}", key.name, short(value.to_string())),
        };
        ConfigError::says(line, Some(key.name))
    }

    /// Of keys that do not go together, which were set in these places.
    pub(super) fn relation(sources: &[Source], problem: &str) -> Self {
        let sources = sources.iter().map(Source::to_string).collect::<Vec<_>>().join(" and ");
        ConfigError::says(format!("{sources}: {problem}"), None)
    }

    pub(super) fn syntax(source: Source, message: &str) -> Self {
        let message = message.lines().collect::<Vec<_>>().join("; ");
        ConfigError::says(format!("{source}: {message}"), None)
    }

    /// Of a key that its table does not take.
    pub(super) fn not_here(name: &str, table: Table, source: &Source) -> Self {
        let is_not = match table {
            Table::Pool => "is not a key of a pool",
            Table::Top | Table::Options => "is not a known key",
        };
        let (problem, key) = match nearest::key(name, keys().iter()) {
            Some(key) if key.name == name => match table {
                Table::Pool => (format!("{is_not}: it {}", belongs(key)), Some(key.name)),
                Table::Top | Table::Options => (belongs(key).to_owned(), Some(key.name)),
            },
            Some(key) if table.takes(key) => {
                (format!("{is_not}; did you mean {}?", key.name), None)
            }
            Some(key) => {
                let belongs = belongs(key);
                (format!("{is_not}; did you mean {}, which {belongs}?", key.name), None)
            }
            None => (format!("{is_not}; {LISTED}"), None),
        };
        ConfigError::says(format!("{source}: {name} {problem}"), key)
    }

    pub(super) fn unknown_table(name: &str, known: &[&str], source: &Source) -> Self {
        let hint = match nearest::nearest(name, known.iter().map(|known| (*known, known))) {
            Some((_, known)) => format!("did you mean [{known}]?"),
            None => LISTED.to_owned(),
        };
        ConfigError::says(format!("{source}: {name} is not a known table; {hint}"), None)
    }

    pub(super) fn unknown_pool(name: &str, source: &Source, known: &[&str]) -> Self {
        let known = match known {
            [] => "this server has none but the one of [options]".to_owned(),
            known => format!("those of this server are {}", known.join(", ")),
        };
        ConfigError::says(format!("{source}: there is no pool {name}; {known}"), None)
    }

    /// `others` are the variables of the application's own.
    pub(super) fn unknown_variable(name: &str, others: &[String]) -> Self {
        let hint = nearest::variable(name, others).unwrap_or_else(|| LISTED.to_owned());
        let line = format!("{name} is not a known variable, and {PREFIX} is this server's; {hint}");
        ConfigError::says(line, None)
    }

    pub(super) fn variable_not_text(name: &str) -> Self {
        ConfigError::says(format!("{name} is not UTF-8: give it as text"), None)
    }

    pub(super) fn unreadable(path: &Path, error: io::Error) -> Self {
        let line = format!(
            "{} cannot be read: {error}; mend its path (SIDECORE_CONFIG) or its permissions",
            path.display()
        );
        ConfigError { line, key: None, cause: Some(Arc::new(error)) }
    }
}

impl Table {
    pub(super) fn takes(self, key: &Key) -> bool {
        match self {
            Table::Top => !key.is_option,
            Table::Options => key.is_option,
            Table::Pool => key.is_of_pools(),
        }
    }
}

fn belongs(key: &Key) -> &'static str {
    match key.is_option {
        true => "belongs under [options]",
        false => "belongs at the top of the file, before [options]",
    }
}

/// A variable's text as it is, unless that would not be seen, or not be one line: a secret's file
/// may end in a newline.
fn of_variable(value: &Value) -> String {
    match value {
        Value::Text(text) if text.trim() == text && !text.contains(char::is_control) => {
            text.clone()
        }
        value => value.to_string(),
    }
}

fn short(shown: String) -> String {
    match shown.chars().count() > 60 {
        true => format!("{}...", shown.chars().take(60).collect::<String>()),
        false => shown,
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

/// What they say counts.
impl PartialEq for ConfigError {
    fn eq(&self, other: &Self) -> bool {
        (&self.line, self.key) == (&other.line, other.key)
    }
}

impl Eq for ConfigError {}

/// As it is displayed, for a `main` that returns it.
impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}
