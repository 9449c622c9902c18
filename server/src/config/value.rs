//! Values as they were written, and how each becomes a field.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use sidecore_runtime::machine::cpu_list::{CpuList, CpuListError};

use crate::config::Key;
use crate::config::duration::Unit;
use crate::config::keys::Field;
use crate::config::listen::Listen;
use crate::config::settings::{Config, NO_HOST, Options, Scheme};

/// Each takes a descriptor of each executor.
const LISTENERS_MAX: usize = 64;

/// A list of none.
const NONE: &str = "none";

const SCHEMES: &str = "give http or https, and proxy behind it where the PROXY protocol comes \
                       first, such as \"https proxy\"";

/// A value before it is understood.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// A variable, or a string of the file.
    Text(String),
    /// An integer of the file.
    Number(i64),
    /// An array of the file.
    List(Vec<Value>),
    /// Anything else of the file: shown in the refusal.
    Other(String),
}

/// What a key takes, said to who wrote something else.
pub(super) type ValueProblem = String;

/// Sets the field of a key.
pub(super) fn set(config: &mut Config, key: &Key, value: &Value) -> Result<(), ValueProblem> {
    match &key.field {
        Field::Host => config.host = host(value)?,
        Field::Port => config.port = number(key, value, 0, 65_535)? as u16,
        Field::Scheme => (config.scheme, config.proxy) = scheme(value)?,
        Field::Files { get } => *get(config) = files(value)?,
        Field::Listen => config.listen = listens(value)?,
        _ => set_option(&mut config.options, key, value)?,
    }
    Ok(())
}

/// Sets the field of an option's key.
pub(super) fn set_option(
    options: &mut Options,
    key: &Key,
    value: &Value,
) -> Result<(), ValueProblem> {
    match &key.field {
        Field::Host | Field::Port | Field::Scheme | Field::Files { .. } | Field::Listen => {}
        Field::Number { get, min, max, power_of_two } => {
            let number = number(key, value, *min, *max)?;
            if *power_of_two && !number.is_power_of_two() {
                return Err(format!("give a power of two from {min} to {max}"));
            }
            *get(options) = number;
        }
        Field::Count { get, min, max } => *get(options) = number(key, value, *min, *max)? as usize,
        Field::MaybeCount { get, min, max } => {
            *get(options) = match is_auto(value) {
                true => None,
                false => Some(number(key, value, *min, *max)? as usize),
            }
        }
        Field::MaybeNumber { get, min, max } => {
            *get(options) = match is_auto(value) {
                true => None,
                false => Some(number(key, value, *min, *max)?),
            }
        }
        Field::MaybeSwitch { get } => *get(options) = switch(value)?,
        Field::Cpus { get } => {
            *get(options) = if is_auto(value) { None } else { Some(cpus(value)?) }
        }
    }
    Ok(())
}

/// Copies the field of a key.
pub(super) fn copy(key: &Key, from: &Options, to: &mut Options) {
    let mut from = from.clone();
    match &key.field {
        Field::Host | Field::Port | Field::Scheme | Field::Files { .. } | Field::Listen => {}
        Field::Number { get, .. } => *get(to) = *get(&mut from),
        Field::Count { get, .. } => *get(to) = *get(&mut from),
        Field::MaybeCount { get, .. } => *get(to) = *get(&mut from),
        Field::MaybeNumber { get, .. } => *get(to) = *get(&mut from),
        Field::MaybeSwitch { get } => *get(to) = *get(&mut from),
        Field::Cpus { get } => *get(to) = get(&mut from).take(),
    }
}

impl Value {
    fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            Value::Number(_) | Value::List(_) | Value::Other(_) => None,
        }
    }
}

fn is_auto(value: &Value) -> bool {
    matches!(value, Value::Text(text) if text == "auto")
}

/// None for `auto`.
fn switch(value: &Value) -> Result<Option<bool>, ValueProblem> {
    match value {
        Value::Text(text) if text == "on" => Ok(Some(true)),
        Value::Text(text) if text == "off" => Ok(Some(false)),
        value if is_auto(value) => Ok(None),
        _ => Err("give \"on\", \"off\" or \"auto\"".to_owned()),
    }
}

