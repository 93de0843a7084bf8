//! Every expression that Grafana will ask, as a Prometheus can be asked.

use super::prometheus::Prometheus;
use serde_json::Value;
use std::path::Path;

/// An expression of a dashboard, and where it is.
#[derive(Debug)]
pub struct Expression {
    /// Dashboard and panel, annotation or variable.
    pub place: String,
    pub text: String,
}

/// All of a folder's dashboards.
pub fn of_dashboards(folder: &Path) -> Vec<Expression> {
    let mut found = Vec::new();
    let files = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for path in files.map(|file| file.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "json")) {
        let json: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let before = found.len();
        let variables = json["templating"]["list"].as_array().cloned().unwrap_or_default();
        for variable in variables.iter().filter(|variable| variable["type"] == "query") {
            let query = &variable["query"];
            let text = query.as_str().or(query["query"].as_str()).unwrap_or_default();
            let place = format!("{name}: variable {}", variable["name"].as_str().unwrap_or_default());
            found.push(Expression { place, text: text.to_string() });
        }
        walk(&json, &name, &mut found);
        assert!(found.len() > before + variables.len(), "{name} asks for nothing");
        for expression in &mut found[before..] {
            expression.text = filled_in(&expression.text, &variables);
        }
    }
    found
}

/// Whatever is called `expr` below `json`.
fn walk(json: &Value, place: &str, found: &mut Vec<Expression>) {
    match json {
        Value::Array(items) => items.iter().for_each(|item| walk(item, place, found)),
        Value::Object(fields) => {
            let named = ["title", "name"].iter().find_map(|key| fields.get(*key)?.as_str());
            let place = named.map_or(place.to_string(), |name| format!("{place}: {name}"));
            for (key, value) in fields {
                match value.as_str() {
                    Some(text) if key == "expr" && !text.is_empty() => {
                        found.push(Expression { place: place.clone(), text: text.to_string() });
                    }
                    _ => walk(value, &place, found),
                }
            }
        }
        _ => {}
    }
}

/// With what Grafana would put in the place of its variables. Where several may be chosen from a list, all are; the one
/// that is a single choice, the cell, is left to [`Expression::count`].
fn filled_in(text: &str, variables: &[Value]) -> String {
    // At a scrape each half a second; longer names first.
    let mut values = vec![("__rate_interval", "2s"), ("__interval", "1s"), ("__range", "60s")];
    for variable in variables.iter().filter(|variable| variable["type"] == "query") {
        match variable["name"].as_str().unwrap() {
            CELL if variable["multi"] != true => {}
            name => {
                assert_eq!(variable["multi"], true, "the variable {name}: expected a choice of several, or {CELL}");
                values.push((name, ".+"));
            }
        }
    }
    values.into_iter().fold(text.to_string(), |text, (name, value)| with(&text, name, value))
}

/// The variable of which a dashboard shows one at a time.
const CELL: &str = "instance";

fn with(text: &str, variable: &str, value: &str) -> String {
    let forms = [format!("${{{variable}}}"), format!("${{{variable}:regex}}"), format!("${variable}")];
    forms.iter().fold(text.to_string(), |text, form| text.replace(form, value))
}

impl Expression {
    /// How many series it has had since `from`, or values where it asks for those of a label: in the first cell that has any.
    pub fn count(&self, prometheus: &Prometheus, cells: &[String], from: f64) -> Result<usize, String> {
        for cell in cells {
            let text = with(&self.text, CELL, cell);
            let count = count(&text, prometheus, from)?;
            if count > 0 || text == self.text {
                return Ok(count);
            }
        }
        Ok(0)
    }
}

fn count(text: &str, prometheus: &Prometheus, from: f64) -> Result<usize, String> {
    let Some(asked) = text.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')) else {
        return prometheus.since(from, text).map(|series| series.len());
    };
    let (metric, label) = asked.rsplit_once(',').unwrap_or(("{__name__=~\"recorder_.+\"}", asked));
    let values = prometheus.get(&format!("label/{}/values", label.trim()), &[("match[]", metric.trim())])?;
    Ok(values.as_array().map_or(0, Vec::len))
}
