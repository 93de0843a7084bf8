//! What the schema says of each key: names, aliases, docs, defaults. One source for error messages and `docs/config.md`.

use super::Problem;
use super::schema::Config;
use serde_json::Value as Json;
use std::fmt::Write as _;
use toml::{Table, Value};

/// Other names that LeRobot users write, as (table, name, canonical name).
const ALIASES: [(&str, &str, &str); 5] = [
    ("dataset", "gpu_encoder_config", "encoder"),
    ("dataset.encoder", "vcodec", "codec"),
    ("dataset.encoder", "crf", "quality"),
    ("dataset.encoder", "g", "gop"),
    ("dataset", "vcodec", "encoder.codec"),
];

/// The JSON schema of `lab.toml`.
pub fn json_schema() -> Json {
    schemars::schema_for!(Config).to_value()
}

/// Replaces other names by the canonical ones, and LeRobot's camera type `opencv` by `v4l`.
pub fn canonicalise(table: &mut Table, problems: &mut Vec<Problem>) {
    for (parent, alias, canonical) in ALIASES {
        let Some(value) = table_at(table, parent).and_then(|t| t.remove(alias)) else { continue };
        let (place, name) = match canonical.rsplit_once('.') {
            Some((inner, name)) => (format!("{parent}.{inner}"), name),
            None => (parent.to_string(), canonical),
        };
        let Some(target) = table_or_insert(table, &place) else { continue };
        if target.contains_key(name) {
            problems.push(Problem::new(
                format!("{parent}.{alias}"),
                "one of two names of the same key",
                format!("`{alias}` and `{canonical}`"),
                format!("leave `{alias}` out"),
            ));
        } else {
            target.insert(name.to_string(), value);
        }
    }
    if let Some(cameras) = table_at(table, "robot.cameras") {
        for (_, camera) in cameras.iter_mut() {
            if let Some(Value::String(kind)) = camera.get_mut("type")
                && kind == "opencv"
            {
                *kind = "v4l".into();
            }
        }
    }
}

fn table_at<'a>(table: &'a mut Table, path: &str) -> Option<&'a mut Table> {
    path.split('.').try_fold(table, |at, part| at.get_mut(part)?.as_table_mut())
}

fn table_or_insert<'a>(table: &'a mut Table, path: &str) -> Option<&'a mut Table> {
    path.split('.')
        .try_fold(table, |at, part| at.entry(part).or_insert_with(|| Value::Table(Table::new())).as_table_mut())
}

/// Reports each key that the schema does not know, with the nearest one that it does.
pub fn check_keys(table: &Table, problems: &mut Vec<Problem>) {
    let schema = json_schema();
    walk(&schema, &schema, table, "", problems);
}

fn walk(root: &Json, node: &Json, table: &Table, path: &str, problems: &mut Vec<Problem>) {
    let node = resolve(root, node);
    let known = node.get("properties").and_then(Json::as_object);
    for (key, value) in table {
        let place = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let below = match known {
            Some(known) => match known.get(key) {
                Some(below) => below,
                None => {
                    problems.push(unknown(root, &place, key, known.keys().map(String::as_str)));
                    continue;
                }
            },
            None => match node.get("additionalProperties") {
                Some(below) if below.is_object() => below,
                _ => continue,
            },
        };
        if let Value::Table(inner) = value {
            walk(root, below, inner, &place, problems);
        }
    }
}

fn unknown<'a>(root: &Json, place: &str, key: &str, known: impl Iterator<Item = &'a str>) -> Problem {
    let mut known: Vec<&str> = known.collect();
    known.sort_unstable();
    let nearest = known.iter().map(|name| (strsim::damerau_levenshtein(key, name), *name)).min();
    let elsewhere = entries(root).into_iter().find(|e| e.path.rsplit('.').next() == Some(key));
    let remedy = match (nearest, elsewhere) {
        (Some((edits, name)), _) if edits <= (key.len() / 2).min(4) => format!("did you mean `{name}`?"),
        (_, Some(entry)) => format!("the key `{key}` stands at `{}`", entry.path),
        _ => format!("the keys here are {}", known.join(", ")),
    };
    Problem::new(place, "a known key", format!("`{key}`"), remedy)
}

fn resolve<'a>(root: &'a Json, node: &'a Json) -> &'a Json {
    let reference = node
        .get("$ref")
        .or_else(|| node.get("allOf")?.get(0)?.get("$ref"))
        .or_else(|| node.get("anyOf")?.as_array()?.iter().find_map(|option| option.get("$ref")));
    match reference.and_then(Json::as_str).and_then(|r| root.pointer(r.trim_start_matches('#'))) {
        Some(target) => target,
        None => node,
    }
}

