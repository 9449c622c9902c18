//! The file: TOML whose keys keep their lines.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::error::ConfigError;
use crate::config::settings::{Config, Source};
use crate::config::value::Value;
use crate::config::{Key, keys};

const OPTIONS: &str = "options";
const POOLS: &str = "pools";

/// Applies a file's keys.
pub(super) fn apply(config: &mut Config, path: &Path, text: &str) -> Result<(), ConfigError> {
    let line = |at: usize| {
        1 + text.as_bytes()[..at.min(text.len())].iter().filter(|b| **b == b'\n').count()
    };
    let source = |at: usize| Source::File { path: path.to_owned(), line: line(at) };
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        ConfigError::syntax(source(at), error.message())
    })?;
    for (name, value) in table.get_ref() {
        let at = source(name.span().start);
        match (name.get_ref().as_ref(), value.get_ref()) {
            (OPTIONS, DeValue::Table(options)) => {
                for (name, value) in options {
                    let at = source(name.span().start);
                    set(config, name.get_ref(), true, value, at)?;
                }
            }
            (POOLS, DeValue::Table(pools)) => {
                for (pool, table) in pools {
                    let DeValue::Table(table) = table.get_ref() else {
                        let at = source(pool.span().start);
                        return Err(ConfigError::syntax(at, "a pool is a table: [pools.<name>]"));
                    };
                    for (name, value) in table {
                        let at = source(name.span().start);
                        set_of_pool(config, pool.get_ref(), name.get_ref(), value, at)?;
                    }
                }
            }
            (POOLS, _) => {
                return Err(ConfigError::syntax(at, "pools are tables: [pools.<name>]"));
            }
            (OPTIONS, _) => return Err(ConfigError::syntax(at, "options is a table: [options]")),
            (name, _) => set(config, name, false, value, at)?,
        }
    }
    Ok(())
}

fn set(
    config: &mut Config,
    name: &str,
    in_options: bool,
    value: &Spanned<DeValue<'_>>,
    source: Source,
) -> Result<(), ConfigError> {
    let key: Option<&'static Key> = keys().iter().find(|key| key.name == name);
    match key {
        Some(key) if key.is_option == in_options => config.set(key, &read(value.get_ref()), source),
        Some(key) => Err(ConfigError::misplaced(key, source)),
        None => Err(ConfigError::unknown_key(name, source)),
    }
}

fn set_of_pool(
    config: &mut Config,
    pool: &str,
    name: &str,
    value: &Spanned<DeValue<'_>>,
    source: Source,
) -> Result<(), ConfigError> {
    match keys().iter().find(|key| key.name == name && key.is_of_pools()) {
        Some(key) => config.set_of_pool(pool, key, &read(value.get_ref()), source),
        None => Err(ConfigError::not_of_pools(name, source)),
    }
}

fn read(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.clone().into_owned()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Value::Other(number.to_string()), Value::Number),
        DeValue::Float(number) => Value::Other(number.to_string()),
        DeValue::Boolean(value) => Value::Other(value.to_string()),
        DeValue::Datetime(value) => Value::Other(value.to_string()),
        DeValue::Array(parts) => strings(parts.iter().map(Spanned::get_ref)),
        DeValue::Table(_) => Value::Other("{...}".to_owned()),
    }
}

/// A list of strings, or of anything else.
fn strings<'a>(parts: impl Iterator<Item = &'a DeValue<'a>>) -> Value {
    let text = |part: &DeValue<'_>| part.as_str().map(str::to_owned);
    let texts: Option<Vec<_>> = parts.map(text).collect();
    texts.map_or_else(|| Value::Other("[...]".to_owned()), Value::List)
}