fn number(key: &Key, value: &Value, min: u64, max: u64) -> Result<u64, ValueProblem> {
    let unit = Unit::of_key(key.name);
    let number = match value {
        Value::Text(text) => match unit.and_then(|unit| unit.count(text)) {
            Some(time) => Some(time?),
            None => text.parse().ok(),
        },
        Value::Number(number) => u64::try_from(*number).ok(),
        Value::List(_) | Value::Other(_) => None,
    };
    number.filter(|number| (min..=max).contains(number)).ok_or_else(|| match unit {
        None => format!("give a number from {min} to {max}"),
        Some(unit) => format!(
            "give a number of {} from {min} to {max}, or a time with its unit: us, ms, s, m or h, \
             such as {}",
            unit.name(),
            unit.example(),
        ),
    })
}

fn host(value: &Value) -> Result<String, ValueProblem> {
    match value {
        Value::Text(text)
            if ["localhost", NO_HOST].contains(&&**text) || text.parse::<IpAddr>().is_ok() =>
        {
            Ok(text.clone())
        }
        _ => Err("give an IP address, such as 127.0.0.1 or 0.0.0.0, or localhost, or none to \
                  listen at what `listen` names alone"
            .to_owned()),
    }
}

/// The parts of a list: of an array in the file, between the commas of a variable.
fn list(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::List(parts) => parts.iter().map(Value::as_text).collect(),
        // A variable that is empty is not set: this is how it says that there are none.
        Value::Text(text) if text.trim().is_empty() || text == NONE => Some(Vec::new()),
        Value::Text(text) => Some(text.split(',').map(str::trim).collect()),
        Value::Number(_) | Value::Other(_) => None,
    }
}

fn files(value: &Value) -> Result<Vec<PathBuf>, ValueProblem> {
    match list(value) {
        Some(parts) if !parts.contains(&"") => Ok(parts.iter().map(PathBuf::from).collect()),
        _ => Err("give the path of a file, or a list of paths".to_owned()),
    }
}

/// The scheme, and whether a proxy's header comes before it.
fn scheme(value: &Value) -> Result<(Scheme, bool), ValueProblem> {
    let Value::Text(text) = value else { return Err(SCHEMES.to_owned()) };
    match *text.split_ascii_whitespace().collect::<Vec<_>>() {
        ["http"] => Ok((Scheme::Http, false)),
        ["https"] => Ok((Scheme::Https, false)),
        ["http", "proxy"] => Ok((Scheme::Http, true)),
        ["https", "proxy"] => Ok((Scheme::Https, true)),
        _ => Err(SCHEMES.to_owned()),
    }
}

fn listens(value: &Value) -> Result<Vec<Listen>, ValueProblem> {
    let parts = list(value).ok_or_else(|| {
        "give a list, such as [\"127.0.0.1:8081\", \"unix:/run/app.sock\"]".to_owned()
    })?;
    if parts.len() > LISTENERS_MAX {
        return Err(format!("give {LISTENERS_MAX} at most"));
    }
    let one = |part: &&str| part.parse().map_err(|error| format!("{part:?}: {error}"));
    parts.iter().map(one).collect()
}

fn cpus(value: &Value) -> Result<CpuList, ValueProblem> {
    const ADVICE: &str = "give a list of CPUs, such as \"0-3,8\" or [0, 1], or auto";
    let text = match value {
        Value::List(parts) => {
            parts.iter().map(cpu_item).collect::<Option<Vec<_>>>().map(|parts| parts.join(","))
        }
        value => cpu_item(value),
    };
    let text = text.ok_or(ADVICE)?;
    match text.parse::<CpuList>() {
        Ok(list) => Ok(list),
        Err(CpuListError::Empty) => Err(ADVICE.to_owned()),
        Err(error) => Err(format!("{error}; {ADVICE}")),
    }
}

/// A list, or an item of one, as the kernel writes it.
fn cpu_item(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::List(_) | Value::Other(_) => None,
    }
}

/// As it stands in a file.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => write!(f, "{text:?}"),
            Value::Number(number) => number.fmt(f),
            Value::Other(text) => f.write_str(text),
            Value::List(parts) => {
                f.write_str("[")?;
                for (at, part) in parts.iter().enumerate() {
                    f.write_str(if at > 0 { ", " } else { "" })?;
                    part.fmt(f)?;
                }
                f.write_str("]")
            }
        }
    }
}