/// One key of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Dotted name; a camera's name is `NAME`.
    pub path: String,
    /// What it takes.
    pub kind: String,
    /// Its value when left out, as TOML; `None` where it must be given.
    pub default: Option<String>,
    pub doc: String,
    /// Its table may be left out, and means something by being there.
    pub in_optional_table: bool,
}

impl Entry {
    /// The table that it stands in.
    pub fn table(&self) -> &str {
        self.path.rsplit_once('.').map_or("", |(table, _)| table)
    }

    /// Its name in that table.
    pub fn name(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or_default()
    }
}

/// Every key, in the schema's order.
pub fn entries(root: &Json) -> Vec<Entry> {
    let mut found = Vec::new();
    collect(root, root, "", None, false, &mut found);
    found
}

fn collect(
    root: &Json,
    node: &Json,
    path: &str,
    defaults: Option<&Json>,
    in_optional_table: bool,
    found: &mut Vec<Entry>,
) {
    let target = resolve(root, node);
    let required: Vec<&str> = target
        .get("required")
        .and_then(Json::as_array)
        .map(|names| names.iter().filter_map(Json::as_str).collect())
        .unwrap_or_default();
    let Some(properties) = target.get("properties").and_then(Json::as_object) else { return };
    for (name, property) in properties {
        let place = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let inner = resolve(root, property);
        let default = property.get("default").or_else(|| defaults?.get(name));
        let map = inner.get("additionalProperties").filter(|map| map.is_object() && inner.get("properties").is_none());
        if let Some(map) = map.filter(|map| resolve(root, map).get("properties").is_some()) {
            collect(root, map, &format!("{place}.NAME"), None, false, found);
        } else if inner.get("properties").is_some() {
            let options = property.get("anyOf").and_then(Json::as_array);
            let is_optional = options.is_some_and(|options| options.iter().any(|option| option["type"] == "null"));
            collect(root, property, &place, default, is_optional, found);
        } else {
            let default = match default {
                _ if required.contains(&name.as_str()) => None,
                Some(Json::Null) | None => Some("left out".to_string()),
                Some(value) => Some(format!("`{value}`")),
            };
            let doc = property.get("description").or_else(|| inner.get("description")).and_then(Json::as_str);
            let doc = doc.unwrap_or_default().replace('\n', " ");
            let kind = if map.is_some() { "table".into() } else { kind(root, property) };
            found.push(Entry { path: place, kind, default, doc, in_optional_table });
        }
    }
}

fn kind(root: &Json, property: &Json) -> String {
    let node = resolve(root, property);
    let options: Vec<&str> = node
        .get("oneOf")
        .and_then(Json::as_array)
        .map(|all| all.iter().filter_map(|o| o.get("const")?.as_str()).collect())
        .unwrap_or_default();
    if !options.is_empty() {
        return options.join(", ");
    }
    let of = |value: &Json| match value.get("type") {
        Some(Json::String(one)) => one.clone(),
        Some(Json::Array(many)) => {
            many.iter().filter_map(Json::as_str).filter(|t| *t != "null").collect::<Vec<_>>().join(" or ")
        }
        _ => String::new(),
    };
    match node.get("anyOf").and_then(Json::as_array) {
        Some(any) => any.iter().map(of).filter(|k| !k.is_empty() && k != "null").collect::<Vec<_>>().join(" or "),
        None => of(node),
    }
}

/// `docs/config.md`, made from the schema; a test holds the file against it.
pub fn markdown() -> String {
    let mut text = String::from(
        "# lab.toml\n\nMade from the schema in `src/config/schema.rs` by `recorder schema --markdown`. \
         Every key can be overridden on the command line by its dotted name, as in `--dataset.num_episodes=3`. \
         Unknown keys are errors.\n",
    );
    let mut tables: Vec<(String, String)> = Vec::new();
    for entry in entries(&json_schema()) {
        let (table, name) = (entry.table(), entry.name());
        if !tables.iter().any(|(known, _)| known == table) {
            tables.push((table.to_string(), String::new()));
        }
        let default = entry.default.as_deref().unwrap_or("must be given");
        if let Some((_, rows)) = tables.iter_mut().find(|(known, _)| known == table) {
            let _ = writeln!(rows, "| `{name}` | {} | {default} | {} |", entry.kind, entry.doc);
        }
    }
    for (table, rows) in tables {
        let _ = write!(text, "\n## [{table}]\n\n| key | takes | default | |\n|---|---|---|---|\n{rows}");
    }
    text.push_str("\n## Other names\n\n| name | stands for |\n|---|---|\n");
    for (parent, alias, canonical) in ALIASES {
        let _ = writeln!(text, "| `{parent}.{alias}` | `{parent}.{canonical}` |");
    }
    text.push_str("| camera `type = \"opencv\"` | `type = \"v4l\"` |\n");
    text
}
