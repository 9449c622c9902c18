//! What is wrong with a configuration, in one line: where, what, and what to write instead.

use std::fmt;
use std::path::Path;

use crate::config::settings::{PREFIX, Source};
use crate::config::value::Value;
use crate::config::{Key, keys};

/// A configuration that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    line: String,
    key: Option<&'static str>,
}

impl ConfigError {
    /// The key at fault, if it is a known one.
    pub fn key(&self) -> Option<&'static str> {
        self.key
    }

    pub(super) fn value(
        key: &'static Key,
        value: &Value,
        source: &Source,
        problem: String,
    ) -> Self {
        let shown = match value.to_string() {
            empty if empty.is_empty() => "(empty)".to_owned(),
            long if long.len() > 60 => format!("{}...", long.chars().take(60).collect::<String>()),
            // As the last line of a secret's file has it: one line all the same, and seen.
            blank if blank.trim() != blank || blank.contains(char::is_control) => {
                format!("{blank:?}")
            }
            shown => shown,
        };
        let line = match source {
            Source::Variable(name) => format!("{name}={shown}: {problem}"),
            source => format!("{source}: {} = {shown}: {problem}", key.name),
        };
        ConfigError { line, key: Some(key.name) }
    }

    pub(super) fn relation(source: Source, problem: &str) -> Self {
        ConfigError { line: format!("{source}: {problem}"), key: None }
    }

    pub(super) fn syntax(source: Source, message: &str) -> Self {
        let message = message.lines().collect::<Vec<_>>().join("; ");
        ConfigError { line: format!("{source}: {message}"), key: None }
    }

    pub(super) fn misplaced(key: &'static Key, source: Source) -> Self {
        let advice = match key.is_option {
            true => "belongs under [options]",
            false => "belongs at the top of the file, before [options]",
        };
        ConfigError { line: format!("{source}: {} {advice}", key.name), key: Some(key.name) }
    }

    pub(super) fn unknown_key(name: &str, source: Source) -> Self {
        let hint = nearest(name, keys().iter().map(|key| key.name.to_owned()));
        ConfigError { line: format!("{source}: {name} is not a known key; {hint}"), key: None }
    }

    pub(super) fn unknown_pool(name: &str, source: Source, known: &[&str]) -> Self {
        let known = match known {
            [] => "this server has none but the one of [options]".to_owned(),
            known => format!("those of this server are {}", known.join(", ")),
        };
        ConfigError { line: format!("{source}: there is no pool {name}; {known}"), key: None }
    }

    pub(super) fn not_of_pools(name: &str, source: Source) -> Self {
        let known = keys().iter().filter(|key| key.is_of_pools()).map(|key| key.name.to_owned());
        let hint = nearest(name, known);
        ConfigError { line: format!("{source}: {name} is not a key of a pool; {hint}"), key: None }
    }

    pub(super) fn unknown_variable(name: &str) -> Self {
        let hint = nearest(name, keys().iter().map(Key::variable));
        let line = format!("{name} is not a known variable, and {PREFIX} is this server's; {hint}");
        ConfigError { line, key: None }
    }

    pub(super) fn variable_not_text(name: &str) -> Self {
        ConfigError { line: format!("{name} is not UTF-8: give it as text"), key: None }
    }

    pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Self {
        let line = format!(
            "{} cannot be read: {error}; mend its path (SIDECORE_CONFIG) or its permissions",
            path.display()
        );
        ConfigError { line, key: None }
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

impl std::error::Error for ConfigError {}
