//! The configuration file `lab.toml`: read, overridden from the command line, checked, explained.
//!
//! One pass does it all, and every problem found is reported at once: text → TOML → overrides → aliases made
//! canonical → unknown keys → types → rules across keys ([`validate`]).

pub mod arms;
pub mod reference;
pub mod schema;
pub mod secret;
pub mod validate;

pub use schema::Config;

use serde::Deserialize;
use std::fmt;
use std::path::Path;
use toml::{Table, Value};

/// One thing that is wrong, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where: a key's dotted name, or a device.
    pub place: String,
    pub expected: String,
    pub found: String,
    pub remedy: String,
}

impl Problem {
    /// A problem at `place`.
    pub fn new(
        place: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Problem {
        Problem { place: place.into(), expected: expected.into(), found: found.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, found {}; {}", self.place, self.expected, self.found, self.remedy)
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(
        "{path}: cannot be read: {error}; give the path of your lab.toml with --config (examples/lab.toml is one to start from)"
    )]
    Unreadable { path: String, error: std::io::Error },
    #[error("{path}:{line}: not valid TOML: {message}")]
    Syntax { path: String, line: usize, message: String },
    #[error("{}", join(.path, .problems))]
    Invalid { path: String, problems: Vec<Problem> },
}

fn join(path: &str, problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(|p| format!("{path}: {p}")).collect();
    lines.join("\n")
}

/// A key set on the command line: `--dataset.fps=15` is (`dataset.fps`, `15`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    pub key: String,
    pub value: String,
}

/// Reads a configuration file.
pub fn load(path: &Path, overrides: &[Override]) -> Result<Config, ConfigError> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable { path: shown.clone(), error })?;
    parse(&shown, &text, overrides)
}

/// The configuration in `text`; `path` is for messages.
pub fn parse(path: &str, text: &str, overrides: &[Override]) -> Result<Config, ConfigError> {
    let mut table: Table = text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax {
        path: path.to_string(),
        line: error.span().map_or(1, |span| line_of(text, span.start)),
        message: error.message().to_string(),
    })?;
    let mut problems = Vec::new();
    for item in overrides {
        if let Err(problem) = apply(&mut table, item) {
            problems.push(problem);
        }
    }
    reference::canonicalise(&mut table, &mut problems);
    reference::check_keys(&table, &mut problems);
    if problems.is_empty() {
        match Config::deserialize(Value::Table(table)) {
            Ok(config) => {
                problems = validate::problems(&config);
                if problems.is_empty() {
                    return Ok(config);
                }
            }
            Err(error) => problems.push(type_problem(&error)),
        }
    }
    Err(ConfigError::Invalid { path: path.to_string(), problems })
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|b| **b == b'\n').count() + 1
}

/// serde's message names the type; the key it stands at follows in toml's own words (`in `dataset.fps``).
fn type_problem(error: &toml::de::Error) -> Problem {
    let text = error.to_string();
    let place = text.split("in `").nth(1).and_then(|rest| rest.split('`').next()).unwrap_or("the file").to_string();
    let message = error.message().trim();
    let (found, expected) = match message.split_once(", expected ") {
        Some((found, expected)) => (found.to_string(), expected.to_string()),
        None => (message.to_string(), "a value of the key's type".to_string()),
    };
    let remedy = if place.ends_with("encoder_type") {
        "videos are encoded by NVENC or on the CPU, by no other hardware; `recorder encoders` shows what is here"
    } else {
        "see docs/config.md for what each key takes"
    };
    Problem::new(place, expected, found, remedy)
}

/// Sets one dotted key. A value that is not TOML is taken as text, so that `--dataset.single_task=Pick up` needs no quotes.
fn apply(table: &mut Table, item: &Override) -> Result<(), Problem> {
    let value = format!("v = {}", item.value)
        .parse::<Table>()
        .ok()
        .and_then(|mut t| t.remove("v"))
        .unwrap_or_else(|| Value::String(item.value.clone()));
    let mut parts: Vec<&str> = item.key.split('.').collect();
    let last = parts.pop().unwrap_or_default();
    let mut at = table;
    for part in parts {
        let next = at.entry(part).or_insert_with(|| Value::Table(Table::new()));
        let Value::Table(inner) = next else {
            return Err(Problem::new(
                format!("--{}", item.key),
                format!("`{part}` to be a table"),
                next.type_str(),
                "check the key's name in docs/config.md",
            ));
        };
        at = inner;
    }
    at.insert(last.to_string(), value);
    Ok(())
}

#[cfg(test)]
mod tests;
