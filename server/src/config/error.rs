//! What is wrong with a configuration, in one line: where, what, and what to write instead.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::config::settings::{PREFIX, Source};
use crate::config::value::Value;
use crate::config::{Key, keys};

/// A configuration that is refused.
#[derive(Clone, Debug)]
pub struct ConfigError {
    line: String,
    key: Option<&'static str>,
    /// Why its file could not be read.
    cause: Option<Arc<io::Error>>,
}

impl ConfigError {
    /// The key at fault, if it is a known one.
    pub fn key(&self) -> Option<&'static str> {
        self.key
    }

    fn says(line: String, key: Option<&'static str>) -> Self {
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

    pub(super) fn misplaced(key: &'static Key, source: Source) -> Self {
        let advice = match key.is_option {
            true => "belongs under [options]",
            false => "belongs at the top of the file, before [options]",
        };
        ConfigError::says(format!("{source}: {} {advice}", key.name), Some(key.name))
    }

    pub(super) fn unknown_key(name: &str, source: Source) -> Self {
        let hint = nearest(name, keys().iter().map(|key| key.name.to_owned()));
        ConfigError::says(format!("{source}: {name} is not a known key; {hint}"), None)
    }

    pub(super) fn unknown_pool(name: &str, source: &Source, known: &[&str]) -> Self {
        let known = match known {
            [] => "this server has none but the one of [options]".to_owned(),
            known => format!("those of this server are {}", known.join(", ")),
        };
        ConfigError::says(format!("{source}: there is no pool {name}; {known}"), None)
    }

    pub(super) fn not_of_pools(name: &str, source: Source) -> Self {
        let known = keys().iter().filter(|key| key.is_of_pools()).map(|key| key.name.to_owned());
        let hint = nearest(name, known);
        ConfigError::says(format!("{source}: {name} is not a key of a pool; {hint}"), None)
    }

    pub(super) fn unknown_variable(name: &str) -> Self {
        let hint = nearest(name, keys().iter().map(Key::variable));
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

/// The known name that is most like `name`, where one is.
fn nearest(name: &str, known: impl Iterator<Item = String>) -> String {
    let best = known.map(|known| (distance(name, &known), known)).min();
    match best {
        Some((distance, known)) if distance <= 1 + known.len() / 4 => {
            format!("did you mean {known}?")
        }
        _ => "tuning.md lists them".to_owned(),
    }
}

/// Levenshtein's distance.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (at, left) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (column, right) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(left != *right);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
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

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}
