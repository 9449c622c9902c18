//! The file: TOML whose keys keep their lines.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::error::{ConfigError, Table};
use crate::config::settings::{Config, Source};
use crate::config::value::Value;
use crate::config::{Key, keys};

const OPTIONS: &str = "options";
const POOLS: &str = "pools";

/// A text of keys, and the file that it is of.
struct File<'a> {
    path: Option<&'a Path>,
    text: &'a str,
}

/// The text of a file's bytes.
pub(super) fn text(path: &Path, bytes: Vec<u8>) -> Result<String, ConfigError> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = line_of(error.as_bytes(), at);
        let source = Source::File { path: path.to_owned(), line };
        ConfigError::syntax(source, "this line is not UTF-8: save the file as UTF-8")
    })
}

/// Applies the keys of a file's text; without a path, of a part of something larger.
pub(super) fn apply(
    config: &mut Config,
    path: Option<&Path>,
    text: &str,
) -> Result<(), ConfigError> {
    let file = File { path, text };
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        ConfigError::syntax(file.source(at), error.message())
    })?;
    for (name, value) in table.get_ref() {
        let at = file.source(name.span().start);
        match (name.get_ref().as_ref(), value.get_ref()) {
            (OPTIONS, DeValue::Table(options)) => {
                for (name, value) in options {
                    let at = file.source(name.span().start);
                    set(config, Table::Options, name.get_ref(), value, at)?;
                }
            }
            (POOLS, DeValue::Table(pools)) => file.apply_pools(config, pools)?,
            (POOLS, _) => {
                return Err(ConfigError::syntax(at, "pools are tables: [pools.<name>]"));
            }
            (OPTIONS, _) => return Err(ConfigError::syntax(at, "options is a table: [options]")),
            (name, DeValue::Table(_)) if !keys().iter().any(|key| key.name == name) => {
                return Err(ConfigError::unknown_table(name, &[OPTIONS, POOLS], &at));
            }
            (name, _) => set(config, Table::Top, name, value, at)?,
        }
    }
    Ok(())
}

impl File<'_> {
    fn apply_pools(&self, config: &mut Config, pools: &DeTable<'_>) -> Result<(), ConfigError> {
        for (pool, table) in pools {
            let at = self.source(pool.span().start);
            let DeValue::Table(table) = table.get_ref() else {
                return Err(ConfigError::syntax(at, "a pool is a table: [pools.<name>]"));
            };
            config.pool_table(pool.get_ref(), &at);
            for (name, value) in table {
                let at = self.source(name.span().start);
                let key = key(name.get_ref(), Table::Pool)
                    .ok_or_else(|| ConfigError::not_here(name.get_ref(), Table::Pool, &at))?;
                config.set_of_pool(pool.get_ref(), key, &read(value.get_ref()), at)?;
            }
        }
        Ok(())
    }

    fn source(&self, at: usize) -> Source {
        match self.path {
            None => Source::Embedded,
            Some(path) => {
                let line = line_of(self.text.as_bytes(), at);
                Source::File { path: path.to_owned(), line }
            }
        }
    }
}

/// The line of a byte, from 1.
fn line_of(text: &[u8], at: usize) -> usize {
    1 + text[..at.min(text.len())].iter().filter(|byte| **byte == b'\n').count()
}

fn set(
    config: &mut Config,
    table: Table,
    name: &str,
    value: &Spanned<DeValue<'_>>,
    source: Source,
) -> Result<(), ConfigError> {
    match key(name, table) {
        Some(key) => config.set(key, &read(value.get_ref()), source),
        None => Err(ConfigError::not_here(name, table, &source)),
    }
}

/// The key of this name that the table takes.
fn key(name: &str, table: Table) -> Option<&'static Key> {
    keys().iter().find(|key| key.name == name && table.takes(key))
}

fn read(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.clone().into_owned()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Value::Other(number.to_string()), Value::Number),
        DeValue::Float(number) => Value::Other(number.to_string()),
        DeValue::Boolean(value) => Value::Other(value.to_string()),
        DeValue::Datetime(value) => Value::Other(value.to_string()),
        DeValue::Array(parts) => {
            Value::List(parts.iter().map(|part| read(part.get_ref())).collect())
        }
        DeValue::Table(_) => Value::Other("{...}".to_owned()),
    }
}
