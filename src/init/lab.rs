//! A configuration as text: what is set, and every other key as a comment with its default, all with their docs from the schema.

use crate::config::reference::Entry;
use std::fmt::Write as _;
use toml::Value;

/// Columns that comments are kept within.
const COLUMNS: usize = 118;

/// A table with what is set in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Filled {
    /// As the schema has it: `robot.cameras.NAME`.
    pub table: &'static str,
    /// What stands for `NAME`.
    pub name: Option<String>,
    /// Comments at its head.
    pub remarks: Vec<String>,
    pub values: Vec<(&'static str, Value)>,
}

/// The whole file: `head` as comments, then every table of the schema in its order. Only the first of several tables with names has the
/// docs, and the keys that are not set.
pub fn render(head: &[String], filled: &[Filled], entries: &[Entry]) -> String {
    let mut text = String::new();
    head.iter().for_each(|line| comment(&mut text, line));
    let mut tables: Vec<&str> = Vec::new();
    for entry in entries {
        if !tables.contains(&entry.table()) {
            tables.push(entry.table());
        }
    }
    let first_name = filled.iter().find_map(|filled| filled.name.as_deref()).unwrap_or("front");
    for table in tables {
        let keys: Vec<&Entry> = entries.iter().filter(|entry| entry.table() == table).collect();
        let mut here = filled.iter().filter(|filled| filled.table == table).peekable();
        if here.peek().is_none() {
            let left_out = keys.iter().any(|key| key.in_optional_table || key.default.is_none());
            let mark = if left_out { "#" } else { "" };
            let _ = write!(text, "\n{mark}[{}]\n", table.replace("NAME", first_name));
            keys.iter().for_each(|key| line(&mut text, key, None));
        }
        for (index, Filled { name, remarks, values, .. }) in here.enumerate() {
            let _ = write!(text, "\n[{}]\n", table.replace("NAME", name.as_deref().unwrap_or_default()));
            remarks.iter().for_each(|remark| comment(&mut text, remark));
            for key in &keys {
                let value = values.iter().find(|(name, _)| *name == key.name()).map(|(_, value)| value);
                match (index, value) {
                    (0, value) => line(&mut text, key, value),
                    (_, Some(value)) => assign(&mut text, key.name(), value),
                    (_, None) => {}
                }
            }
        }
    }
    text
}

/// A key with its doc.
fn line(text: &mut String, key: &Entry, value: Option<&Value>) {
    comment(text, &key.doc);
    match value {
        Some(value) => assign(text, key.name(), value),
        None => {
            let default = key.default.as_deref().and_then(|default| default.strip_prefix('`')?.strip_suffix('`'));
            let _ = writeln!(text, "#{} = {}", key.name(), default.unwrap_or("…"));
        }
    }
}

fn assign(text: &mut String, key: &str, value: &Value) {
    let _ = writeln!(text, "{key} = {value}");
}

/// Lines of `# ` and words. Words of a device may hold line ends: behind one a comment would be no comment any more.
fn comment(text: &mut String, words: &str) {
    let mut line = String::from("#");
    for word in words.split(|c: char| c == ' ' || c.is_control()) {
        if line.len() > 1 && line.chars().count() + 1 + word.chars().count() > COLUMNS {
            let _ = writeln!(text, "{line}");
            line = String::from("#");
        }
        let _ = write!(line, " {word}");
    }
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_comments_are_broken_between_words() {
        let mut text = String::new();
        comment(&mut text, &"fifteen letters ".repeat(20));
        assert!(
            text.lines().count() == 3
                && text.lines().all(|line| line.starts_with("# fifteen") || line.starts_with("# letters")),
            "{text}"
        );
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS), "{text}");
        // A word that just fits, and one that just does not.
        for (length, lines) in [(COLUMNS - 4, 1), (COLUMNS - 3, 2)] {
            let mut text = String::new();
            comment(&mut text, &format!("a {}", "b".repeat(length)));
            assert_eq!(text.lines().count(), lines, "{text}");
            assert!(text.lines().all(|line| line.starts_with("# ")), "{text}");
        }
        let mut text = String::new();
        comment(&mut text, "short");
        assert_eq!(text, "# short\n");
        let mut text = String::new();
        comment(&mut text, "a name\nof two\r\nlines\u{7f}");
        assert_eq!(text.lines().count(), 1, "{text:?}");
        assert!(!text.trim_end().contains(char::is_control), "{text:?}");
    }
}
